//! The CPU time of `sockeye echo` while its connections do nothing but answer its pings.

use std::time::{Duration, Instant};

use sockeye_testing::frame::{PING, PONG, masked};
use sockeye_tests::idle;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::Sockeye;

use crate::Figure;

/// Time between the pings of a connection: the default.
const EVERY: Duration = Duration::from_secs(25);
/// How many pings each connection answers while the time is taken.
const ROUNDS: u32 = 2;

/// Real pings at their real pace: nothing is scaled.
pub(crate) fn measure(connections: usize) -> Vec<Figure> {
    let server = Sockeye::echo(&["--keepalive", "25s"]);
    let mut peers = idle::open(server.address(), connections);
    for peer in &peers {
        let timeout = Some(2 * EVERY);
        peer.stream().set_read_timeout(timeout).expect("a TCP option");
    }
    // The first round is not counted: it says that all are there.
    answer_pings(&mut peers);
    let (begun, before) = (Instant::now(), server.cpu_time());
    (0..ROUNDS).for_each(|_| answer_pings(&mut peers));
    let (took, used) = (begun.elapsed(), server.cpu_time() - before);
    let pings = f64::from(ROUNDS) * connections as f64;
    vec![Figure {
        what: format!(
            "`sockeye echo`, CPU with pings every 25 s, over {:.0} s",
            took.as_secs_f64()
        ),
        value: format!(
            "{:.2} % of a core for all; {:.1} µs for each ping",
            100.0 * used.as_secs_f64() / took.as_secs_f64(),
            used.as_secs_f64() * 1e6 / pings
        ),
    }]
}

/// In the order in which the connections were opened, which is that of their pings.
fn answer_pings(peers: &mut [Peer]) {
    for peer in peers {
        let ping = peer.read();
        assert_eq!(ping.first, PING, "{ping:?}");
        peer.send(&masked(PONG, &ping.payload), Chunks::Whole);
    }
}
