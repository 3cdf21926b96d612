//! `sockeye listen`: clients that a person or a pipe talks to.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::SocketAddr;

use serde_json::{Value, json};
use sockeye_testing::eventually;
use sockeye_testing::frame::{BINARY, CLOSE, PING, TEXT, close_payload, masked};
use sockeye_testing::handshake::{request, request_with};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Running, Sockeye, assert_fails, run};
use sockeye_tests::terminal::Terminal;
use sockeye_tests::tls::Certificates;

/// A client that was told of.
fn client(server: &Sockeye, number: usize) -> Peer {
    let peer = Peer::open(server.address(), "/");
    server.wait_for(&format!("@{number} connected"));
    peer
}

/// The program with its outputs apart, and where it listens. Its stderr is not read any further.
fn start(options: &[&str]) -> (Running, SocketAddr) {
    let mut listen = Running::start(&[&["listen", "--listen", "127.0.0.1:0"], options].concat());
    let mut line = String::new();
    let mut errors = BufReader::new(listen.stderr());
    errors.read_line(&mut line).expect("a line");
    let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
    // It stays open, for what is told later.
    std::thread::spawn(move || errors.lines().count());
    (listen, address.expect("an address"))
}

/// Sends a text.
pub(crate) fn say(peer: &mut Peer, text: &str) {
    peer.send(&masked(TEXT, text.as_bytes()), Chunks::Whole);
}

/// The next message, which is a text.
pub(crate) fn heard(peer: &mut Peer) -> String {
    let frame = peer.read_past_pings();
    assert_eq!(frame.first, TEXT, "{frame:?}");
    String::from_utf8(frame.payload).expect("text")
}

