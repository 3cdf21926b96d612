//! Subscribers that stop to read: what they cost, and what they get afterwards.

use serde_json::{Value, json};
use sockeye_testing::frame::{PING, PONG, TEXT, masked};
use sockeye_testing::handshake::request;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::Sockeye;

/// How many there are, so that what allocators do by chance is small beside what they cost.
const STALLED: usize = 8;
const MESSAGE: usize = 60 << 10;
/// Far more than the history and what the sockets take.
const FLOOD: usize = 128 << 20;
/// What allocators keep of all that passes through is there by then.
const WARM_UP: usize = 32 << 20;

/// Publishes this many bytes, and reads each message at once.
fn publish(publisher: &mut Peer, bytes: usize) {
    let frame = masked(TEXT, &[b'x'; MESSAGE]);
    for _ in 0..bytes / MESSAGE {
        publisher.send(&frame, Chunks::Whole);
        assert_eq!(next(publisher).len(), MESSAGE);
    }
}

/// The payload of the next message. Pings are answered.
fn next(peer: &mut Peer) -> Vec<u8> {
    loop {
        let frame = peer.read();
        match frame.first {
            PING => peer.send(&masked(PONG, &frame.payload), Chunks::Whole),
            _ => return frame.payload,
        }
    }
}

fn next_json(peer: &mut Peer) -> Value {
    serde_json::from_slice(&next(peer)).expect("JSON")
}

#[test]
fn subscribers_that_stop_reading_cost_under_a_mib_each_delay_no_other_and_get_the_gap() {
    let mut server = Sockeye::serve(&["--history-bytes", "1M"]);
    let mut publisher = Peer::open(server.address(), "/c/flood");
    publish(&mut publisher, WARM_UP);
    let before = server.resident_bytes();

    let mut stalled = [(); STALLED].map(|()| subscribe(&server));
    publish(&mut publisher, FLOOD);
    let cost = server.resident_bytes().saturating_sub(before) / STALLED as u64;
    assert!(cost < 1 << 20, "each stalled subscriber costs {cost} bytes");

    publisher.send(&masked(TEXT, b"the end"), Chunks::Whole);
    for peer in &mut stalled {
        assert_hears_all_or_a_gap(peer);
    }
    server.assert_sound();
}

/// A subscription to the flood in `sockeye.v1`.
fn subscribe(server: &Sockeye) -> Peer {
    let mut peer = Peer::connect(server.address());
    let subprotocol = "\r\nSec-WebSocket-Protocol: sockeye.v1\r\n\r\n";
    let request = request("/c/flood").replacen("\r\n\r\n", subprotocol, 1);
    peer.send(request.as_bytes(), Chunks::Whole);
    assert_eq!(peer.read_head().status(), 101);
    peer
}

/// Reads on to the end: each message follows the one before it, or a gap says what is missing.
fn assert_hears_all_or_a_gap(peer: &mut Peer) {
    let hello = next_json(peer)["hello"].take();
    let (mut at, mut gaps, mut is_over) = (hello["at"].clone(), 0, false);
    while !is_over {
        let frame = next_json(peer);
        if frame["gap"].is_object() {
            assert_eq!((&frame["gap"]["after"], &frame["gap"]["why"]), (&at, &json!("slow")));
            at = frame["gap"]["next"].clone();
            gaps += 1;
        } else {
            assert_eq!(offset(&frame["at"]), offset(&at) + 1, "without a hole");
            at = frame["at"].clone();
            is_over = frame["data"] == "the end";
        }
    }
    assert!(gaps > 0, "most of it was not kept for so long");
}

fn offset(at: &Value) -> u64 {
    let (_, offset) = at.as_str().and_then(|at| at.split_once('.')).expect("a position");
    offset.parse().expect("an offset")
}
