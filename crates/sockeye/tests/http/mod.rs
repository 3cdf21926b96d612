//! HTTP by hand: requests of any kind, and what came back; and the handshakes that every server of
//! ours refuses alike.

#![allow(dead_code, reason = "each test uses its part")]

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// A handshake in order (RFC 6455 §1.3).
pub(crate) const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// What makes a handshake one to be refused: its name, a part of it with what stands there instead,
/// and the answer.
pub(crate) const REFUSED: &[(&str, &str, &str, u16)] = &[
    ("a post", "GET /", "POST /", 405),
    ("no upgrade", "Upgrade: websocket\r\n", "", 426),
    ("no connection", "Connection: Upgrade\r\n", "", 400),
    ("no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
    ("a short key", "dGhlIHNhbXBsZSBub25jZQ==", "AAAA", 400),
    ("no version", "Sec-WebSocket-Version: 13\r\n", "", 400),
    ("a subprotocol twice", "\r\n\r\n", "\r\nSec-WebSocket-Protocol: a, a\r\n\r\n", 400),
    ("another version", "Version: 13", "Version: 8", 426),
    ("a malformed extension", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: a;;\r\n\r\n", 400),
    ("two keys", "\r\n\r\n", "\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", 400),
    ("a foreign page", "\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n", 403),
    ("an opaque page", "\r\n\r\n", "\r\nOrigin: null\r\n\r\n", 403),
];

/// An answer: its status, its header lines without the `Date`, and its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let mut headers: Vec<_> = lines.map(header).filter(|(name, _)| name != "date").collect();
        headers.sort();
        Self { status: status.parse().unwrap(), headers, body: body.to_owned() }
    }
}

/// Sends this on a connection of its own, and gives all that comes back until its end.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange_on(&mut stream, request).await
}

pub(crate) async fn exchange_on(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
) -> Answer {
    stream.write_all(text.as_bytes()).await.unwrap();
    read_answer(stream).await
}

/// The answer on a connection that ends with it.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    Answer::parse(&answer)
}

/// Sends this, and gives the head that comes back.
pub(crate) async fn read_head(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
) -> Answer {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    Answer::parse(std::str::from_utf8(&head).unwrap())
}

/// What every server answers to the handshakes of the table, each with a second request behind it:
/// once, with the reason in a line of text, and then the connection ends.
pub(crate) async fn assert_refuses_all(address: SocketAddr) {
    for (rule, part, instead, status) in REFUSED {
        let refused = HANDSHAKE.replacen(part, instead, 1);
        assert_ne!(refused, HANDSHAKE, "{rule}");
        let answer = exchange(address, &format!("{refused}{HANDSHAKE}")).await;
        assert_eq!(answer.status, *status, "{rule}: {answer:?}");
        let connection = answer.header("connection").unwrap_or_default().to_ascii_lowercase();
        assert!(connection.contains("close"), "{rule}: {answer:?}");
        assert_eq!(answer.body.lines().count(), 1, "{rule}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{rule}");
        let upgrade = (*status == 426).then_some("websocket");
        assert_eq!(answer.header("upgrade"), upgrade, "{rule}: RFC 9110 §15.5.22");
        if *status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{rule}: RFC 6455 §4.4");
        }
        let allow = (*status == 405).then_some("GET");
        assert_eq!(answer.header("allow"), allow, "{rule}: RFC 9110 §15.5.6");
    }
}
