//! Ten thousand idle connections to `sockeye echo`.

use sockeye_testing::frame::{PING, PONG, masked};
use sockeye_tests::idle;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::Sockeye;

const CONNECTIONS: usize = 10_000;

/// Every connection answers a ping of the server's keepalive and is sent another: one that the
/// server had given up would get none. The server hears nothing else from them.
#[test]
fn ten_thousand_idle_connections_stay_connected() {
    idle::raise_file_limit(CONNECTIONS);
    let mut server = Sockeye::echo(&["--keepalive", "10s"]);
    let mut peers = idle::open(server.address(), CONNECTIONS);
    peers.iter_mut().for_each(answer_ping);
    peers.iter_mut().for_each(answer_ping);
    for (number, peer) in peers.iter_mut().enumerate().step_by(100) {
        peer.echo(&format!("still here, says {number}"));
    }
    server.assert_sound();
}

fn answer_ping(peer: &mut Peer) {
    let ping = peer.read();
    assert_eq!(ping.first, PING, "{ping:?}");
    peer.send(&masked(PONG, &ping.payload), Chunks::Whole);
}
