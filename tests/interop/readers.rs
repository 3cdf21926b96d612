//! Event streams in readers that nobody here wrote. Many take each empty line for the end of a
//! message: they are shown none where there is no message.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sockeye_tests::PATIENCE;
use sockeye_tests::curl::curl;
use sockeye_tests::program::Sockeye;
use sockeye_tests::script::{Language, Script};
use sockeye_tests::tls::Certificates;

/// A stream of the test's own, which shows that heartbeats were sent.
struct Heartbeats(BufReader<TcpStream>);

impl Heartbeats {
    fn of(server: &Sockeye, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the server reads");
        Self(BufReader::new(stream))
    }

    fn await_some(&mut self) {
        let mut count = 0;
        while count < 5 {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("the stream goes on");
            count += usize::from(line == ":\n");
        }
    }
}

fn wait_for_listeners(server: &Sockeye, count: u64) {
    let begun = Instant::now();
    let listening = || {
        let presence: Value =
            serde_json::from_str(&curl(&[&server.http("/c/chat/presence")])).expect("JSON");
        presence["count"].as_u64()
    };
    while listening() != Some(count) {
        assert!(begun.elapsed() < PATIENCE, "the reader does not listen");
        sleep(Duration::from_millis(10));
    }
}

/// From a silent stream, with heartbeats before, between and after, comes what was published and
/// nothing else.
fn sees_messages_alone(language: Language, name: &str) {
    let server = Sockeye::serve(&["--heartbeat", "20ms"]);
    let (chat, url) = (server.http("/c/chat"), server.http("/c/chat?after=now"));
    let mut heartbeats = Heartbeats::of(&server, "/c/chat");
    wait_for_listeners(&server, 1);
    let certificates = Certificates::new();
    let mut reader = Script::start(language, "readers", &[name, &url], &certificates);
    wait_for_listeners(&server, 2);
    for number in 1..=3 {
        heartbeats.await_some();
        let published: Value =
            serde_json::from_str(&curl(&["--json", &json!({"number": number}).to_string(), &chat]))
                .expect("JSON");
        let told = reader.report().expect("the message comes");
        assert_eq!(told, json!({"message": {"number": number}, "id": published["at"]}), "{name}");
    }
}

#[test]
fn fetch_event_source_sees_messages_alone() {
    sees_messages_alone(Language::Node, "fetch-event-source");
}

#[test]
fn eventsource_sees_messages_alone() {
    sees_messages_alone(Language::Node, "eventsource");
}

#[test]
fn eventsource_parser_sees_messages_alone() {
    sees_messages_alone(Language::Node, "eventsource-parser");
}

#[test]
fn httpx_sse_sees_messages_alone() {
    sees_messages_alone(Language::Python, "httpx-sse");
}

#[test]
fn sseclient_py_sees_messages_alone() {
    sees_messages_alone(Language::Python, "sseclient-py");
}

#[test]
fn requests_sse_sees_messages_alone() {
    sees_messages_alone(Language::Python, "requests-sse");
}
