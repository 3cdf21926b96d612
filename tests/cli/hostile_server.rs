//! `sockeye subscribe` and `sockeye publish` at a server that means them harm: what it can make them hold,
//! and for how long.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sockeye_testing::frame::TEXT;
use sockeye_testing::handshake::{accept_for, response};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Running, assert_fails};

/// More than any of them may take before it turns away: the largest message, a page around it, and what
/// the sockets hold.
const TOO_MUCH: usize = 64 << 20;
const MAX_MESSAGE: [&str; 2] = ["--max-message", "1M"];

const SUBSCRIBE: [&[&str]; 5] = [
    &["subscribe", "--transport", "v1"],
    &["subscribe", "--transport", "sse"],
    &["subscribe", "--transport", "longpoll", "--after", "earliest"],
    &["subscribe", "--transport", "poll", "--after", "earliest"],
    &["subscribe", "--transport", "ndjson", "--after", "earliest"],
];
const PUBLISH: [&[&str]; 2] = [&["publish", "--transport", "v1"], &["publish"]];

/// A port, and a channel's URL there.
fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/c/chat", listener.local_addr().expect("an address"));
    (listener, url)
}

/// The program with these arguments, for that channel. What is published is of no matter.
fn start(args: &[&str], more: &[&str], url: &str) -> Running {
    let data: &[&str] = if args[0] == "publish" { &["hi"] } else { &[] };
    Running::start(&[args, more, &[url], data].concat())
}

/// What begins an answer to that program: the WebSocket that it asked for, or a response with a body
/// without an end.
fn begin(peer: &mut Peer) {
    let head = peer.read_head();
    let answer = match head.header("sec-websocket-key") {
        Some(key) => response(&accept_for(key)).replacen(
            "Upgrade: ",
            "Sec-WebSocket-Protocol: sockeye.v1\r\nUpgrade: ",
            1,
        ),
        None => match head.header("accept") {
            Some(kind) => format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n"),
            None => "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        },
    };
    peer.send(answer.as_bytes(), Chunks::Whole);
}

/// Sends the piece again and again: the other side ends the connection before it has taken too much.
fn assert_turns_away(peer: &Peer, piece: &[u8], what: &str) {
    let piece = piece.repeat((64 << 10) / piece.len() + 1);
    let mut taken = 0;
    while taken < TOO_MUCH {
        match peer.stream().write(&piece) {
            Ok(count) => taken += count,
            Err(error) => {
                let waits = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                assert!(!waits.contains(&error.kind()), "{what}: it neither reads nor goes");
                return;
            }
        }
    }
    panic!("{what}: {taken} bytes were taken");
}

/// What still comes is thrown away, for the seconds that a close may take.
#[test]
fn a_message_that_is_too_large_is_refused_before_it_comes() {
    for args in [SUBSCRIBE[0], PUBLISH[0]] {
        let (listener, url) = listen();
        let _program = start(args, &MAX_MESSAGE, &url);
        let mut peer = Peer::accept(&listener);
        begin(&mut peer);
        peer.send(&[&[TEXT, 127][..], &(1_u64 << 30).to_be_bytes()].concat(), Chunks::Whole);
        while peer.read().close_code() != Some(1009) {}
    }
}

#[test]
fn answers_and_events_that_do_not_end_are_given_up() {
    let rows: [(&[&str], &[u8], &[u8]); 7] = [
        (SUBSCRIBE[1], b"data: ", b"x"),
        (SUBSCRIBE[1], b"", b"data: x\n"),
        (SUBSCRIBE[1], b"id: ", b"x"),
        (SUBSCRIBE[2], b"{\"at\":\"", b"x"),
        (SUBSCRIBE[3], b"{\"at\":\"k.1\",\"messages\":[", b" "),
        (SUBSCRIBE[4], b"{\"at\":\"", b"x"),
        (PUBLISH[1], b"{\"at\":\"", b"x"),
    ];
    for (args, first, piece) in rows {
        let (listener, url) = listen();
        let _program = start(args, &MAX_MESSAGE, &url);
        let mut peer = Peer::accept(&listener);
        begin(&mut peer);
        peer.send(first, Chunks::Whole);
        assert_turns_away(&peer, piece, &format!("{args:?} {first:?}"));
    }
}

#[test]
fn a_refusal_with_a_body_without_an_end_is_a_refusal() {
    for args in SUBSCRIBE.iter().chain(&PUBLISH) {
        let (listener, url) = listen();
        let program = start(args, &[], &url);
        let mut peer = Peer::accept(&listener);
        peer.read_head();
        peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n", Chunks::Whole);
        assert_turns_away(&peer, b"no ", &format!("{args:?}"));
        let output = program.finish();
        assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains("403"), "{output:?}");
    }
}

#[test]
fn heads_without_an_end_and_interim_answers_without_a_final_one_are_given_up() {
    let floods: [(&[u8], &[u8]); 3] = [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"),
    ];
    for args in SUBSCRIBE.iter().chain(&PUBLISH) {
        for (first, piece) in floods {
            let (listener, url) = listen();
            let _program = start(args, &[], &url);
            let mut peer = Peer::accept(&listener);
            peer.read_head();
            peer.send(first, Chunks::Whole);
            assert_turns_away(&peer, piece, &format!("{args:?} {first:?}"));
        }
    }
}

/// Sixteen are harmless.
#[test]
fn some_interim_answers_are_skipped() {
    let (listener, url) = listen();
    let program = start(PUBLISH[1], &[], &url);
    let mut peer = Peer::accept(&listener);
    peer.read_head();
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(16);
    let answer = "HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{\"at\":\"k.1\"}";
    peer.send((hints + answer).as_bytes(), Chunks::Whole);
    assert_eq!(String::from_utf8_lossy(&program.finish().stdout), "k.1\n");
}

#[test]
fn an_answer_that_stops_in_its_middle_is_given_up_in_time() {
    for args in [SUBSCRIBE[0], SUBSCRIBE[2], SUBSCRIBE[3], PUBLISH[0], PUBLISH[1]] {
        let (listener, url) = listen();
        let _program = start(args, &["--answer-timeout", "200ms"], &url);
        let mut peer = Peer::accept(&listener);
        begin(&mut peer);
        // It says what it has to say, and goes.
        peer.read_to_end();
    }
}

/// A client that is told at once that there is nothing, although it asked to wait, does not ask again at once.
#[test]
fn a_server_that_does_not_wait_is_not_asked_all_the_time() {
    let (listener, url) = listen();
    let _program = start(SUBSCRIBE[2], &[], &url);
    let mut peer = Peer::accept(&listener);
    peer.read_head();
    let begun = Instant::now();
    let nothing = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"at\":\"k.1\",\"messages\":[]}";
    peer.send(nothing.as_bytes(), Chunks::Whole);
    peer.read_head();
    // Its second began with its question, which was on its way before this test's clock ran.
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
}
