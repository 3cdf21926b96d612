//! `sockeye connect` in a pipe: lines in, messages out.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sockeye_testing::frame::{BINARY, CLOSE, PONG, TEXT, close_payload, unmasked};
use sockeye_testing::handshake::{accept_for, response};
use sockeye_tests::peer::{Chunks, Peer};
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
        assert_eq!(head.first_line, "GET /chat?x=1 HTTP/1.1", "W21");
        let address = listener.local_addr().expect("an address").to_string();
        assert_eq!(head.header("host"), Some(address.as_str()), "W22");
        assert_eq!(head.header("upgrade"), Some("websocket"), "W23");
        assert_eq!(head.header("connection"), Some("Upgrade"), "W24");
        assert_eq!(head.header("sec-websocket-version"), Some("13"), "W29");
        let key = head.header("sec-websocket-key").expect("W25");
        assert_eq!(key.len(), "dGhlIHNhbXBsZSBub25jZQ==".len(), "W26");
        key.to_owned()
    });
    assert_ne!(keys[0], keys[1], "W27: a key of its own for each connection");
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
    assert!(first.mask.is_some() && second.mask.is_some(), "W53: a client always masks");
    assert_ne!(first.mask, second.mask, "W67: with a key of its own for each frame");
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(TEXT, b"last words"), Chunks::Whole);
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
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
    peer.send(&unmasked(TEXT, b"news"), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
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
    peer.send(&unmasked(0x89, b"there?"), Chunks::Whole);
    let pong = peer.read();
    assert_eq!((pong.first, pong.payload.as_slice()), (PONG, &b"there?"[..]));
    drop((peer, client));
}

/// Frames in one segment with the response belong to the WebSocket.
///
/// Rule: N12.
#[test]
fn messages_that_come_with_the_response_are_printed() {
    let (listener, url) = listen();
    let client = Running::start(&["connect", &url]);
    let mut peer = Peer::accept(&listener);
    let accept = accept_for(peer.read_head().header("sec-websocket-key").expect("a key"));
    let close = unmasked(CLOSE, &close_payload(1000, b""));
    let bytes = [response(&accept).into_bytes(), unmasked(TEXT, b"welcome"), close].concat();
    peer.send(&bytes, Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000), "W83");
    drop(peer);
    let output = client.finish();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "welcome\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_address_without_a_server_is_a_failure_in_one_line() {
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
    peer.send(&unmasked(TEXT, b"not for printing").repeat(100), Chunks::Whole);
    peer.send(&unmasked(BINARY, b"not for printing"), Chunks::Whole);
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
    peer.send(&unmasked(0x89, b""), Chunks::Whole);
    assert_eq!(peer.read().first, PONG);
    client.interrupt();
    assert_eq!(peer.read().first, CLOSE);
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
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
        peer.send(part, Chunks::Whole);
        std::thread::sleep(Duration::from_millis(1700));
    }
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
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
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
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
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
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
        &["publish", "--transport", "v1", &channel, "x"],
        &["subscribe", "--transport", "v1", &channel],
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
fn a_refusal_is_shown_in_the_servers_own_words_with_where_a_channel_is() {
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
    peer.send(&parts.concat(), Chunks::Whole);
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

#[test]
fn expect_and_count_are_for_scripts() {
    let server = Sockeye::echo(&[]);
    let url = server.ws("/");
    let input = "one\nready now\nthree\n";
    // It does not wait for more than it expects.
    let output = run(&["connect", "--expect", "ready", "--wait", "1h", &url], input);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\nready now\n");
    let output = run(&["connect", "-n", "1", "--wait", "1h", &url], input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\n");
    let output = run(&["connect", "-n", "2", "--expect", "e", "--wait", "1h", &url], input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\nready now\n");

    let late = run(&["connect", "--expect", "never", "--timeout", "300ms", &url], "other\n");
    assert_eq!(late.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&late.stderr),
        "sockeye: no message with \"never\" came: --timeout: it takes more than 300ms\n"
    );
    let (listener, url) = listen();
    let client = Running::start(&["connect", "-n", "2", &url]);
    let mut peer = Peer::accept_open(&listener);
    peer.send(&unmasked(TEXT, b"one"), Chunks::Whole);
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    drop(peer);
    let output = client.finish();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("sockeye: 1 of 2 messages came: "), "{said}");
}

#[test]
fn messages_end_with_a_line_a_nul_or_the_input() {
    let server = Sockeye::echo(&[]);
    let url = server.ws("/");
    let output = run(&["connect", "-0", &url], "a\nb\0\0c");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\nb\0\0c\0");
    let output = run(&["connect", "--whole", "--binary", "-n", "1", &url], "\0\n.");
    assert_eq!(output.stdout, b"\0\n.");
    let output = run(&["connect", "--whole", "--hex", "-n", "1", &url], "00 ff");
    assert_eq!(output.stdout, b"00ff\n");
    let output = run(&["connect", "--hex", &url], "00 Ff\n\n7f\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "00ff\n\n7f\n");
    let wrong = run(&["connect", "--hex", &url], "00\n0x1\n");
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("line 2 of the input: 'x' is not a hexadecimal digit"), "{said}");
}

#[test]
fn commands_in_a_pipe_are_messages_unless_they_are_asked_for() {
    let server = Sockeye::echo(&[]);
    let url = server.ws("/");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "from a file").expect("a file");
    let input = format!("/send {}\n//two\n/ping\n/close 4000 bye\nnot sent\n", file.display());
    let output = run(&["connect", &url], &input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), input);
    let output = run(&["connect", "-v", "--commands", &url], &input);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from a file\n/two\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("* pong in "), "{said}");
    assert!(said.ends_with("* closed by this end with 4000 (bye)\n"), "{said}");
    for (line, why) in [("/swim", "no command /swim"), ("/send /nowhere", "/send /nowhere")] {
        let output = run(&["connect", "--commands", &url], line);
        assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}

