//! A hand-made peer on a plain TCP connection, in either role: it sends the bytes it is told to,
//! right or wrong, and reads what comes back.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::PATIENCE;
use crate::frame::{self, Frame, PING, PONG, TEXT};

/// The key of the example handshake in RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer that [`KEY`] earns, from the same example.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How bytes are handed to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All in one write.
    Whole,
    /// One write for each byte.
    ByteByByte,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: BufReader<TcpStream>,
}

/// The head of an HTTP request or response.
#[derive(Clone, Debug)]
pub struct Head {
    /// The request line or the status line.
    pub first_line: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Peer {
    /// Connects, and sends nothing yet.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("the server accepts connections"))
    }

    /// Accepts the next connection, and reads nothing yet.
    #[must_use]
    pub fn accept(listener: &TcpListener) -> Self {
        Self::new(listener.accept().expect("a client connects").0)
    }

    /// Accepts the next connection and the WebSocket that it asks for.
    #[must_use]
    pub fn accept_open(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener);
        let request = peer.read_head();
        let accept = accept_for(request.header("sec-websocket-key").expect("a key"));
        peer.send(response(&accept).as_bytes(), Pace::Whole);
        peer
    }

    /// Connects and opens a WebSocket on `path`.
    #[must_use]
    pub fn open(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::connect(address);
        peer.send(request(path).as_bytes(), Pace::Whole);
        let head = peer.read_head();
        assert_eq!(head.status(), 101, "{head:?}");
        peer
    }

    /// Works on a connection that stands already. Reads and writes give up after [`PATIENCE`].
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a TCP option");
        Self { stream: BufReader::new(stream) }
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends the bytes, or as many of them as the other side takes before it ends the connection.
    pub fn send(&mut self, bytes: &[u8], pace: Pace) {
        let stream = self.stream.get_mut();
        // A peer that refuses what it was sent may close before it has read all of it.
        let _ = match pace {
            Pace::Whole => stream.write_all(bytes),
            Pace::ByteByByte => bytes.iter().try_for_each(|byte| stream.write_all(&[*byte])),
        };
    }

    /// Reads the head of a request or a response.
    pub fn read_head(&mut self) -> Head {
        let mut lines = (&mut self.stream).lines().map(|line| line.expect("a head"));
        let first_line = lines.next().expect("an answer, not the end of the connection");
        let lines = lines.take_while(|line| !line.is_empty());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Head { first_line, headers: headers.collect() }
    }

    /// Reads lines up to one with this text in it.
    pub fn read_to(&mut self, text: &str) {
        let mut lines = (&mut self.stream).lines().map(|line| line.expect("a line"));
        assert!(lines.any(|line| line.contains(text)), "the end came before {text:?}");
    }

    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// Those of the connection: its end is `UnexpectedEof`.
    pub fn try_read(&mut self) -> io::Result<Frame> {
        Frame::read(&mut self.stream)
    }

    /// Reads a frame that has to come.
    pub fn read(&mut self) -> Frame {
        self.try_read().expect("a frame")
    }

    /// Reads a frame that has to come, and answers the pings that come before it.
    pub fn read_past_pings(&mut self) -> Frame {
        let mut frame = self.read();
        while frame.first == PING {
            self.send(&frame::masked(PONG, &frame.payload), Pace::Whole);
            frame = self.read();
        }
        frame
    }

    /// Sends a text message and reads it back. Answers the pings that came before it.
    pub fn echo(&mut self, text: &str) {
        self.send(&frame::masked(TEXT, text.as_bytes()), Pace::Whole);
        let frame = self.read_past_pings();
        assert_eq!((frame.first, frame.payload), (TEXT, text.as_bytes().to_vec()));
    }

    /// Waits for the other side to end the connection, and gives what it sent before that.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest,
            // It ended while bytes of ours were still unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }

    /// The other side ends the connection, and sends nothing before that.
    pub fn assert_end(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "more came: {rest:02x?}");
    }
}

impl Head {
    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", self.first_line))
    }

    /// The value of a header that stands once, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.0 == name);
        let value = values.next().map(|header| header.1.as_str());
        assert!(values.next().is_none(), "{name} stands twice in {self:?}");
        value
    }
}

/// A correct handshake request for `path`.
#[must_use]
pub fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The response that opens a WebSocket.
#[must_use]
pub fn response(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The `Sec-WebSocket-Accept` that a key earns (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_for(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest.finalize())
}
