//! `sockeye connect` in a pipe: lines in, messages out.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sockeye_tests::frame::{BINARY, CLOSE, PONG, TEXT, close_payload, unmasked};
use sockeye_tests::peer::{Pace, Peer, accept_for, response};
use sockeye_tests::program::{Running, Sockeye, assert_fails, run};

/// A port for a hand-made server, and its URL.
fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/chat?x=1", listener.local_addr().expect("an address"));
    (listener, url)
}

#[test]
fn each_line_is_a_message_and_each_message_a_line() {
    let server = Sockeye::echo(&[]);
    let input = "one\n\n  spaces kept  \nunfinished";
    let output = run(&["connect", &server.ws("/")], input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{input}\n"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn many_lines_all_come_back_in_order() {
    let server = Sockeye::echo(&[]);
    let input: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let output = run(&["connect", &server.ws("/")], &input);
    assert!(String::from_utf8_lossy(&output.stdout) == input);
}

#[test]
fn the_request_is_as_rfc_6455_wants_it() {
    let (listener, url) = listen();
    let keys = [(); 2].map(|()| {
        let _client = Running::start(&["connect", &url]);
        let head = Peer::accept(&listener).read_head();
        assert_eq!(head.first_line, "GET /chat?x=1 HTTP/1.1", "w021");
        let address = listener.local_addr().expect("an address").to_string();
        assert_eq!(head.header("host"), Some(address.as_str()), "w022");
        assert_eq!(head.header("upgrade"), Some("websocket"), "w023");
        assert_eq!(head.header("connection"), Some("Upgrade"), "w024");
        assert_eq!(head.header("sec-websocket-version"), Some("13"), "w029");
        let key = head.header("sec-websocket-key").expect("w025");
        assert_eq!(key.len(), "dGhlIHNhbXBsZSBub25jZQ==".len(), "w026");
        key.to_owned()
    });
    assert_ne!(keys[0], keys[1], "w027: a key of its own for each connection");
}

#[test]
fn the_end_of_input_closes_with_1000_and_what_still_comes_is_printed() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", &url]);
    let mut peer = Peer::accept_open(&listener);
    let mut stdin = client.stdin();
    stdin.write_all(b"first\nsecond\n").expect("the program reads");
    drop(stdin);
    let (first, second) = (peer.read(), peer.read());
    assert_eq!((first.first, first.payload.as_slice()), (TEXT, &b"first"[..]));
    assert_eq!((second.first, second.payload.as_slice()), (TEXT, &b"second"[..]));
    assert!(first.mask.is_some() && second.mask.is_some(), "w053: a client always masks");
    assert_ne!(first.mask, second.mask, "w067: with a key of its own for each frame");
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(TEXT, b"last words"), Pace::Whole);
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Pace::Whole);
    drop(peer);
    let output = client.finish();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "last words\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn wait_listens_on_after_the_end_of_input() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", "--wait", "1s", &url]);
    drop(client.stdin());
    let mut peer = Peer::accept_open(&listener);
    let start = Instant::now();
    peer.send(&unmasked(TEXT, b"news"), Pace::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Pace::Whole);
    drop(peer);
    let output = client.finish();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "news\n");
}

#[test]
fn verbose_shows_the_handshake_beside_the_messages() {
    let server = Sockeye::echo(&[]);
    let output = run(&["connect", "-v", &server.ws("/here")], "hello\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    let shown = String::from_utf8_lossy(&output.stderr).to_ascii_lowercase();
    for part in ["get /here http/1.1", "sec-websocket-key:", "101", "sec-websocket-accept:"] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
}

#[test]
fn compressed_offers_compression_and_messages_are_the_same() {
    let server = Sockeye::echo(&[]);
    let input = format!("{}\nshort\n", "to be compressed ".repeat(1000));
    let output = run(&["connect", "--compressed", "-v", &server.ws("/")], &input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), input);
    let shown = String::from_utf8_lossy(&output.stderr).to_ascii_lowercase();
    assert!(shown.contains("< sec-websocket-extensions: permessage-deflate"), "{shown}");
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let (listener, url) = listen();
    let client = Running::start(&["connect", &url]);
    let mut peer = Peer::accept_open(&listener);
    peer.send(&unmasked(0x89, b"there?"), Pace::Whole);
    let pong = peer.read();
    assert_eq!((pong.first, pong.payload.as_slice()), (PONG, &b"there?"[..]));
    drop((peer, client));
}