#[test]
fn twice_verbose_shows_each_frame_on_both_versions_of_http() {
    let server = Sockeye::serve(&[]);
    for version in [&[][..], &["--http2"]] {
        let url = server.ws("/c/chat");
        let args = [&["connect", "-vv"], version, &[&url]].concat();
        let output = run(&args, "hello\n");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for line in [
            "> text, 5 bytes, masked",
            "< text, 5 bytes",
            "> close, 2 bytes, masked: 1000 \"\"",
            "< close, 2 bytes: 1000 \"\"",
        ] {
            assert!(said.lines().any(|said| said == line), "{line} is missing in:\n{said}");
        }
        assert_eq!(said.contains(":protocol: websocket"), !version.is_empty(), "{said}");
    }
    let echo = Sockeye::echo(&[]);
    let output = run(&["connect", "--http2", &echo.ws("/")], "");
    assert_fails(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("HTTP/2"), "{output:?}");
}

#[test]
fn json_is_indented_and_times_stand_before_messages() {
    let server = Sockeye::echo(&[]);
    let output = run(&["connect", "--json", &server.ws("/")], "{\"a\":[1.50]}\nplain\n");
    let expected = "{\n  \"a\": [\n    1.50\n  ]\n}\nplain\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    let output = run(&["connect", "-t", &server.ws("/")], "hello\n");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let (time, message) = printed.split_once(' ').expect("a time and a message");
    assert!(time.ends_with('Z') && time.contains('T') && message == "hello\n", "{printed}");
}

/// What was sent is sent again with its pauses, to another server.
#[test]
fn a_transcript_is_written_and_sent_again() {
    let server = Sockeye::echo(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let log = log.to_str().expect("UTF-8");
    let mut client = Running::start(&["connect", "--log", log, &server.ws("/")]);
    let (mut stdin, mut stdout) = (client.stdin(), client.stdout());
    stdin.write_all(b"first\n").expect("it reads");
    std::io::Read::read_exact(&mut stdout, &mut [0; 6]).expect("the answer");
    // The pause that is to be in the transcript.
    std::thread::sleep(Duration::from_millis(400));
    stdin.write_all(b"second\n").expect("it reads");
    drop(stdin);
    let _ = std::io::read_to_string(&mut stdout);
    assert!(client.finish().status.success());
    let written = std::fs::read_to_string(log).expect("a transcript");
    let kinds: Vec<_> = written
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let keys = line.as_object().expect("an object").keys();
            keys.filter(|key| *key != "ms").cloned().collect::<String>()
        })
        .collect();
    assert_eq!(kinds, ["opened", "sent", "received", "sent", "received", "closed"], "{written}");

    let (listener, url) = listen();
    let client = Running::start(&["connect", "--replay", log, &url]);
    let mut peer = Peer::accept_open(&listener);
    assert_eq!(peer.read().payload, b"first");
    let begun = Instant::now();
    assert_eq!(peer.read().payload, b"second");
    assert!(begun.elapsed() > Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    drop(peer);
    client.assert_succeeds();
}

