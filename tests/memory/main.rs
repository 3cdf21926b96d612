//! Readers of history, by every transport at once: the memory of the server stays below the formula that
//! `docs/operate/operations.md` states, and no reader keeps a publisher out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use sockeye_testing::{PATIENCE, eventually};
use sockeye_tests::program::Sockeye;

const MIB: u64 = 1 << 20;

/// What each of two channels keeps.
const HISTORY: u64 = 10 * MIB;

/// The server's bound for wire forms in this test.
const FORMS: u64 = 4 * MIB;

/// How many clients read each channel with each request.
const CLIENTS: u64 = 2;

/// The last message of a channel: short, so that it goes uncompressed, too.
const END: &str = "that-is-all";

/// How history is read: the request, with `CHANNEL` for its path. All but polls begin at its beginning.
const REQUESTS: [&str; 7] = [
    "GET CHANNEL?limit=1000&after= HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET CHANNEL?after=earliest HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    "GET CHANNEL?after=earliest&meta=1 HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    "GET CHANNEL?after=earliest HTTP/1.0\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n",
    "GET CHANNEL?after=earliest HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Protocol: sockeye.v1\r\n\r\n",
    "GET CHANNEL?after=earliest HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Protocol: sockeye.v1\r\nSec-WebSocket-Extensions: permessage-deflate; \
     client_no_context_takeover; server_no_context_takeover\r\n\r\n",
    "GET CHANNEL?after=earliest HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
     server_no_context_takeover\r\n\r\n",
];

/// What `docs/operate/operations.md` says that a server takes at most: for itself, for histories, for wire forms
/// and for connections, each of which may hold one answer of a poll.
fn formula(history: u64, forms: u64, connections: u64) -> u64 {
    32 * MIB + history * 3 / 2 + forms + connections * 3 / 2 * MIB
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("an option of the socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
    BufReader::with_capacity(64 << 10, stream)
}

/// The status and the body of the next answer, which has a length.
fn answer(stream: &mut BufReader<TcpStream>) -> (String, Vec<u8>) {
    let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
    stream.read_line(&mut status).expect("an answer");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).expect("a header");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (status, body)
}

/// Publishes, and gives the status.
fn post(stream: &mut BufReader<TcpStream>, path: &str, body: &str) -> String {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.get_mut().write_all(format!("{head}{body}").as_bytes()).expect("the server reads");
    answer(stream).0
}

/// Fills a channel with a text of the character that is as long as a message may be.
fn fill(address: SocketAddr, path: &str, character: &str) {
    let mut stream = connect(address);
    let text = character.repeat(60 << 10);
    for _ in 0..HISTORY / (60 << 10) {
        assert!(post(&mut stream, path, &text).starts_with("HTTP/1.1 201 "));
    }
    assert!(post(&mut stream, path, END).starts_with("HTTP/1.1 201 "));
}

/// Reads a channel to its end in one of the ways.
fn read(address: SocketAddr, path: &str, request: &str) {
    let request = request.replace("CHANNEL", path);
    let mut stream = connect(address);
    if !request.contains("&after= ") {
        stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
        return read_to_the_end(&mut stream);
    }
    let mut after = "earliest".to_owned();
    loop {
        let request = request.replace("after=", &format!("after={after}"));
        stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
        let (status, body) = answer(&mut stream);
        assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
        let body = String::from_utf8(body).expect("JSON is UTF-8");
        if body.contains(END) {
            return;
        }
        after = body.split('"').nth(3).expect("a position").to_owned();
    }
}

/// Takes what comes until the last message is in it.
fn read_to_the_end(stream: &mut BufReader<TcpStream>) {
    let mut tail = Vec::new();
    loop {
        let new = stream.fill_buf().expect("the server goes on");
        assert!(!new.is_empty(), "the server has ended it");
        tail.extend_from_slice(new);
        let length = new.len();
        stream.consume(length);
        if tail.windows(END.len()).any(|window| window == END.as_bytes()) {
            return;
        }
        tail.drain(..tail.len().saturating_sub(END.len()));
    }
}

/// A metric's value.
fn metric(server: &Sockeye, name: &str) -> u64 {
    let metrics = server.shows_operators("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).expect("the metric is there")
}

#[test]
fn readers_of_history_take_no_more_memory_than_is_said_and_refuse_no_publication() {
    let server = Sockeye::serve(&[
        "--history-count=100000",
        "--history-bytes=16M",
        &format!("--max-wire-forms={FORMS}"),
    ]);
    let address = server.address();
    for (path, character) in [("/c/plain", "x"), ("/c/escapes", "\u{7}")] {
        fill(address, path, character);
    }
    let (filled, mut peak) = (server.resident_bytes(), 0);
    let readers: Vec<_> = ["/c/plain", "/c/escapes"]
        .into_iter()
        .flat_map(|path| REQUESTS.into_iter().map(move |request| (path, request)))
        .flat_map(|reader| (0..CLIENTS).map(move |_| reader))
        .map(|(path, request)| thread::spawn(move || read(address, path, request)))
        .collect();
    let connections = readers.len() as u64;
    let mut publisher = connect(address);
    while readers.iter().any(|reader| !reader.is_finished()) {
        peak = peak.max(server.resident_bytes());
        let status = post(&mut publisher, "/c/meanwhile", "hello");
        assert!(status.starts_with("HTTP/1.1 201 "), "{status}");
        // How often the memory is looked at.
        thread::sleep(Duration::from_millis(20));
    }
    for reader in readers {
        reader.join().expect("it has read everything");
    }
    let allowed = formula(2 * HISTORY, FORMS, connections);
    let mib = |bytes| bytes / MIB;
    eprintln!("{} MiB filled, {} at most, {} allowed", mib(filled), mib(peak), mib(allowed));
    assert!(peak <= allowed, "{} MiB of {}", mib(peak), mib(allowed));

    // All readers have left: nothing stays of what was made for them.
    eventually("no wire forms are held", || match metric(&server, "sockeye_wire_forms_bytes") {
        0 => Ok(()),
        held => Err(held),
    });
    let left = server.resident_bytes();
    assert!(left <= formula(2 * HISTORY, FORMS, connections), "{} MiB stay", mib(left));
    for path in ["/c/new", "/c/plain", "/c/escapes"] {
        let status = post(&mut publisher, path, "hello");
        assert!(status.starts_with("HTTP/1.1 201 "), "{status}");
    }
}
