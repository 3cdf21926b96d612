//! `sockeye tap`: what passes on a channel or a connection, as an operator reads it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::ChildStdout;

use serde_json::Value;
use sockeye_testing::eventually;
use sockeye_tests::curl::curl;
use sockeye_tests::program::{Running, Sockeye, assert_fails, run};

/// A tap under way, and its lines.
struct Tap {
    program: Running,
    lines: BufReader<ChildStdout>,
}

impl Tap {
    /// With these arguments; the first line has come when this returns.
    fn start(server: &Sockeye, args: &[&str]) -> (Self, String) {
        let operators = server.operators();
        let mut program = Running::start(&[&["tap", &operators], args].concat());
        let lines = BufReader::new(program.stdout());
        let mut tap = Self { program, lines };
        let first = tap.line();
        (tap, first)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints");
        line.trim_end().to_owned()
    }

    /// Its end, which is a success.
    fn end(self) {
        let output = self.program.finish();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    }
}

/// The id of the one connection.
fn connection(server: &Sockeye) -> String {
    eventually("a connection", || {
        let listed: Value =
            serde_json::from_str(&server.shows_operators("/connections")).expect("JSON");
        listed["connections"][0]["id"].as_u64().map(|id| id.to_string()).ok_or(listed)
    })
}

#[test]
fn a_channel_is_shown_in_words_until_the_server_ends() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat?as=ann");
    let (mut tap, first) = Tap::start(&server, &["chat"]);
    assert!(first.starts_with("channel chat at ") && first.ends_with(", readers: none"), "{first}");
    let at: Value = serde_json::from_str(&curl(&["-d", "two\nlines", &url])).expect("JSON");
    let at = at["at"].as_str().expect("a position");
    assert_eq!(tap.line(), format!("message {at} by http ann 127.0.0.1 9 B: two\\nlines"));
    server.interrupt();
    assert_eq!(tap.line(), "end drain");
    tap.end();
}

#[test]
fn a_connection_is_shown_in_words_until_it_ends() {
    let server = Sockeye::serve(&[]);
    let mut client = Running::start(&["connect", &server.ws("/c/chat?as=ann")]);
    let id = connection(&server);
    let (mut tap, first) = Tap::start(&server, &["--connection", &id]);
    assert_eq!(first, format!("connection {id} ws ann 127.0.0.1 chat"));
    let mut input = client.stdin();
    writeln!(input, "hello").expect("it reads");
    assert_eq!(tap.line(), "< text 5 B: hello");
    let message = tap.line();
    assert!(
        message.starts_with("> message chat ") && message.ends_with(" 5 B: hello"),
        "{message}"
    );
    drop(input);
    assert_eq!(tap.line(), "unsubscribed chat left");
    assert_eq!(tap.line(), "close from the client: 1000");
    assert_eq!(tap.line(), "end left");
    tap.end();
    client.assert_succeeds();
}

#[test]
fn json_is_what_the_server_says_up_to_the_count() {
    let server = Sockeye::serve(&[]);
    let (mut tap, first) = Tap::start(&server, &["--json", "-n", "2", "--data", "2", "chat"]);
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(first["tap"]["channel"], "chat");
    for text in ["one", "two"] {
        let _ = curl(&["-d", text, &server.http("/c/chat")]);
        let line: Value = serde_json::from_str(&tap.line()).expect("JSON");
        assert_eq!(line["message"]["start"], text[..2]);
    }
    tap.end();
}

#[test]
fn ctrl_c_is_a_clean_end() {
    let server = Sockeye::serve(&[]);
    let (mut tap, _) = Tap::start(&server, &["chat"]);
    tap.program.interrupt();
    tap.end();
}

#[test]
fn what_cannot_be_shown_is_one_line_that_says_why() {
    let server = Sockeye::serve(&[]);
    let operators = server.operators();
    let unknown = run(&["tap", &operators, "--connection", "99"], "");
    assert_fails(&unknown, 1);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("/connections lists those that are open"), "{said}");
    // The address for clients has none.
    let clients = run(&["tap", &server.http(""), "chat"], "");
    assert_fails(&clients, 1);
    let said = String::from_utf8_lossy(&clients.stderr).into_owned();
    assert!(said.contains("the address of serve --admin"), "{said}");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it");
    assert_fails(&run(&["tap", &format!("http://{free}"), "chat"], ""), 1);
}

#[test]
fn a_server_that_dies_is_a_failure() {
    let mut server = Sockeye::serve(&[]);
    let (tap, _) = Tap::start(&server, &["chat"]);
    server.kill();
    let output = tap.program.finish();
    assert_fails(&output, 1);
}
