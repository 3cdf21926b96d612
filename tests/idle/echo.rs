//! Idle connections to `sockeye echo`: never used, used once, and after a burst.

use sockeye_testing::frame::{FIN, RSV1, TEXT, masked};
use sockeye_testing::handshake::{request, request_with};
use sockeye_tests::idle;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::Sockeye;

use crate::{Figure, Held};

/// 1 KiB of JSON.
const MESSAGE: &[u8] = include_bytes!("../../benches/message.json");
/// Messages that come in one write.
const BURST: usize = 16;

/// Messages as they are, on a server that would compress if it were asked to.
pub(crate) fn plain(connections: usize) -> Vec<Figure> {
    measure("`sockeye echo`", &request("/"), &masked(TEXT, MESSAGE), connections)
}

/// Compressed ones, each by itself.
pub(crate) fn deflate(connections: usize) -> Vec<Figure> {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover\r\n";
    let request = request_with("/", offer);
    let message = masked(TEXT | RSV1, &stored(MESSAGE));
    measure("`sockeye echo`, deflate without takeover", &request, &message, connections)
}

fn measure(server_name: &str, request: &str, message: &[u8], connections: usize) -> Vec<Figure> {
    let server = Sockeye::echo(&[]);
    let mut held = Held::open(&server, connections, |number| {
        let mut peer = idle::ask(server.address(), number, request);
        assert_eq!(peer.read_head().status(), 101);
        peer
    });
    let mut figures = vec![held.each(format!("{server_name}: never used"))];
    held.peers.iter_mut().for_each(|peer| exchange(peer, message, 1));
    figures.push(held.each(format!("{server_name}: after a message of 1 KiB")));
    held.peers.iter_mut().for_each(|peer| exchange(peer, message, BURST));
    figures.push(held.each(format!("{server_name}: after {BURST} of them at once")));
    figures
}

/// Sends the message `count` times in one write, and takes the answers.
fn exchange(peer: &mut Peer, message: &[u8], count: usize) {
    peer.send(&message.repeat(count), Chunks::Whole);
    for _ in 0..count {
        let answer = peer.read_past_pings();
        assert_eq!(answer.first, message[0], "as it was sent: {:02x}", answer.first);
        assert_ne!(answer.first & FIN, 0);
    }
}

/// A compressed message made by hand: one stored block (RFC 1951 §3.2.4), and the beginning of the
/// empty one that every message ends with (RFC 7692 §7.2.1).
fn stored(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a block holds 64 KiB").to_le_bytes();
    let complement = length.map(|byte| !byte);
    [&[0][..], &length, &complement, message, &[0]].concat()
}