/// Frames in one segment with the response belong to the WebSocket.
#[test]
fn n012_messages_that_come_with_the_response_are_printed() {
    let (listener, url) = listen();
    let client = Running::start(&["connect", &url]);
    let mut peer = Peer::accept(&listener);
    let accept = accept_for(peer.read_head().header("sec-websocket-key").expect("a key"));
    let close = unmasked(CLOSE, &close_payload(1000, b""));
    let bytes = [response(&accept).into_bytes(), unmasked(TEXT, b"welcome"), close].concat();
    peer.send(&bytes, Pace::Whole);
    assert_eq!(peer.read().close_code(), Some(1000), "w083");
    drop(peer);
    let output = client.finish();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "welcome\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn nobody_there_is_a_failure_in_one_line() {
    let (listener, url) = listen();
    drop(listener);
    assert_fails(&run(&["connect", &url], ""), 1);
}

#[test]
fn a_refusal_is_a_failure_that_tells_the_status() {
    let server = Sockeye::serve(&[]);
    let output = run(&["connect", &server.ws("/nowhere")], "");
    assert_fails(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("404"), "{output:?}");
}

#[test]
fn a_connection_that_breaks_off_is_a_failure() {
    let (listener, url) = listen();
    let client = Running::start(&["connect", &url]);
    drop(Peer::accept_open(&listener));
    assert_fails(&client.finish(), 1);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", &url]);
    let mut peer = Peer::accept_open(&listener);
    drop(client.stdout());
    peer.send(&unmasked(TEXT, b"for nobody").repeat(100), Pace::Whole);
    peer.send(&unmasked(BINARY, b"for nobody"), Pace::Whole);
    peer.read_to_end();
    let output = client.finish();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn ctrl_c_closes_the_connection_and_is_quiet() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", &url]);
    let mut peer = Peer::accept_open(&listener);
    // It answers: so it is past its start and listens to signals.
    peer.send(&unmasked(0x89, b""), Pace::Whole);
    assert_eq!(peer.read().first, PONG);
    client.interrupt();
    assert_eq!(peer.read().first, CLOSE);
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Pace::Whole);
    drop(peer);
    let output = client.finish();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// The answer to the last line may take its time, and may be long on its way.
#[test]
fn what_comes_after_the_end_of_the_input_is_waited_for_until_nothing_comes() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", "--wait", "3s", &url]);
    let mut peer = Peer::accept_open(&listener);
    let mut stdin = client.stdin();
    stdin.write_all(b"hello").expect("the program reads");
    drop(stdin);
    let mut stdout = client.stdout();
    let printed = std::thread::spawn(move || std::io::read_to_string(&mut stdout));
    assert_eq!(peer.read().payload, b"hello");
    let answer = "x".repeat(900_000);
    let frame = unmasked(TEXT, answer.as_bytes());
    // Two pauses are longer than it waits, and each is shorter.
    for part in frame.chunks(300_010) {
        peer.send(part, Pace::Whole);
        std::thread::sleep(Duration::from_millis(1700));
    }
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Pace::Whole);
    drop(peer);
    assert!(client.finish().status.success());
    let printed = printed.join().expect("no panic").expect("a text");
    assert!(printed == format!("{answer}\n"), "{} bytes", printed.len());
}

