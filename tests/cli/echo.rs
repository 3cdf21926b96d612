//! `sockeye echo` and its options.

use sockeye_testing::frame::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, masked};
use sockeye_testing::handshake::{Head, request};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::Sockeye;

#[test]
fn max_message_is_the_largest_message_taken() {
    let server = Sockeye::echo(&["--max-message", "2k"]);
    let mut peer = Peer::open(server.address(), "/");
    peer.echo(&"x".repeat(2048));
    peer.send(&masked(BINARY, &[0; 2049]), Chunks::Whole);
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
    peer.send(&two, Chunks::Whole);
    assert_eq!(peer.read().payload, b"ab");
    let more = [masked(TEXT & !FIN, b"a"), masked(CONTINUATION & !FIN, b"b")].concat();
    peer.send(&[more, masked(CONTINUATION, b"c")].concat(), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1009));
}

#[test]
fn keepalive_pings_silent_peers() {
    let server = Sockeye::echo(&["--keepalive", "100ms"]);
    assert_eq!(Peer::open(server.address(), "/").read().first, PING);
}

/// Rule: W86.
#[test]
fn of_pings_that_come_together_each_is_answered() {
    let server = Sockeye::echo(&[]);
    let mut peer = Peer::open(server.address(), "/");
    let pings: Vec<u8> = (0..10).flat_map(|number| masked(PING, &[number])).collect();
    peer.send(&pings, Chunks::Whole);
    for number in 0..10 {
        let pong = peer.read();
        assert_eq!((pong.first, pong.payload), (PONG, vec![number]));
    }
}

/// What the server answers to an offer of compression.
fn answer_to_deflate(options: &[&str], offer: &str) -> Head {
    let server = Sockeye::echo(options);
    let mut peer = Peer::connect(server.address());
    let extension = format!("Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n\r\n");
    let request = request("/").replacen("\r\n\r\n", &format!("\r\n{extension}"), 1);
    peer.send(request.as_bytes(), Chunks::Whole);
    let head = peer.read_head();
    assert_eq!(head.status(), 101, "{head:?}");
    peer.echo(&"x".repeat(100));
    head
}

#[test]
fn deflate_is_accepted_when_offered() {
    let head = answer_to_deflate(&[], "; server_max_window_bits=9");
    let answer = head.header("sec-websocket-extensions").expect("an agreement");
    assert!(answer.starts_with("permessage-deflate;"), "{answer}");
    assert!(answer.contains("server_max_window_bits=9"), "{answer}");
}

#[test]
fn deflate_off_declines_it() {
    let head = answer_to_deflate(&["--deflate", "off"], "");
    assert_eq!(head.header("sec-websocket-extensions"), None);
}

/// How long two equal messages of the server are on the wire.
fn lengths_of_equal_messages(options: &[&str], offer: &str) -> [usize; 2] {
    let server = Sockeye::echo(options);
    let mut peer = Peer::connect(server.address());
    let extension = format!("Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n\r\n");
    let request = request("/").replacen("\r\n\r\n", &format!("\r\n{extension}"), 1);
    peer.send(request.as_bytes(), Chunks::Whole);
    assert_eq!(peer.read_head().status(), 101);
    [(); 2].map(|()| {
        peer.send(
            &masked(TEXT, &(b' '..127).cycle().take(1000).collect::<Vec<_>>()),
            Chunks::Whole,
        );
        peer.read().payload.len()
    })
}

#[test]
fn messages_refer_to_earlier_ones_only_with_deflate_takeover_where_clients_allow_it() {
    let [first, second] = lengths_of_equal_messages(&[], "");
    assert_eq!(first, second);
    let takeover = ["--deflate", "takeover"];
    let [first, second] = lengths_of_equal_messages(&takeover, "; server_no_context_takeover");
    assert_eq!(first, second);
    let [first, second] = lengths_of_equal_messages(&takeover, "");
    assert!(second < first / 2, "{first} and {second} bytes");
}

#[test]
fn clients_keep_their_context_while_there_is_memory_for_it() {
    for (memory, answer) in [
        ("32k", "permessage-deflate"),
        ("31k", "permessage-deflate; client_no_context_takeover"),
        ("0", "permessage-deflate; client_no_context_takeover"),
    ] {
        for deflate in ["on", "takeover"] {
            let options = ["--deflate", deflate, "--max-deflate-memory", memory];
            let head = answer_to_deflate(&options, "");
            assert_eq!(head.header("sec-websocket-extensions"), Some(answer), "{memory}");
        }
    }
}

#[test]
fn any_path_is_served() {
    let server = Sockeye::echo(&["--workers", "1"]);
    Peer::open(server.address(), "/any/path?with=query").echo("hello");
}

#[test]
fn it_closes_connections_when_it_is_interrupted() {
    let mut server = Sockeye::echo(&[]);
    let mut peer = Peer::open(server.address(), "/");
    peer.echo("hello");
    server.interrupt();
    let close = peer.read();
    assert_eq!(close.close_code(), Some(1001));
    peer.send(&masked(CLOSE, &close.payload), Chunks::Whole);
    assert!(server.wait().success());
}

#[test]
fn a_second_interrupt_ends_it_with_clients_connected() {
    let mut server = Sockeye::echo(&[]);
    let mut peer = Peer::open(server.address(), "/");
    server.interrupt();
    assert_eq!(peer.read().close_code(), Some(1001));
    server.interrupt();
    assert!(server.wait().success());
}
