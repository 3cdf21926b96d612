//! Publishing messages one after the other.

use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use serde::Deserialize;
use sockeye::WebSocket;
use sockeye_client::{
    Position,
    internals::{Http, MAX_ANSWER, v1},
};
use sockeye_server::Transport;
use tokio::time::sleep;

use super::{
    ATTEMPTS,
    message::{Keys, Kind},
};
use crate::channel::{Channel, Failure, backoff::Backoff};

/// What messages are sent over, one after the other.
pub(crate) struct Sender<'c> {
    channel: &'c Channel,
    kind: Kind,
    transport: Option<Transport>,
    keys: Keys,
    http: Http,
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
        let (http, keys) = (Http::default(), Keys::new()?);
        Ok(Self { channel, kind, transport, keys, http, socket: None, has_worked: false })
    }

    /// Publishes until it is acknowledged, and gives the position.
    pub(crate) async fn send(&mut self, data: Bytes) -> Result<Position, Failure> {
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

    async fn send_by_http(&mut self, data: &Bytes, key: &str) -> Result<Position, Failure> {
        #[derive(Deserialize)]
        struct Published {
            at: Position,
        }
        let (channel, question) = (self.channel, self.kind.question(data, key)?);
        let endpoint = channel.endpoint();
        let answer = self.http.ask_whole(endpoint, &question, MAX_ANSWER).await;
        let answer = answer.map_err(|failure| channel.failure(failure))?;
        let Ok(Published { at }) = serde_json::from_slice(answer.body()) else {
            let why = endpoint.is_none_for("it answers with something else than a position");
            return Err(Failure::Refused(why));
        };
        Ok(at)
    }

    async fn send_by_websocket(&mut self, data: &Bytes, key: &str) -> Result<Position, Failure> {
        let command = self.kind.command(1, data, key)?;
        let told = |failure| self.channel.failure(failure);
        if self.socket.is_none() {
            let opened = v1::open_to_publish(self.channel.endpoint()).await;
            self.socket = Some(opened.map_err(told)?);
        }
        match &mut self.socket {
            Some(socket) => {
                let publishing = async { v1::publish(socket, command).await.map_err(told) };
                self.channel.in_time(publishing).await
            }
            None => Err(Failure::broken("there is no connection")),
        }
    }
}
