//! `cargo xtask bench publish`: what a durable publication costs and how many there are in a second, over each road to
//! a server with `--data`, and beside what others keep as surely: a stream of NATS JetStream that syncs always, and a
//! stream of Redis with `appendfsync always`. A table for `docs/internals/performance.md`.
//!
//! Each server runs on the first processor and the load on the second, where xtask starts this program.

mod http;
mod http2;
mod load;
mod nats;
mod redis;
mod roads;
mod server;
mod websocket;

use std::io::{self, Write as _};
use std::time::Duration;

use crate::load::Measured;
use crate::roads::{ROADS, Road};

/// The payload of each publication, in bytes.
const SIZE: usize = 128;

/// How long each road is used before it counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// `measure-publish ROUNDS SECONDS [ROAD]`: the roads whose name has this text in it, or all.
fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).and_then(|text| text.parse().ok());
    let rounds: u64 = number(0).unwrap_or(3).max(1);
    let time = Duration::from_secs(number(1).unwrap_or(4).max(1));
    let wanted = arguments.get(2).map_or("", String::as_str);
    let roads = ROADS.iter().filter(|road| road.name.contains(wanted));
    let mut measured: Vec<_> = roads.map(|road| (road, Vec::new())).collect();
    for round in 1..=rounds {
        for (road, rounds_of_road) in &mut measured {
            let of_round = road.measure(time);
            let (name, rate, cpu) = (road.name, of_round.rate(), of_round.cpu());
            let line = format!("{name}: {rate:.0} messages/s, {cpu:.1} µs");
            writeln!(io::stderr(), "publish {round}/{rounds}: {line}")?;
            rounds_of_road.push(of_round);
        }
    }
    writeln!(io::stdout(), "{}", table(&measured))
}

fn table(measured: &[(&Road, Vec<Measured>)]) -> String {
    let mut table = format!(
        "### Durable publications of {SIZE} B, acknowledged when they are synced\n\n\
         To be reached: at most 15 µs of the server's processor time where 64 share a sync.\n\n\
         | | messages/s | CPU per message, µs | acknowledged after p50, ms | p99, ms | messages to a sync |\n\
         |---|---|---|---|---|---|\n"
    );
    for (road, rounds) in measured {
        let median = |figure: fn(&Measured) -> f64| median(rounds.iter().map(figure).collect());
        let to_a_sync = match rounds.iter().all(|round| round.syncs.is_some()) {
            true => format!(
                "{:.1}",
                median(|round| round.messages / round.syncs.unwrap_or_default().max(1.0))
            ),
            false => "–".to_owned(),
        };
        table += &format!(
            "| {} | {:.0} | {:.1} | {:.2} | {:.2} | {to_a_sync} |\n",
            road.name,
            median(Measured::rate),
            median(Measured::cpu),
            median(|round| round.percentile(50)),
            median(|round| round.percentile(99)),
        );
    }
    table
}

/// The figure in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
