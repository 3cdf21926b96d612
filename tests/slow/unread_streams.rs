//! Streams of HTTP/2 that are not read: what all of one connection cost.

#![expect(clippy::print_stderr, reason = "the figures, for people that measure")]

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use sockeye_testing::PATIENCE;
use sockeye_testing::frame::{TEXT, masked};
use sockeye_testing::http2::{
    self, ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, block, get, websocket,
};
use sockeye_tests::program::Sockeye;

/// As many streams as one connection may have.
const STREAMS: u32 = 200;

/// A client that writes frames itself and gives every stream the same window.
struct Client(TcpStream);

impl Client {
    fn connect(server: &Sockeye, window: u32) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
        let mut client = Self(stream);
        client.0.write_all(http2::PREFACE).expect("the server reads");
        let setting = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
        client.send(SETTINGS, 0, 0, &setting);
        client
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = http2::frame(kind, flags, stream, payload);
        self.0.write_all(&frame).expect("the server reads");
    }

    fn request(&mut self, stream: u32, fields: &[(&str, &str)]) {
        let is_connect = fields[0].1 == "CONNECT";
        let flags = if is_connect { END_HEADERS } else { END_HEADERS | END_STREAM };
        self.send(HEADERS, flags, stream, &block(fields));
    }

    fn next(&mut self) -> http2::Frame {
        http2::Frame::read(&mut self.0).expect("a frame")
    }

    /// Waits until that many streams have got one of these frames.
    fn until(&mut self, kind: u8, mut count: u32) {
        while count > 0 {
            count -= u32::from(self.next().kind == kind);
        }
    }

    /// Waits until the server has read what was sent.
    fn is_heard(&mut self) {
        self.send(PING, 0, 0, b"are you?");
        loop {
            let frame = self.next();
            if frame.kind == PING && frame.flags & ACK != 0 {
                return;
            }
            if frame.kind == PING {
                self.send(PING, ACK, 0, &[0; 8]);
            }
        }
    }
}

/// A message of which a page has room for one, and one that is larger than a page by itself.
const SMALL: usize = 10 << 10;
const LARGE: usize = 60 << 10;

/// A server with 200 messages on each of a few channels, of bytes that take six times as much
/// in JSON.
fn server(payload: usize) -> Sockeye {
    // What readers take was made for them alone.
    let server = Sockeye::serve(&["--max-wire-forms", "64k"]);
    let text = "\u{1}".repeat(payload);
    for channel in 0..4 {
        for _ in 0..200 {
            let url = format!("http://{}/c/c{channel}", server.address());
            let posted = ureq::post(&url).content_type("text/plain").send(&text);
            assert_eq!(posted.expect("it is published").status(), 201);
        }
    }
    server
}

/// What the server takes once it grows no more: nothing else says that it is done.
fn settled(server: &Sockeye) -> u64 {
    let mut before = server.resident_bytes();
    loop {
        sleep(Duration::from_millis(300));
        let now = server.resident_bytes();
        if now.abs_diff(before) < 1 << 20 {
            return now;
        }
        before = now;
    }
}

/// What 200 streams of one connection may cost, none of which is read: what they may hold by default,
/// as much again for the allocator, and 64 KiB for each stream itself.
const MOST: u64 = 2 * ROOM + ((STREAMS as u64) << 16);

/// What they hold together before more is made for one of them (`--max-http2-buffer`).
const ROOM: u64 = 4 << 20;

fn assert_costs_little(what: &str, payload: usize, window: u32, open: impl Fn(&mut Client)) {
    let server = server(payload);
    let before = settled(&server);
    let mut client = Client::connect(&server, window);
    open(&mut client);
    client.is_heard();
    let cost = settled(&server).saturating_sub(before);
    let held = metric(&server, "sockeye_http2_buffered_bytes");
    eprintln!("{what}: {cost} bytes, {} a stream, {held} of answers", cost / u64::from(STREAMS));
    assert!(cost < MOST, "{what}: {cost} bytes");
    // The last that was made may pass it: a poll, or a message that is larger by itself.
    assert!(held <= ROOM + (1 << 20), "{what}: {held} bytes of answers");
}

