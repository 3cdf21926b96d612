//! `sockeye` on a terminal: what a peer sends is shown and never obeyed, and the shell's prompt comes
//! behind a line break.

use std::net::TcpListener;

use sockeye_testing::frame::{BINARY, CLOSE, TEXT, close_payload, unmasked};
use sockeye_testing::handshake::{accept_for, response};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::terminal::Terminal;

/// Sets a title, clears the screen, moves the cursor, and turns text round; and how all of it is shown.
const HOSTILE: &str = "a\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}5A\u{7f}\u{202e}b";
const SHOWN: &str = r"a\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}5A\u{7f}\u{202e}b";

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/chat", listener.local_addr().expect("an address"));
    (listener, url)
}

/// Fails where something got to the terminal as it was sent.
#[track_caller]
fn assert_harmless(shown: &str) {
    for sequence in ["\u{1b}]", "\u{1b}[2J", "\u{9b}", "\u{7f}", "\u{202e}", "\u{7}"] {
        assert!(!shown.contains(sequence), "{sequence:?} is in {shown:?}");
    }
}

#[test]
fn messages_and_reasons_of_a_server_are_shown_and_not_obeyed() {
    for (has_input, verbose) in [(true, false), (true, true), (false, true)] {
        let (listener, url) = listen();
        let args = if verbose { vec!["connect", "-v", &url] } else { vec!["connect", &url] };
        let start = if has_input { Terminal::start } else { Terminal::start_without_input };
        let terminal = start(&args);
        let mut peer = Peer::accept(&listener);
        let accept = accept_for(peer.read_head().header("sec-websocket-key").expect("a key"));
        let header = "\r\nX-Title: c1 \u{9b}2J\r\n\r\n";
        let head = response(&accept).replacen("\r\n\r\n", header, 1);
        let close = close_payload(4000, HOSTILE.as_bytes());
        let message = unmasked(TEXT, HOSTILE.as_bytes());
        peer.send(&[head.into_bytes(), message].concat(), Chunks::Whole);
        peer.send(&unmasked(BINARY, b"\x1b[2J\x9b5A"), Chunks::Whole);
        peer.send(&unmasked(CLOSE, &close), Chunks::Whole);
        let _ = peer.read_to_end();
        let (status, shown) = terminal.finish();
        assert_eq!(status.code(), Some(1), "{shown}");
        assert_harmless(&shown);
        // The message, and the reason in the error.
        assert_eq!(shown.matches(SHOWN).count(), 2, "{shown:?}");
        assert_eq!(shown.contains(r"x-title: c1 \u{9b}2J"), verbose, "{shown:?}");
        assert!(shown.ends_with('\n'), "{shown:?}");
    }
}

#[test]
fn a_problem_of_a_server_is_shown_and_not_obeyed() {
    for command in ["connect", "publish", "subscribe"] {
        let (listener, url) = listen();
        let args: &[&str] = &[command, &url, "hello"];
        let terminal =
            Terminal::start_without_input(&args[..if command == "publish" { 3 } else { 2 }]);
        let detail = serde_json::json!({ "code": "forbidden", "detail": HOSTILE }).to_string();
        let answer = format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{detail}", detail.len());
        // `subscribe` asks again in another way.
        for _ in 0..if command == "subscribe" { 2 } else { 1 } {
            let mut peer = Peer::accept(&listener);
            peer.read_head();
            peer.send(answer.as_bytes(), Chunks::Whole);
        }
        let (status, shown) = terminal.finish();
        assert_eq!(status.code(), Some(1), "{shown}");
        assert!(shown.contains(SHOWN), "{command}: {shown:?}");
        assert_harmless(&shown);
    }
}

#[test]
fn what_others_publish_is_shown_and_not_obeyed() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    assert!(run(&["publish", &url, HOSTILE], "").status.success());
    let args = ["subscribe", "-v", "--after", "earliest", "--count", "1", &url];
    let (_, shown) = Terminal::start_without_input(&args).finish();
    assert!(shown.contains(SHOWN), "{shown:?}");
    assert_harmless(&shown);
    let (_, shown) = Terminal::start_without_input(&[&args[..], &["--json"]].concat()).finish();
    assert!(shown.contains("\"data\":"), "{shown:?}");
    assert_harmless(&shown);
    // In a pipe nothing is changed.
    let output = run(&args, "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{HOSTILE}\n"));
}

#[test]
fn a_session_ends_with_a_line_break_whichever_side_ends_it() {
    let server = Sockeye::echo(&[]);
    let mut terminal = Terminal::start(&["connect", &server.ws("/")]);
    terminal.wait_for("> ");
    terminal.press("q");
    terminal.wait_for("q");
    terminal.press("\r");
    terminal.wait_for("q\r\n");
    // What was typed, and what came back.
    terminal.wait_until(|shown| shown.matches('q').count() >= 2);
    terminal.press("\u{4}");
    let (status, shown) = terminal.finish();
    assert!(status.success() && shown.ends_with('\n'), "{shown:?}");

    let (listener, url) = listen();
    let terminal = Terminal::start(&["connect", &url]);
    let mut peer = Peer::accept_open(&listener);
    terminal.wait_for("> ");
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    let _ = peer.read_to_end();
    let (status, shown) = terminal.finish();
    assert!(status.success() && shown.ends_with('\n'), "{shown:?}");
}

#[test]
fn what_is_typed_and_is_not_utf_8_ends_the_session_with_what_to_do() {
    let server = Sockeye::echo(&[]);
    let mut terminal = Terminal::start(&["connect", &server.ws("/")]);
    terminal.wait_for("> ");
    terminal.press(b"\xff");
    let (status, shown) = terminal.finish();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.contains("not UTF-8: --binary sends bytes"), "{shown:?}");
}