/// Sends messages until the sockets are full: the program reads no more than it can pass on.
pub(crate) fn fill(peer: &Peer) {
    peer.stream().set_nonblocking(true).expect("an option");
    let frame = masked(TEXT, &[b'x'; 64 << 10]);
    let mut sent = 0;
    eventually("the client has to wait", || match peer.stream().write(&frame) {
        Ok(count) => {
            sent += count;
            assert!(sent < 256 << 20, "{sent} bytes were read and not passed on");
            Err(sent)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => panic!("{error}"),
    });
}

#[test]
fn what_clients_send_is_printed_with_their_names() {
    let server = Sockeye::listen(&[]);
    let (mut one, mut two) = (client(&server, 1), client(&server, 2));
    say(&mut two, "from the second");
    server.wait_for("@2 from the second");
    say(&mut one, "from the first");
    server.wait_for("@1 from the first");
    // No client can speak for another.
    say(&mut two, "line\n@1 forged");
    server.wait_for("@2 line");
    server.wait_for("@2 @1 forged");
    two.send(&masked(CLOSE, &close_payload(1000, "bye")), Chunks::Whole);
    server.wait_for("@2 closed by the peer with 1000");
    let log = server.stop();
    assert!(!log.contains("\n@1 forged"), "{log}");
}

#[test]
fn lines_go_to_all_or_to_the_client_that_they_name() {
    let (server, mut input) = Sockeye::listen_with_input(&[]);
    let (mut one, mut two) = (client(&server, 1), client(&server, 2));
    input.write_all(b"hello\n@2 for you\r\n@* @1 as it is\n").expect("it reads");
    for peer in [&mut one, &mut two] {
        assert_eq!(heard(peer), "hello");
    }
    assert_eq!(heard(&mut two), "for you");
    for peer in [&mut one, &mut two] {
        assert_eq!(heard(peer), "@1 as it is");
    }
    input.write_all(b"@7 unread\n").expect("it reads");
    server.wait_for("@7 is not connected");
}

#[test]
fn piped_lines_wait_for_the_first_client() {
    let (server, mut input) = Sockeye::listen_with_input(&[]);
    input.write_all(b"first\nlast").expect("it reads");
    drop(input);
    let mut peer = client(&server, 1);
    assert_eq!((heard(&mut peer), heard(&mut peer)), ("first".to_owned(), "last".to_owned()));
    // It goes on to print when its input has ended.
    say(&mut peer, "and on");
    server.wait_for("@1 and on");
}

#[test]
fn once_serves_one_client_and_ends_with_it() {
    let (server, mut input) = Sockeye::listen_with_input(&["--once", "--wait", "100ms"]);
    input.write_all(b"hello\n").expect("it reads");
    drop(input);
    let mut peer = client(&server, 1);
    let mut late = Peer::connect(server.address());
    late.send(request("/").as_bytes(), Chunks::Whole);
    assert_eq!(late.read_head().status(), 503);
    assert_eq!(heard(&mut peer), "hello");
    let close = peer.read_past_pings();
    assert_eq!((close.first, close.close_code()), (CLOSE, Some(1000)));
    peer.send(&masked(CLOSE, &close.payload), Chunks::Whole);
    let _ = server.ended();

    let server = Sockeye::listen(&["--once"]);
    drop(client(&server, 1));
    let _ = server.ended();
}

#[test]
fn connect_and_listen_are_the_two_ends_of_a_pipe() {
    let (server, mut input) = Sockeye::listen_with_input(&["--once"]);
    input.write_all("from the server 🐟\n".as_bytes()).expect("it reads");
    let output = run(&["connect", &server.ws("/")], "from the client 🐟\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from the server 🐟\n");
    let log = server.ended();
    assert!(log.contains("@1 from the client 🐟\n"), "{log}");
}

#[test]
fn json_has_a_line_for_each_message_and_each_client() {
    let (mut listen, address) = start(&["--json"]);
    let _input = listen.stdin();
    let mut lines = BufReader::new(listen.stdout()).lines();
    let mut next = || {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    let mut peer = Peer::open(address, "/room?x=1");
    let opened = next();
    assert_eq!((&opened["client"], &opened["open"]["to"]), (&json!(1), &json!("/room?x=1")));
    say(&mut peer, "a \"quoted\"\nline");
    assert_eq!(next(), json!({"client": 1, "data": "a \"quoted\"\nline"}));
    peer.send(&masked(BINARY, &[0, 255]), Chunks::Whole);
    assert_eq!(next(), json!({"client": 1, "b64": "AP8="}));
    peer.send(&masked(CLOSE, &close_payload(4000, "why")), Chunks::Whole);
    assert_eq!(next(), json!({"client": 1, "close": {"code": 4000, "reason": "why"}}));
}

#[test]
fn binary_sends_bytes_and_other_input_has_to_be_text() {
    let (server, mut input) = Sockeye::listen_with_input(&["--binary"]);
    let mut peer = client(&server, 1);
    input.write_all(b"\xff\xfe\n").expect("it reads");
    let frame = peer.read();
    assert_eq!((frame.first, frame.payload), (BINARY, vec![0xff, 0xfe]));

    let (mut server, mut input) = Sockeye::listen_with_input(&[]);
    let _peer = client(&server, 1);
    input.write_all(b"good\n\xff\n").expect("it reads");
    assert_eq!(server.wait().code(), Some(1));
    server.wait_for("line 2 of the input is not UTF-8: --binary sends bytes");
}

#[test]
fn a_line_that_is_too_long_is_an_error_and_does_not_fill_the_memory() {
    let (mut server, mut input) = Sockeye::listen_with_input(&["--max-message", "1k"]);
    let _peer = client(&server, 1);
    let _ = input.write_all(&[b'x'; 1 << 20]);
    assert_eq!(server.wait().code(), Some(1));
    server.wait_for("a line of more than 1024 bytes: see --max-message");
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_and_the_others_go_on() {
    let (server, mut input) =
        Sockeye::listen_with_input(&["--write-timeout", "200ms", "--deflate", "off"]);
    let _stuck = client(&server, 1);
    let mut peer = client(&server, 2);
    let line = ["x".repeat(256 << 10), "\n".to_owned()].concat();
    let writer = std::thread::spawn(move || {
        for _ in 0..64 {
            input.write_all(line.as_bytes()).expect("it reads");
        }
        input
    });
    for _ in 0..64 {
        assert_eq!(heard(&mut peer).len(), 256 << 10);
    }
    server.wait_for("@1 reads too slowly: cut off");
    let _input = writer.join().expect("everything was read");
}

#[test]
fn an_output_that_is_not_read_stops_the_clients_and_costs_little() {
    let (_listen, address) = start(&["--keepalive", "off"]);
    let peer = Peer::open(address, "/");
    fill(&peer);
}

/// As with `| head -1`, also when nothing more is said.
#[test]
fn a_closed_output_ends_it_without_a_word() {
    for says in [true, false] {
        let (mut listen, address) = start(&[]);
        let input = listen.stdin();
        let mut peer = Peer::open(address, "/");
        if says {
            say(&mut peer, "this is not read");
        }
        drop(listen.stdout());
        assert_eq!(peer.read_past_pings().close_code(), Some(1001));
        drop(peer);
        assert!(listen.finish().status.success());
        drop(input);
    }
}

#[test]
fn pages_of_other_origins_and_other_names_of_this_machine_are_refused() {
    let server = Sockeye::listen(&["--allow-origin", "https://app.example"]);
    let status = |lines: &str| {
        let mut peer = Peer::connect(server.address());
        peer.send(request_with("/", lines).as_bytes(), Chunks::Whole);
        peer.read_head().status()
    };
    assert_eq!(status("Origin: https://evil.example\r\n"), 403);
    assert_eq!(status("Origin: https://app.example\r\n"), 101);
    server.wait_for("was refused with 403 Forbidden: pages of this origin");
    // A page whose own name leads here by now.
    let rebound = request("/").replace("Host: ", "Host: evil.example:9001\r\nX-Was: ");
    let mut peer = Peer::connect(server.address());
    peer.send(rebound.as_bytes(), Chunks::Whole);
    assert_eq!(peer.read_head().status(), 403);
}

#[test]
fn a_token_is_asked_for_if_there_is_one() {
    let server = Sockeye::listen(&["--token", "s3cret"]);
    let refused = run(&["connect", &server.ws("/")], "");
    assert_fails(&refused, 1);
    let output = run(&["connect", "--token", "s3cret", &server.ws("/")], "hello\n");
    assert!(output.status.success(), "{output:?}");
    server.wait_for("@1 hello");
}

#[test]
fn other_machines_are_let_in_by_a_word_alone() {
    let refused = run(&["listen", "--listen", "0.0.0.0:0"], "");
    assert_fails(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--token"), "{refused:?}");
}

#[test]
fn clients_beyond_the_limit_are_refused_until_there_is_room() {
    let server = Sockeye::listen(&["--max-connections", "1"]);
    let peer = client(&server, 1);
    let status = || {
        let mut late = Peer::connect(server.address());
        late.send(request("/").as_bytes(), Chunks::Whole);
        let head = late.read_head();
        (head.status(), head.header("retry-after").is_some())
    };
    assert_eq!(status(), (503, true));
    drop(peer);
    eventually("there is room", || if status().0 == 101 { Ok(()) } else { Err("no") });
}

#[test]
fn over_tls_it_serves_both_versions_of_http() {
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.certificate(), certificates.key());
    let server = Sockeye::listen(&["--tls-cert", &certificate, "--tls-key", &key]);
    let authority = certificates.authority();
    let authority = authority.to_str().expect("a path");
    let output = run(&["connect", "--cacert", authority, &server.ws("/")], "secured\n");
    assert!(output.status.success(), "{output:?}");
    server.wait_for("@1 secured");
    let server = Sockeye::listen(&["--tls-cert", &certificate, "--tls-key", &key, "--exec", "cat"]);
    let only = ["check", "--only", "http2/text", "--only", "http2/slowly", "--cacert", authority];
    let checked = run(&[&only[..], &[&server.ws("/")]].concat(), "");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_silent_client_is_pinged_and_a_large_message_refused() {
    let server = Sockeye::listen(&["--keepalive", "100ms", "--max-message", "1k"]);
    let mut peer = Peer::open(server.address(), "/");
    assert_eq!(peer.read().first, PING);
    peer.send(&masked(TEXT, &[b'x'; 1025]), Chunks::Whole);
    assert_eq!(peer.read_past_pings().close_code(), Some(1009));
}

#[test]
fn ctrl_c_closes_the_clients_with_1001() {
    let server = Sockeye::listen(&[]);
    let mut peer = client(&server, 1);
    server.interrupt();
    let close = peer.read_past_pings();
    assert_eq!((close.first, close.close_code()), (CLOSE, Some(1001)));
    peer.send(&masked(CLOSE, &close.payload), Chunks::Whole);
    let _ = server.ended();
}

#[test]
fn on_a_terminal_a_person_types_and_ctrl_d_ends_it() {
    let mut terminal = Terminal::start(&["listen", "--listen", "127.0.0.1:0"]);
    terminal.wait_for("listening on ws://127.0.0.1:");
    terminal.wait_for("> ");
    let shown = terminal.shown();
    let port = shown.split("127.0.0.1:").nth(1).expect("a port");
    let port: u16 =
        port.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a port");
    terminal.press("q\r");
    terminal.wait_for("no client is connected");
    let mut peer = Peer::open(([127, 0, 0, 1], port).into(), "/");
    terminal.wait_for("@1 connected");
    say(&mut peer, "hello \u{1b}[2J");
    terminal.wait_for(r"@1 hello \u{1b}[2J");
    peer.send(&masked(BINARY, &[1, 2]), Chunks::Whole);
    terminal.wait_for("@1 2 bytes: 0102");
    // As a terminal types what is pasted, and Ctrl-D right behind it.
    terminal.press("one\r@1 two\rthree\r\x04");
    for line in ["one", "two", "three"] {
        assert_eq!(heard(&mut peer), line);
    }
    assert_eq!(peer.read().close_code(), Some(1001));
    peer.send(&masked(CLOSE, &close_payload(1001, "")), Chunks::Whole);
    let (status, shown) = terminal.finish();
    assert!(status.success(), "{shown}");
}

#[test]
fn a_request_that_never_comes_ends_and_garbage_is_refused() {
    let server = Sockeye::listen(&[]);
    let mut peer = Peer::connect(server.address());
    peer.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", Chunks::Whole);
    assert_eq!(peer.read_head().status(), 426);
    let mut peer = Peer::connect(server.address());
    peer.send(b"\x16\x03\x01 garbage\r\n\r\n", Chunks::Whole);
    assert_eq!(peer.read_head().status(), 400);
}
