//! Streams of curl go on after a crash where they were, with the header that a browser would send.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::Value;
use sockeye_tests::curl::{Stream, curl};
use sockeye_tests::program::Sockeye;

/// How often the server is killed.
const CRASHES: usize = 3;

/// Messages published after each start.
const MESSAGES: usize = 10;

#[test]
fn an_event_stream_misses_nothing_over_crashes() {
    assert_resumes("text/event-stream", "\n\n", |stream| {
        let mut ids = stream.lines().filter_map(|line| line.strip_prefix("id: "));
        let texts = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        (ids.next_back().map(str::to_owned), texts.map(str::to_owned).collect())
    });
}

#[test]
fn json_lines_miss_nothing_over_crashes() {
    assert_resumes("application/x-ndjson", "\"}\n", |stream| {
        let lines = stream.lines().filter(|line| !line.is_empty());
        let messages: Vec<Value> =
            lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let text = |message: &Value| message["data"].as_str().unwrap_or("a gap").to_owned();
        let at = messages.last().and_then(|message| message["at"].as_str().map(str::to_owned));
        (at, messages.iter().map(text).collect())
    });
}

/// The position to go on from that a stream showed last, and the texts it showed.
type Shown = (Option<String>, Vec<String>);

/// Reads a stream over crashes, whose messages have `end` behind their text, with `read` to make
/// something of what it shows. Half of what is published comes while the stream is open, half while
/// it is not.
fn assert_resumes(accept: &str, end: &str, read: impl Fn(&str) -> Shown) {
    let folder = tempfile::tempdir().expect("a folder for the channels");
    let (address, accept) = (free_address(), format!("Accept: {accept}"));
    let (mut published, mut heard) = (Vec::new(), Vec::new());
    let mut last_id = "earliest".to_owned();
    for _ in 0..=CRASHES {
        let mut server = serve(address, folder.path());
        let url = server.http("/c/numbers");
        publish(&url, &mut published);
        let last_event_id = format!("Last-Event-ID: {last_id}");
        let mut stream = Stream::open(&["-H", &accept, "-H", &last_event_id, &url]);
        publish(&url, &mut published);
        stream.until(&format!("{}{end}", published[published.len() - 1]));
        server.assert_sound();
        // Killed, not stopped.
        drop(server);
        let (at, texts) = read(stream.rest());
        heard.extend(texts);
        last_id = at.expect("the stream shows where it is");
    }
    assert_eq!(heard, published);
}

/// Publishes some texts more.
fn publish(url: &str, published: &mut Vec<String>) {
    for _ in 0..MESSAGES {
        let text = format!("message {}", published.len());
        let _ = curl(&["-d", &text, url]);
        published.push(text);
    }
}

/// The server on this address, with its channels in this folder.
fn serve(address: SocketAddr, folder: &Path) -> Sockeye {
    let folder = folder.to_str().expect("a path that is text");
    Sockeye::serve_at(address, &["--data", folder])
}

/// A free address.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}
