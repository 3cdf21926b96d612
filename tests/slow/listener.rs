//! A subscriber of a channel that reads only when asked to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use sockeye_testing::PATIENCE;
use sockeye_testing::frame::{BINARY, TEXT};
use sockeye_testing::handshake::request;
use sockeye_tests::peer::{Chunks, Peer};

/// By which transport it listens.
pub(crate) enum Listener {
    WebSocket(Peer),
    V1(Peer),
    Events(BufReader<TcpStream>),
}

/// What it is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The message with this number.
    Message(u64),
    /// Messages are missing: all after the number `after`, up to `next`.
    Gap { after: u64, next: u64 },
    /// Nothing more comes; the close code, if it was a WebSocket.
    End(Option<u16>),
}

impl Listener {
    pub(crate) fn websocket(address: SocketAddr, path: &str) -> Self {
        Self::WebSocket(Peer::open(address, path))
    }

    pub(crate) fn v1(address: SocketAddr, path: &str) -> Self {
        let mut peer = Peer::connect(address);
        let protocol = "Sec-WebSocket-Protocol: sockeye.v1\r\n\r\n";
        let head = request(path).replacen("\r\n\r\n", &format!("\r\n{protocol}"), 1);
        peer.send(head.as_bytes(), Chunks::Whole);
        assert_eq!(peer.read_head().status(), 101);
        assert!(peer.read().payload.starts_with(b"{\"hello\""));
        Self::V1(peer)
    }

    pub(crate) fn events(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
        // Of version 1.0, so that the answer is not in chunks.
        let head =
            format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the server reads");
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while !line.starts_with("id:") {
            line.clear();
            assert_ne!(stream.read_line(&mut line).expect("the stream begins"), 0);
        }
        Self::Events(stream)
    }

    /// What it is told next.
    pub(crate) fn next(&mut self) -> Told {
        match self {
            Self::WebSocket(peer) => loop {
                let frame = peer.read();
                match frame.close_code() {
                    Some(code) => return Told::End(Some(code)),
                    None if matches!(frame.first, TEXT | BINARY) => {
                        return Told::Message(number(&frame.payload));
                    }
                    None => {}
                }
            },
            Self::V1(peer) => loop {
                let frame = peer.read();
                let text = String::from_utf8_lossy(&frame.payload);
                match (frame.close_code(), text.split_once("\"data\":\"")) {
                    (Some(code), _) => return Told::End(Some(code)),
                    (None, Some((_, data))) => return Told::Message(number(data.as_bytes())),
                    (None, None) if text.contains("\"gap\"") => return gap(&text),
                    // The subscription has ended.
                    (None, None) if text.contains("\"err\"") => return Told::End(None),
                    (None, None) => {}
                }
            },
            Self::Events(stream) => {
                let mut line = String::new();
                while stream.read_line(&mut line).expect("the stream goes on") > 0 {
                    match line.strip_prefix("data: ") {
                        Some(data) if data.starts_with('{') => return gap(data),
                        Some(data) => return Told::Message(number(data.as_bytes())),
                        None => {}
                    }
                    line.clear();
                }
                Told::End(None)
            }
        }
    }
}

/// A gap in JSON. Of a channel with one publisher the offsets are the numbers of the messages.
fn gap(json: &str) -> Told {
    let json = &json[json.find("{\"after\"").expect("a gap")..];
    let offset = |name: &str| {
        let (_, position) = json.split_once(&format!("\"{name}\":\"")).expect("a member");
        let (position, _) = position.split_once('"').expect("its end");
        let (_, offset) = position.split_once('.').expect("a position");
        offset.parse().expect("an offset")
    };
    Told::Gap { after: offset("after"), next: offset("next") }
}

/// The number that a message begins with.
fn number(message: &[u8]) -> u64 {
    let digits = message.get(..8).and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).expect("a message begins with its number")
}