#[test]
fn pings_are_sent_in_an_interval_and_their_times_told() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", "--ping-interval", "20ms", &url]);
    let stdin = client.stdin();
    let mut peer = Peer::accept_open(&listener);
    for _ in 0..2 {
        let ping = peer.read();
        assert_eq!(ping.first, 0x89);
        peer.send(&unmasked(PONG, &ping.payload), Chunks::Whole);
    }
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    let _ = peer.read_to_end();
    drop((peer, stdin));
    let output = client.finish();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.matches("* pong in ").count() >= 2, "{said}");
}

#[test]
fn reconnect_goes_on_with_the_input_after_a_connection_that_broke() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", "--reconnect", &url]);
    let mut stdin = client.stdin();
    let mut peer = Peer::accept_open(&listener);
    stdin.write_all(b"one\n").expect("it reads");
    assert_eq!(peer.read().payload, b"one");
    // It breaks, and the next attempt is refused for the moment.
    drop(peer);
    let mut peer = Peer::accept(&listener);
    peer.read_head();
    peer.send(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n", Chunks::Whole);
    drop(peer);
    let mut peer = Peer::accept_open(&listener);
    stdin.write_all(b"two\n").expect("it reads");
    assert_eq!(peer.read().payload, b"two");
    // A server that closes with 1000 is done.
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    drop((peer, stdin));
    let output = client.finish();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("connecting again in ").count(), 2, "{said}");
}

#[test]
fn a_channel_is_written_and_read_by_each_transport() {
    let server = Sockeye::serve(&["--max-message", "10"]);
    for transport in ["ws", "v1", "sse", "ndjson", "longpoll", "poll"] {
        let url = server.http(&format!("/c/{transport}"));
        let connect = ["connect", "--transport", transport, "-n", "2", "--timeout", "60s", &url];
        let output = run(&connect, "hello\nthere\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{transport}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\nthere\n", "{transport}");
        assert!(output.status.success(), "{transport}");
    }
    let connect = ["connect", "--transport", "sse", &server.http("/c/chat")];
    let output = run(&connect, "much too large\n");
    assert_fails(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("too_large"), "{output:?}");
}

#[test]
fn ctrl_c_before_there_is_a_connection_ends_it_at_once() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", "--connect-timeout", "1h", &url]);
    let mut peer = Peer::accept(&listener);
    peer.read_head();
    client.interrupt();
    let output = client.finish();
    assert_fails(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
}

/// As with `| head -1`: the server gets a Close, and the program ends with success.
#[test]
fn an_output_that_is_closed_closes_the_connection() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", &url]);
    let stdin = client.stdin();
    let mut peer = Peer::accept_open(&listener);
    drop(client.stdout());
    peer.send(&unmasked(TEXT, b"unread"), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    drop((peer, stdin));
    client.assert_succeeds();
}

/// As with `| head -1` when nothing more is said.
#[test]
fn an_output_whose_reader_has_gone_ends_it_without_another_message() {
    let server = Sockeye::serve(&[]);
    let nowhere = format!("ws://{}/", sockeye_tests::streams::free_address());
    let mut all = vec![vec!["--reconnect".to_owned(), nowhere]];
    for transport in ["ws", "v1", "sse", "ndjson", "longpoll", "poll"] {
        all.push(vec!["--transport".to_owned(), transport.to_owned(), server.http("/c/quiet")]);
    }
    for args in all {
        let args: Vec<_> = ["connect"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let mut client = Running::start(&args);
        let stdin = client.stdin();
        drop(client.stdout());
        let output = client.finish();
        assert!(output.status.success(), "{args:?}: {output:?}");
        drop(stdin);
    }
}

#[test]
fn what_the_input_has_is_sent_when_the_reader_of_the_output_has_gone() {
    let (listener, url) = listen();
    let mut client = Running::start(&["connect", &url]);
    drop(client.stdout());
    let mut stdin = client.stdin();
    let lines: String = (0..1000).map(|number| format!("{number}\n")).collect();
    stdin.write_all(lines.as_bytes()).expect("the program reads");
    drop(stdin);
    let mut peer = Peer::accept_open(&listener);
    for number in 0..1000 {
        assert_eq!(peer.read().payload, number.to_string().as_bytes());
    }
    assert_eq!(peer.read().close_code(), Some(1000));
    drop(peer);
    client.assert_succeeds();
}
