//! MQTT 3.1.1 over a WebSocket (its §6), with messages of quality of service 0.

use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::{Buf, BufMut as _, BytesMut};

use super::protocol::{Hear, Protocol, Publisher};
use super::websocket::WebSocket;

/// The subprotocol.
pub(super) const NAME: &str = "mqtt";

/// The types of control packets (MQTT 3.1.1 §2.2.1), with the flags that each must have.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

pub(super) struct Mqtt {
    socket: WebSocket,
    topic: String,
    /// The client's name, until it is connected.
    client: String,
    subscribes: bool,
    /// What has come of a packet: frames may end anywhere (§6).
    stream: BytesMut,
    has_begun: bool,
    is_ready: bool,
}

impl Mqtt {
    /// A subscriber of a topic, or a client that only publishes to it. No two clients have one name.
    pub(super) fn new(socket: WebSocket, client: String, topic: &str, subscribes: bool) -> Self {
        let (topic, stream) = (topic.to_owned(), BytesMut::new());
        Self { socket, topic, client, subscribes, stream, has_begun: false, is_ready: false }
    }

    /// §3.1: version 4, a clean session, no keepalive.
    fn connect(&mut self) -> anyhow::Result<()> {
        let mut body = BytesMut::new();
        put_text(&mut body, "MQTT")?;
        body.put_slice(&[4, 0x02, 0, 0]);
        put_text(&mut body, &self.client)?;
        self.send(CONNECT, &body)
    }

    /// §3.8.
    fn subscribe(&mut self) -> anyhow::Result<()> {
        let mut body = BytesMut::from(&[0, 1][..]);
        put_text(&mut body, &self.topic)?;
        body.put_u8(0);
        self.send(SUBSCRIBE, &body)
    }

    fn take_packet(&mut self, kind: u8, body: &[u8], hear: Hear<'_>) -> anyhow::Result<()> {
        match kind & 0xF0 {
            PUBLISH => hear(payload(body).context("a message has no topic")?),
            CONNACK => match body {
                [_, 0] if self.subscribes => self.subscribe(),
                [_, 0] => {
                    self.is_ready = true;
                    Ok(())
                }
                _ => bail!("the server refuses the connection with {body:?} (MQTT 3.1.1 §3.2)"),
            },
            SUBACK => {
                if body.last().is_none_or(|&code| code > 2) {
                    bail!("the server refuses the subscription to {}", self.topic);
                }
                self.is_ready = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> anyhow::Result<()> {
        let mut packet = BytesMut::with_capacity(body.len() + 5);
        packet.put_u8(kind);
        let mut length = body.len();
        while length > 0x7F {
            packet.put_u8((length & 0x7F) as u8 | 0x80);
            length >>= 7;
        }
        packet.put_u8(length as u8);
        packet.put_slice(body);
        self.socket.send(packet.freeze())
    }
}

impl Protocol for Mqtt {
    fn take(&mut self, input: &mut BytesMut, now: Instant, hear: Hear<'_>) -> anyhow::Result<()> {
        loop {
            let message = self.socket.next(input, now)?;
            if self.socket.is_open() && !self.has_begun {
                self.has_begun = true;
                self.connect()?;
            }
            let Some(message) = message else { return Ok(()) };
            self.stream.extend_from_slice(message.as_bytes());
            while let Some((head, length)) = fixed_header(&self.stream)? {
                if self.stream.len() < head + length {
                    break;
                }
                let packet = self.stream.split_to(head + length);
                self.take_packet(packet[0], &packet[head..], hear)?;
            }
        }
    }

    fn outgoing(&mut self) -> &mut dyn Buf {
        self.socket.outgoing()
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }
}

impl Publisher for Mqtt {
    fn queue_message(&mut self, message: String) -> anyhow::Result<()> {
        let mut body = BytesMut::with_capacity(2 + self.topic.len() + message.len());
        put_text(&mut body, &self.topic)?;
        body.put_slice(message.as_bytes());
        self.send(PUBLISH, &body)
    }
}

/// How long a packet's fixed header is, and how much follows it (§2.2), once it is there.
fn fixed_header(stream: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (index, &byte) in stream.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((index + 2, length)));
        }
    }
    if stream.len() > 4 {
        bail!("the server sends a packet without a length");
    }
    Ok(None)
}

/// What follows the topic in a message of quality of service 0 (§3.3).
fn payload(body: &[u8]) -> Option<&[u8]> {
    let (length, rest) = body.split_first_chunk()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

/// A text with its length (§1.5.3).
fn put_text(body: &mut BytesMut, text: &str) -> anyhow::Result<()> {
    let length = u16::try_from(text.len()).context("a name of MQTT has at most 65535 bytes")?;
    body.put_u16(length);
    body.put_slice(text.as_bytes());
    Ok(())
}
