//! How subscribers listen and publishers publish: what is spoken on a connection, by its name.

use std::sync::Arc;

use anyhow::Context as _;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sockeye_proto::Config;
use sockeye_server::Transport;

use super::Fanout;
use super::events::Events;
use super::lines::Lines;
use super::load_client::{Buffer, LoadClient};
use super::mqtt::{self, Mqtt};
use super::nats::Nats;
use super::polls::Polls;
use super::posts::Posts;
use super::protocol::{Protocol, Publisher};
use super::v1::{self, V1};
use super::websocket::{Plain, WebSocket};
use crate::bench::target::Target;
use crate::channel::transport;

/// How long the server may hold back its answer to a long poll, in seconds.
const WAIT: u32 = 25;

/// How messages come to the subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FanoutTransport {
    /// As a channel has them.
    Channel(Transport),
    /// NATS over a WebSocket.
    Nats,
    /// MQTT 3.1.1 over a WebSocket.
    Mqtt,
}

impl FanoutTransport {
    /// Reads the word for one.
    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        let others = [
            PossibleValue::new("nats").help("NATS over a WebSocket"),
            PossibleValue::new("mqtt").help("MQTT 3.1.1 over a WebSocket"),
        ];
        let values = Transport::ALL.into_iter().map(transport::value).chain(others);
        PossibleValuesParser::new(values).try_map(|word| match &*word {
            "nats" => Ok(Self::Nats),
            "mqtt" => Ok(Self::Mqtt),
            word => word.parse().map(Self::Channel),
        })
    }

    /// As it stands in the title.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Channel(transport) => transport.title(),
            Self::Nats => "NATS",
            Self::Mqtt => "MQTT",
        }
    }

    /// The subprotocol that it needs.
    fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Channel(Transport::V1) => Some(v1::NAME),
            Self::Mqtt => Some(mqtt::NAME),
            Self::Channel(_) | Self::Nats => None,
        }
    }
}

impl Fanout {
    /// Subscriber number `number`, and all that is published from now on comes to it.
    pub(super) async fn subscriber(
        &self,
        number: usize,
        buffer: &Buffer,
    ) -> anyhow::Result<LoadClient<dyn Protocol>> {
        let target = &self.common.target;
        let opening = async {
            let stream = target.stream(number).await?;
            LoadClient::open(stream, self.listens(number)?, buffer).await
        };
        let opened: anyhow::Result<_> = opening.await;
        opened.with_context(|| format!("cannot listen at {}", target.url()))
    }

    /// Publisher number `number`, with its number.
    pub(super) async fn publisher(
        &self,
        number: usize,
        buffer: &Buffer,
    ) -> anyhow::Result<(LoadClient<dyn Publisher>, usize)> {
        let target = match &self.publish_to {
            Some(url) => &self.common.target.at(url),
            None => &self.common.target,
        };
        let opening = async {
            let stream = target.stream(self.subscribers + number).await?;
            let client = LoadClient::open(stream, self.publishes(target, number)?, buffer).await?;
            Ok((client, number))
        };
        let opened: anyhow::Result<_> = opening.await;
        opened.with_context(|| format!("cannot publish to {}", target.url()))
    }

    fn listens(&self, number: usize) -> anyhow::Result<Box<dyn Protocol>> {
        let target = &self.common.target;
        Ok(match self.transport {
            FanoutTransport::Channel(transport) => match transport {
                Transport::Ws => Box::new(Plain(socket(target, None)?)),
                Transport::V1 => Box::new(self.v1()?),
                Transport::Sse => Box::new(Events::new(&target.resource()?)),
                Transport::Ndjson => Box::new(Lines::new(&target.resource()?)),
                Transport::LongPoll => Box::new(Polls::new(target.resource()?, Some(WAIT))),
                Transport::Poll => Box::new(Polls::new(target.resource()?, None)),
            },
            FanoutTransport::Nats => Box::new(self.nats(true)?),
            FanoutTransport::Mqtt => Box::new(self.mqtt(number, true)?),
        })
    }

    fn publishes(&self, target: &Target, number: usize) -> anyhow::Result<Box<dyn Publisher>> {
        let by_url = self.publish_to.as_deref().map(|url| url.starts_with("http"));
        Ok(match (by_url, self.transport) {
            (Some(false), _) | (None, FanoutTransport::Channel(Transport::Ws)) => {
                Box::new(Plain(socket(target, None)?))
            }
            (None, FanoutTransport::Channel(Transport::V1)) => Box::new(self.v1()?),
            (Some(true), _) | (None, FanoutTransport::Channel(_)) => {
                Box::new(Posts::new(target.resource()?))
            }
            (None, FanoutTransport::Nats) => Box::new(self.nats(false)?),
            (None, FanoutTransport::Mqtt) => Box::new(self.mqtt(self.subscribers + number, false)?),
        })
    }

    fn v1(&self) -> anyhow::Result<V1> {
        let target = &self.common.target;
        let channel = target.url().contains("/connect").then(|| self.channel.clone());
        Ok(V1::new(socket(target, self.transport.subprotocol())?, channel))
    }

    fn nats(&self, subscribes: bool) -> anyhow::Result<Nats> {
        let socket = socket(&self.common.target, None)?;
        Ok(Nats::new(socket, &self.channel, subscribes))
    }

    fn mqtt(&self, number: usize, subscribes: bool) -> anyhow::Result<Mqtt> {
        let socket = socket(&self.common.target, self.transport.subprotocol())?;
        let client = format!("sockeye-bench-{}-{number}", std::process::id());
        Ok(Mqtt::new(socket, client, &self.channel, subscribes))
    }
}

/// A WebSocket to be opened there, with a subprotocol that it needs, if it does.
fn socket(target: &Target, subprotocol: Option<&'static str>) -> anyhow::Result<WebSocket> {
    // The load is ours: the server's size limits are what counts, not this side's.
    let config = Config::default().max_message_size(1 << 30).keepalive(None);
    WebSocket::new(target.handshake()?, subprotocol, Arc::new(config))
}
