//! A WebSocket of the program, read by a thread of its own that answers pings.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_testing::PATIENCE;
use sockeye_testing::frame::{CLOSE, Frame, PING, PONG, TEXT, masked};
use sockeye_testing::handshake::request_with;

use crate::peer::{Chunks, Peer};
use crate::program::Sockeye;

/// A WebSocket, closed when dropped.
#[derive(Debug)]
pub struct WebSocket {
    sender: TcpStream,
    /// Payloads; `close`, the code and the reason for a Close. It ends with the connection.
    texts: Receiver<String>,
}

impl WebSocket {
    /// Opens one without a subprotocol.
    #[must_use]
    pub fn open(node: &Sockeye, path: &str) -> Self {
        Self::open_with(node, path, "")
    }

    /// Opens one that speaks `sockeye.v1`.
    #[must_use]
    pub fn open_v1(node: &Sockeye, path: &str) -> Self {
        Self::open_with(node, path, "Sec-WebSocket-Protocol: sockeye.v1\r\n")
    }

    /// Opens one with these lines in its handshake, each of which ends with `\r\n`.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[must_use]
    pub fn open_with(node: &Sockeye, path: &str, lines: &str) -> Self {
        let mut peer = Peer::connect(node.address());
        peer.send(request_with(path, lines).as_bytes(), Chunks::Whole);
        let head = peer.read_head();
        assert_eq!(head.status(), 101, "{head:?}");
        let sender = peer.stream().try_clone().expect("a second handle");
        // However long it is silent.
        peer.stream().set_read_timeout(None).expect("a TCP option");
        let (pass_on, texts) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(frame) = peer.try_read() {
                if frame.first == PING {
                    peer.send(&masked(PONG, &frame.payload), Chunks::Whole);
                } else if pass_on.send(text(&frame)).is_err() {
                    return;
                }
            }
        });
        Self { sender, texts }
    }

    /// Sends a text message.
    ///
    /// # Panics
    ///
    /// When the connection has ended.
    pub fn send(&mut self, text: &str) {
        self.sender.write_all(&masked(TEXT, text.as_bytes())).expect("the node reads");
    }

    /// The next payload with this in it. Neither a gap nor a Close may come before it.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn until(&self, wanted: &str) -> String {
        self.until_within(PATIENCE, wanted)
    }

    /// The same for what takes its time.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn until_within(&self, time: Duration, wanted: &str) -> String {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let text = self.texts.recv_timeout(left);
            let text = text.unwrap_or_else(|why| panic!("{why}: no {wanted}"));
            if text.contains(wanted) {
                return text;
            }
            assert!(
                !text.contains("\"gap\"") && !text.starts_with("close "),
                "{text} before {wanted}"
            );
        }
    }

    /// It is open, and nothing has come.
    ///
    /// # Panics
    ///
    /// When that is not so.
    pub fn assert_open(&self) {
        let next = self.texts.recv_timeout(Duration::ZERO);
        assert_eq!(next, Err(RecvTimeoutError::Timeout), "it is to be open and silent");
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        // Its thread ends.
        let _ = self.sender.shutdown(Shutdown::Both);
    }
}

fn text(frame: &Frame) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match frame.payload.first_chunk() {
        Some(code) if frame.first == CLOSE => {
            format!("close {} {}", u16::from_be_bytes(*code), lossy(&frame.payload[2..]))
        }
        None if frame.first == CLOSE => "close 1005".to_owned(),
        _ => lossy(&frame.payload),
    }
}
