//! `cargo xtask bench cluster`: what a cluster costs beside what users would take instead, a bare client of NATS on
//! the same servers in the same run; and what a node is with very many channels. Tables for
//! `docs/internals/performance.md`.
//!
//! Everything runs on one machine and takes its processors from each other: the ratios count, of rounds in turns.

mod bare;
mod batches;
mod cost;
mod latency;
mod many;
mod node;
mod presence;
mod rate;

use std::io::{self, Write as _};
use std::time::Duration;

use sockeye_tests::idle;

/// The rounds, and for how long each measures.
#[derive(Clone, Copy)]
struct Rounds {
    count: usize,
    time: Duration,
}

/// What can be asked for by name, and what measures it.
type Case = (&'static str, fn(Rounds) -> String);

/// Descriptors for the subscribers of a fan-out.
const CONNECTIONS: usize = 4_000;

/// `measure-cluster ROUNDS SECONDS [CASE…]`: all cases where none is named. `measure-cluster listen URL SUBJECT` is the
/// bare subscriber whose processor time is measured.
fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [listen, url, subject] = &*arguments
        && listen == "listen"
    {
        return bare::listen(url, subject);
    }
    let number = |index: usize| arguments.get(index).and_then(|text| text.parse().ok());
    let (count, seconds) = (number(0).unwrap_or(3), number(1).unwrap_or(5));
    let rounds = Rounds { count: count.max(1) as usize, time: Duration::from_secs(seconds) };
    idle::raise_file_limit(CONNECTIONS);
    let wanted = arguments.get(2..).unwrap_or_default();
    let cases: [Case; 7] = [
        ("latency", latency::measure),
        ("cpu", cost::of_unread_messages),
        ("fanout", cost::of_fan_out),
        ("rate", rate::measure),
        ("batches", batches::measure),
        ("many", many::measure),
        ("presence", presence::measure),
    ];
    let mut out = io::stdout();
    for (name, measure) in cases {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            writeln!(out, "{}", measure(rounds))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// The figure in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A share of all, in thousandths, of figures that are not sorted yet.
fn share(figures: &mut [f64], thousandths: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    figures.get(last * thousandths / 1000).copied().unwrap_or(f64::NAN)
}
