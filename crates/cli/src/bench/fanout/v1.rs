//! `sockeye.v1`: a JSON object in each frame, of which the beginning of the data is read.

use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::{Buf, BytesMut};
use serde_json::json;

use super::protocol::{Hear, Protocol, Publisher, after};
use super::websocket::WebSocket;

/// The subprotocol.
pub(super) const NAME: &str = "sockeye.v1";

pub(super) struct V1 {
    socket: WebSocket,
    /// The channel, where the URL does not name it.
    channel: Option<String>,
    is_ready: bool,
}

impl V1 {
    /// On a WebSocket that offers [`NAME`]; with a channel to subscribe to where its URL names none.
    pub(super) fn new(socket: WebSocket, channel: Option<String>) -> Self {
        Self { socket, channel, is_ready: false }
    }

    /// Takes what is not a message: hello, answers, gaps.
    fn take_news(&mut self, text: &str) -> anyhow::Result<()> {
        if text.starts_with("{\"hello\"") {
            match &self.channel {
                Some(channel) => {
                    let subscribe = json!({"id": 0, "op": "sub", "ch": channel});
                    self.socket.send(subscribe.to_string())?;
                }
                None => self.is_ready = true,
            }
        } else if text.contains("\"err\":") || text.starts_with("{\"bye\"") {
            bail!("the server says {text}");
        } else if text.starts_with("{\"id\":0,\"ok\"") {
            self.is_ready = true;
        }
        // What falls into a gap has not been delivered, and that is told.
        Ok(())
    }
}

impl Protocol for V1 {
    fn take(&mut self, input: &mut BytesMut, now: Instant, hear: Hear<'_>) -> anyhow::Result<()> {
        while let Some(message) = self.socket.next(input, now)? {
            let text = message.as_text().context("sockeye.v1 has text only")?;
            match after(text.as_bytes(), b",\"data\":\"") {
                Some(data) => hear(data.split(|&byte| byte == b'"').next().unwrap_or_default())?,
                None => self.take_news(text)?,
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

impl Publisher for V1 {
    fn queue_message(&mut self, message: String) -> anyhow::Result<()> {
        let mut command = json!({"id": 1, "op": "pub", "data": message});
        if let Some(channel) = &self.channel {
            command["ch"] = json!(channel);
        }
        self.socket.send(command.to_string())
    }
}
