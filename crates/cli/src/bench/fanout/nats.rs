//! The protocol of NATS clients, over a WebSocket: lines of text, and payloads of a told length.

use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::{Buf, Bytes, BytesMut};

use super::protocol::{Hear, Protocol, Publisher};
use super::websocket::WebSocket;

/// The longest line that is taken.
const MAX_LINE: usize = 64 * 1024;

pub(super) struct Nats {
    socket: WebSocket,
    subject: String,
    subscribes: bool,
    /// What has come of a line or of a message: frames may end anywhere.
    stream: BytesMut,
    /// The payload that is coming, with the line's end after it.
    payload: Option<usize>,
    is_ready: bool,
}

impl Nats {
    /// A subscriber of a subject, or a client that only publishes to it.
    pub(super) fn new(socket: WebSocket, subject: &str, subscribes: bool) -> Self {
        let (subject, stream) = (subject.to_owned(), BytesMut::new());
        Self { socket, subject, subscribes, stream, payload: None, is_ready: false }
    }

    fn take_line(&mut self, line: &str) -> anyhow::Result<()> {
        let verb = line.split_ascii_whitespace().next().unwrap_or_default();
        match verb.to_ascii_uppercase().as_str() {
            // The answer to the ping says that what came before it was done.
            "INFO" if !self.is_ready => {
                let subscribe = match self.subscribes {
                    true => format!("SUB {} 1\r\n", self.subject),
                    false => String::new(),
                };
                let connect = r#"{"verbose":false,"pedantic":false,"echo":false,"lang":"sockeye","version":"1"}"#;
                self.send(format!("CONNECT {connect}\r\n{subscribe}PING\r\n"))
            }
            "PONG" => {
                self.is_ready = true;
                Ok(())
            }
            "PING" => self.send("PONG\r\n".to_owned()),
            "MSG" => {
                let length = line.rsplit(' ').next().and_then(|digits| digits.parse().ok());
                let length: usize = length.context("a message has no length")?;
                self.payload = Some(length.saturating_add(2));
                Ok(())
            }
            "-ERR" => bail!("the server says {line}"),
            _ => Ok(()),
        }
    }

    fn send(&mut self, lines: String) -> anyhow::Result<()> {
        self.socket.send(Bytes::from(lines))
    }
}

impl Protocol for Nats {
    fn take(&mut self, input: &mut BytesMut, now: Instant, hear: Hear<'_>) -> anyhow::Result<()> {
        while let Some(message) = self.socket.next(input, now)? {
            self.stream.extend_from_slice(message.as_bytes());
            loop {
                if let Some(length) = self.payload {
                    let Some(payload) = self.stream.get(..length) else { break };
                    hear(&payload[..length - 2])?;
                    self.stream.advance(length);
                    self.payload = None;
                }
                let Some(end) = self.stream.iter().position(|&byte| byte == b'\n') else {
                    if self.stream.len() > MAX_LINE {
                        bail!("the server sends a line of more than {MAX_LINE} bytes");
                    }
                    break;
                };
                let line = self.stream.split_to(end + 1);
                self.take_line(str::from_utf8(&line)?.trim_end())?;
            }
        }
        Ok(())
    }

    fn outgoing(&mut self) -> &mut dyn Buf {
        self.socket.outgoing()
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }
}

impl Publisher for Nats {
    fn queue_message(&mut self, message: String) -> anyhow::Result<()> {
        self.send(format!("PUB {} {}\r\n{message}\r\n", self.subject, message.len()))
    }
}