#[test]
fn input_that_is_not_utf_8_is_an_error_unless_it_is_sent_as_bytes() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", &url]);
    client.stdin().write_all(b"good\nb\xffd\n").expect("the program reads");
    let mut peer = Peer::accept_open(&listener);
    assert_eq!(peer.read().payload, b"good");
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Pace::Whole);
    drop(peer);
    let output = client.finish();
    assert_fails(&output, 1);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("line 2") && said.contains("--binary"), "{said}");

    let mut client = Running::start(&["connect", "--binary", &url]);
    client.stdin().write_all(b"b\xffd\r\n").expect("the program reads");
    let mut peer = Peer::accept_open(&listener);
    let frame = peer.read();
    assert_eq!((frame.first, frame.payload.as_slice()), (BINARY, &b"b\xffd"[..]));
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Pace::Whole);
    drop(peer);
    assert!(client.finish().status.success());
}

#[test]
fn a_host_given_by_hand_replaces_the_urls_on_every_transport() {
    let (listener, url) = listen();
    let channel = url.replace("ws://", "http://");
    let host = ["-H", "Host: push.example:8443"];
    let commands: [&[&str]; 6] = [
        &["connect", &url],
        &["publish", &channel, "x"],
        &["publish", "--transport", "ws", &channel, "x"],
        &["subscribe", "--transport", "ws", &channel],
        &["subscribe", "--transport", "sse", &channel],
        &["subscribe", "--transport", "poll", &channel],
    ];
    for command in commands {
        let _client = Running::start(&[command, &host].concat());
        let head = Peer::accept(&listener).read_head();
        assert_eq!(head.header("host"), Some("push.example:8443"), "{command:?}");
    }
}

#[test]
fn a_refusal_is_told_in_the_servers_own_words_with_where_a_channel_is() {
    let server = Sockeye::serve(&[]);
    let said = |args: &[&str]| {
        let output = run(args, "");
        assert_fails(&output, 1);
        String::from_utf8(output.stderr).expect("a text")
    };
    let channel = server.ws("/c/NAME");
    // What the server itself prints is meant for a browser.
    for path in ["/", "/chat", "/connect"] {
        let told = said(&["connect", &server.http(path)]);
        assert!(told.contains(&channel), "{told}");
    }
    for path in ["/", "/chat"] {
        let told = said(&["publish", &server.http(path), "hi"]);
        assert!(told.contains(&server.http("/c/NAME")), "{told}");
    }
    let origin = said(&["connect", "--origin", "https://evil.example", &server.ws("/c/chat")]);
    assert!(origin.contains("bad_origin: ") && !origin.contains("NAME"), "{origin}");
    let name = said(&["connect", &server.ws("/c/-")]);
    assert!(name.contains("bad_channel: "), "{name}");
    let missing = run(&["connect", "localhost:8080/c/chat"], "");
    assert_eq!(missing.status.code(), Some(2));
    let told = String::from_utf8(missing.stderr).expect("a text");
    assert!(told.contains("write ws://localhost:8080/c/chat"), "{told}");
}

#[test]
fn max_fragments_limits_the_frames_of_a_message() {
    let (listener, url) = listen();
    let client = Running::start(&["connect", "--max-fragments", "2", &url]);
    let mut peer = Peer::accept_open(&listener);
    let parts = [unmasked(0x01, b"a"), unmasked(0x00, b"b"), unmasked(0x00, b"c")];
    peer.send(&parts.concat(), Pace::Whole);
    assert_eq!(peer.read().close_code(), Some(1009));
    drop(peer);
    assert_fails(&client.finish(), 1);
}

/// Its Close is right behind the line.
#[test]
fn a_server_of_ours_answers_before_it_closes() {
    let (echo, serve) = (Sockeye::echo(&[]), Sockeye::serve(&[]));
    for url in [echo.ws("/"), serve.ws("/c/chat")] {
        for round in 0..25 {
            let line = format!("line {round}\n");
            let output = run(&["connect", "--wait", "0s", &url], &line);
            assert_eq!(String::from_utf8_lossy(&output.stdout), line, "{output:?}");
        }
    }
}
