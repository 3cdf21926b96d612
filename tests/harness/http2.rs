//! A hand-made client of HTTP/2 without TLS: it sends the frames that it is told to, and reads what comes.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use sockeye_testing::PATIENCE;
use sockeye_testing::http2::{
    self, ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, RST_STREAM, SETTINGS, block,
};

/// A connection. It gives each stream the same window, and never more.
#[derive(Debug)]
pub struct Http2(TcpStream);

impl Http2 {
    /// Connects; each stream may send that many bytes.
    #[must_use]
    pub fn connect(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
        let mut client = Self(stream);
        client.0.write_all(http2::PREFACE).expect("the server reads");
        let setting = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
        client.send(SETTINGS, 0, 0, &setting);
        client
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = http2::frame(kind, flags, stream, payload);
        self.0.write_all(&frame).expect("the server reads");
    }

    /// Asks for this path.
    pub fn get(&mut self, stream: u32, path: &str) {
        let fields =
            [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "localhost")];
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields));
    }

    /// Asks for a WebSocket on this path.
    pub fn websocket(&mut self, stream: u32, path: &str) {
        let fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("sec-websocket-version", "13"),
        ];
        self.send(HEADERS, END_HEADERS, stream, &block(&fields));
    }

    /// Sends a frame of the WebSocket on this stream.
    pub fn say(&mut self, stream: u32, frame: &[u8]) {
        self.send(DATA, 0, stream, frame);
    }

    /// Resets a stream.
    pub fn reset(&mut self, stream: u32) {
        const CANCEL: u32 = 8;
        self.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    /// The next frame of a stream. Settings and Pings are answered meanwhile.
    ///
    /// # Panics
    ///
    /// When the connection ends.
    pub fn next_frame(&mut self) -> Frame {
        loop {
            let frame = Frame::read(&mut self.0).expect("a frame");
            if frame.stream != 0 {
                return frame;
            }
            if matches!(frame.kind, PING | SETTINGS) && frame.flags & ACK == 0 {
                let payload: &[u8] = if frame.kind == PING { &frame.payload } else { &[] };
                self.send(frame.kind, ACK, 0, payload);
            }
        }
    }

    /// Waits for the head of an answer on this stream, and gives whether its status is 200.
    pub fn is_ok(&mut self, stream: u32) -> bool {
        loop {
            let frame = self.next_frame();
            if frame.kind == HEADERS && frame.stream == stream {
                // `:status: 200` of the static table, behind what may change the size of the other table (RFC 7541
                // §6.1, §6.3 and appendix A).
                return frame.payload.iter().find(|byte| **byte >> 5 != 1) == Some(&0x88);
            }
        }
    }
}
