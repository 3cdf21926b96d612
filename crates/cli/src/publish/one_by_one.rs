//! Publishing messages one after the other.

use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use serde::Deserialize;
use sockeye::WebSocket;
use sockeye_server::Transport;
use tokio::time::sleep;

use super::{
    ATTEMPTS,
    message::{Keys, Kind},
};
use crate::channel::{
    Channel, Failure,
    backoff::Backoff,
    http::{Http, MAX_ANSWER},
    websocket,
};

/// What messages are sent over, one after the other.
pub(crate) struct Sender<'c> {
    channel: &'c Channel,
    kind: Kind,
    transport: Option<Transport>,
    keys: Keys,
    http: Http<'c>,
    socket: Option<WebSocket>,
    /// Whether something was acknowledged: then what breaks is worth another attempt.
    has_worked: bool,
}

impl<'c> Sender<'c> {
    pub(crate) fn new(
        channel: &'c Channel,
        kind: Kind,
        transport: Option<Transport>,
    ) -> anyhow::Result<Self> {
        let (http, keys) = (Http::new(channel), Keys::new()?);
        Ok(Self { channel, kind, transport, keys, http, socket: None, has_worked: false })
    }

    /// Publishes until it is acknowledged, and gives the position.
    pub(crate) async fn send(&mut self, data: Bytes) -> Result<String, Failure> {
        let (key, mut backoff) = (self.keys.next(), Backoff::default());
        let mut attempt = 1;
        loop {
            let sent = match self.transport {
                Some(Transport::V1) => self.send_by_websocket(&data, &key).await,
                _ => self.send_by_http(&data, &key).await,
            };
            let (error, retry) = match sent {
                Ok(at) => {
                    self.has_worked = true;
                    return Ok(at);
                }
                Err(Failure::Unreachable(error)) if self.has_worked => (error, Duration::ZERO),
                Err(Failure::Broken { why, retry }) => (anyhow!(why), retry),
                Err(failure) => return Err(failure),
            };
            if attempt == ATTEMPTS {
                return Err(Failure::Unreachable(error));
            }
            attempt += 1;
            self.socket = None;
            sleep(backoff.delay(false, retry)).await;
        }
    }

    async fn send_by_http(&mut self, data: &Bytes, key: &str) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Published {
            at: String,
        }
        let answer = self.http.ask_whole(&self.kind.question(data, key)?, MAX_ANSWER).await?;
        let Ok(Published { at }) = serde_json::from_slice(&answer) else {
            let why = self.channel.is_none_for("it answers with something else than a position");
            return Err(Failure::Refused(why));
        };
        Ok(at)
    }

    async fn send_by_websocket(&mut self, data: &Bytes, key: &str) -> Result<String, Failure> {
        let command = self.kind.command(1, data, key)?;
        if self.socket.is_none() {
            self.socket = Some(self.channel.publishing_websocket().await?);
        }
        match &mut self.socket {
            Some(socket) => {
                self.channel.in_time(websocket::send_publication(socket, command)).await
            }
            None => Err(Failure::broken("there is no connection")),
        }
    }
}