fn metric(server: &Sockeye, name: &str) -> u64 {
    let metrics = server.shows_operators("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("it is there").parse().expect("a number")
}

/// The number of each stream.
fn streams() -> impl Iterator<Item = u32> {
    (0..STREAMS).map(|number| 1 + 2 * number)
}

#[test]
fn plain_websockets_that_are_not_read_cost_little() {
    assert_costs_little("plain WebSockets", SMALL, 0, |client| {
        for stream in streams() {
            let path = format!("/c/c{}?after=-{}", stream % 4, 100 + stream / 4);
            client.request(stream, &websocket(&path, None));
        }
        client.until(HEADERS, STREAMS);
    });
}

/// Each asks for far more than it reads.
#[test]
fn answers_of_v1_that_are_not_read_cost_little() {
    assert_costs_little("sockeye.v1", SMALL, 0, |client| {
        for stream in streams() {
            client.request(stream, &websocket("/connect", Some("sockeye.v1")));
        }
        client.until(HEADERS, STREAMS);
        for stream in streams() {
            for _ in 0..20 {
                let command =
                    format!(r#"{{"op":"read","ch":"c{}","after":"earliest"}}"#, stream % 4);
                client.send(DATA, 0, stream, &masked(TEXT, command.as_bytes()));
            }
        }
    });
}

#[test]
fn events_that_are_not_read_cost_little() {
    assert_costs_little("Server-Sent Events", SMALL, 100, |client| {
        for stream in streams() {
            let path = format!("/c/c{}?after=-{}&meta=1", stream % 4, 100 + stream / 4);
            client.request(stream, &get(&path, "text/event-stream"));
        }
        client.until(HEADERS, STREAMS);
    });
}

/// Those beyond the first few megabytes wait until these are read.
#[test]
fn polls_that_are_not_read_cost_little() {
    assert_costs_little("polls", SMALL, 0, |client| {
        for stream in streams() {
            let path = format!("/c/c{}?limit=1000&after=-{}", stream % 4, 100 + stream / 4);
            client.request(stream, &get(&path, "application/json"));
        }
        client.until(HEADERS, 4);
    });
}

/// Each holds one message of 360 KiB, which is made for it alone.
#[test]
fn events_larger_than_a_page_that_are_not_read_cost_little() {
    assert_costs_little("large Server-Sent Events", LARGE, 100, |client| {
        for stream in streams() {
            let path = format!("/c/c{}?after=-{}&meta=1", stream % 4, 100 + stream / 4);
            client.request(stream, &get(&path, "text/event-stream"));
        }
        client.until(HEADERS, STREAMS);
    });
}

/// All ways at once, and all of them at the same moment.
#[test]
fn large_messages_that_are_not_read_by_any_way_cost_little() {
    assert_costs_little("all ways", LARGE, 100, |client| {
        for stream in streams() {
            let path = format!("/c/c{}?after=-{}&limit=100", stream % 4, 100 + stream / 4);
            let fields = match stream / 2 % 5 {
                0 => get(&path, "application/json"),
                1 => get(&path, "text/event-stream"),
                2 => get(&path, "application/x-ndjson"),
                3 => websocket(&path, None),
                _ => websocket(&path, Some("sockeye.v1")),
            };
            client.request(stream, &fields);
        }
        // Four of five begin whether there is room or not.
        client.until(HEADERS, STREAMS / 5 * 4);
        for stream in streams().filter(|stream| stream / 2 % 5 == 4) {
            let read = br#"{"op":"read","after":"earliest"}"#;
            client.send(DATA, 0, stream, &masked(TEXT, read));
        }
    });
}
