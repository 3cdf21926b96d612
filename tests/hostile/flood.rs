//! Peers that send and never read: the server's memory stays bounded, and it serves the others.

use std::io::Write as _;
use std::time::Duration;

use sockeye_testing::frame::{BINARY, PING, masked};
use sockeye_tests::peer::Peer;

use crate::Scene;

/// What a hostile connection may cost the server.
const MOST: u64 = 1 << 20;
/// Hostile connections.
const PEERS: u64 = 4;
/// Far more than the buffers of two sockets and of the server hold together.
const FLOOD: usize = 64 << 20;

/// Rule: N7.
#[test]
fn pings_by_a_peer_that_never_reads_cost_bounded_memory() {
    stays_small(&masked(PING, &[b'p'; 125]));
}

/// Rule: N2.
#[test]
fn messages_by_a_peer_that_never_reads_cost_bounded_memory() {
    stays_small(&masked(BINARY, &[b'm'; 1000]));
}

/// Floods the server with the frame, until it takes no more or has taken very much.
fn stays_small(frame: &[u8]) {
    let mut scene = Scene::new();
    // What the server itself needs the first time, its threads' buffers say, is not the peer's.
    let first = scene.open();
    flood(&first, frame);
    let before = scene.server.resident_bytes();
    let peers: Vec<_> = (0..PEERS).map(|_| scene.open()).collect();
    peers.iter().for_each(|peer| flood(peer, frame));
    scene.assert_serves_others();
    let grown = scene.server.resident_bytes().saturating_sub(before) / PEERS;
    assert!(grown <= MOST, "{grown} bytes more for each");
}

/// A server that stops reading pushes back: that ends the flood as well.
fn flood(peer: &Peer, frame: &[u8]) {
    let mut stream = peer.stream();
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a TCP option");
    let block = frame.repeat((64 << 10) / frame.len());
    for _ in 0..FLOOD / block.len() {
        if stream.write_all(&block).is_err() {
            break;
        }
    }
}
