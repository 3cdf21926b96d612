//! `sockeye echo` and its options.

use sockeye_tests::frame::{BINARY, CONTINUATION, FIN, PING, TEXT, masked};
use sockeye_tests::peer::{Pace, Peer};
use sockeye_tests::program::Sockeye;

#[test]
fn max_message_is_the_largest_message_taken() {
    let server = Sockeye::echo(&["--max-message", "2k"]);
    let mut peer = Peer::open(server.address(), "/");
    peer.echo(&"x".repeat(2048));
    peer.send(&masked(BINARY, &[0; 2049]), Pace::Whole);
    assert_eq!(peer.read().close_code(), Some(1009));
}

#[test]
fn max_message_may_be_raised() {
    let server = Sockeye::echo(&["--max-message", "3MiB"]);
    Peer::open(server.address(), "/").echo(&"x".repeat(3 << 20));
}

#[test]
fn max_fragments_is_the_largest_number_of_fragments_taken() {
    let server = Sockeye::echo(&["--max-fragments", "2"]);
    let mut peer = Peer::open(server.address(), "/");
    let two = [masked(TEXT & !FIN, b"a"), masked(CONTINUATION, b"b")].concat();
    peer.send(&two, Pace::Whole);
    assert_eq!(peer.read().payload, b"ab");
    let more = [masked(TEXT & !FIN, b"a"), masked(CONTINUATION & !FIN, b"b")].concat();
    peer.send(&[more, masked(CONTINUATION, b"c")].concat(), Pace::Whole);
    assert_eq!(peer.read().close_code(), Some(1009));
}

#[test]
fn keepalive_pings_silent_peers() {
    let server = Sockeye::echo(&["--keepalive", "100ms"]);
    assert_eq!(Peer::open(server.address(), "/").read().first, PING);
}

#[test]
fn any_path_is_served() {
    let server = Sockeye::echo(&["--workers", "1"]);
    Peer::open(server.address(), "/any/path?with=query").echo("hello");
}
