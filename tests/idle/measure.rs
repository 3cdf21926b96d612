//! `cargo xtask idle`: what connections that do nothing cost the servers, as tables for
//! `docs/internals/performance.md`.
//!
//! Memory is the growth of the server's resident memory while that many connections are opened,
//! divided by their number. A few are opened before: what the server needs for the first of them
//! is not counted. Each case has a server of its own.

mod echo;
mod pings;
mod presence;
mod scale;
mod subscribers;

use std::io::{self, Write as _};

use sockeye_tests::idle;
use sockeye_tests::peer::Peer;
use sockeye_tests::program::Sockeye;

use crate::subscribers::Subscriber;

/// Connections that are there before the first that is counted.
const WARM_UP: usize = 100;

/// What can be asked for by name, and what measures it.
type Case = (&'static str, fn(usize) -> Vec<Figure>);

const CASES: [Case; 8] = [
    ("echo", echo::plain),
    ("deflate", echo::deflate),
    ("ws", |connections| subscribers::measure(Subscriber::WebSocket, connections)),
    ("v1", |connections| subscribers::measure(Subscriber::V1, connections)),
    ("sse", |connections| subscribers::measure(Subscriber::Events, connections)),
    ("longpoll", |connections| subscribers::measure(Subscriber::LongPoll, connections)),
    ("pings", pings::measure),
    ("who", presence::measure),
];

/// One line of the result.
struct Figure {
    what: String,
    value: String,
}

/// The case that is measured only where it is named: it wants more connections than one process may have.
const SCALE: &str = "scale";

/// `measure-idle CONNECTIONS [CASE…]`: all cases but [`SCALE`] where none is named.
fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "hold").is_some() {
        return scale::hold(arguments);
    }
    let connections = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let wanted: Vec<String> = arguments.collect();
    let mut out = io::stdout();
    if wanted == [SCALE] {
        idle::raise_file_limit(scale::descriptors(connections));
        return write_table(&mut out, connections, scale::measure(connections));
    }
    idle::raise_file_limit(connections + WARM_UP);
    writeln!(out, "{connections} connections\n\n| | each |\n|---|---|")?;
    for (name, measure) in CASES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            for Figure { what, value } in measure(connections) {
                writeln!(out, "| {what} | {value} |")?;
            }
        }
    }
    Ok(())
}

fn write_table(
    out: &mut impl io::Write,
    connections: usize,
    figures: impl IntoIterator<Item = Figure>,
) -> io::Result<()> {
    writeln!(out, "{connections} connections\n\n| | |\n|---|---|")?;
    figures
        .into_iter()
        .try_for_each(|figure| writeln!(out, "| {} | {} |", figure.what, figure.value))
}

/// Connections to a server, and the memory that it had before they were opened.
struct Held<'a> {
    server: &'a Sockeye,
    peers: Vec<Peer>,
    /// Those that are not counted.
    _first: Vec<Peer>,
    before: u64,
}

impl<'a> Held<'a> {
    /// Opens this many connections by `open`, after the first few.
    fn open(server: &'a Sockeye, connections: usize, mut open: impl FnMut(usize) -> Peer) -> Self {
        let first = (connections..connections + WARM_UP).map(&mut open).collect();
        let before = server.resident_bytes();
        Self { server, peers: (0..connections).map(open).collect(), _first: first, before }
    }

    /// The memory that each of them costs the server now.
    fn each(&self, what: impl Into<String>) -> Figure {
        let growth = self.server.resident_bytes().saturating_sub(self.before);
        let each = growth / self.peers.len().max(1) as u64;
        Figure { what: what.into(), value: format!("{each} bytes") }
    }
}
