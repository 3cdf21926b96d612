//! A hand-made peer on a plain TCP connection, in either role: it sends the bytes it is told to,
//! right or wrong, and reads what comes back.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use sockeye_testing::PATIENCE;
use sockeye_testing::frame::{self, Frame, PING, PONG, TEXT};
use sockeye_testing::handshake::{Head, accept_for, request, response};

/// How bytes are handed to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
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
        peer.send(response(&accept).as_bytes(), Chunks::Whole);
        peer
    }

    /// Connects and opens a WebSocket on `path`.
    #[must_use]
    pub fn open(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::connect(address);
        peer.send(request(path).as_bytes(), Chunks::Whole);
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
    pub fn send(&mut self, bytes: &[u8], pace: Chunks) {
        let stream = self.stream.get_mut();
        // A peer that refuses what it was sent may close before it has read all of it.
        let _ = match pace {
            Chunks::Whole => stream.write_all(bytes),
            Chunks::ByteByByte => bytes.iter().try_for_each(|byte| stream.write_all(&[*byte])),
        };
    }

    /// Reads the head of a request or a response.
    pub fn read_head(&mut self) -> Head {
        Head::read(&mut self.stream).expect("an answer, not the end of the connection")
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
            self.send(&frame::masked(PONG, &frame.payload), Chunks::Whole);
            frame = self.read();
        }
        frame
    }

    /// Sends a text message and reads it back. Answers the pings that came before it.
    pub fn echo(&mut self, text: &str) {
        self.send(&frame::masked(TEXT, text.as_bytes()), Chunks::Whole);
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
