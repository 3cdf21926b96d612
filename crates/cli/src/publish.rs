//! `sockeye publish`: writes to a channel.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use anyhow::{Context, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sockeye::WebSocket;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    time::sleep,
};

use crate::{
    channel::{
        Channel, ChannelArgs, Failure, Transport,
        backoff::Backoff,
        http::{Http, Question, body},
        websocket,
    },
    output::print_line,
    stop::Stop,
};

/// Write to a channel
///
/// Sends DATA, or all of its input, as one message and prints the position it got. A message that is
/// not acknowledged is sent again, under a key by which the server knows that it is the same, so
/// that it is published once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye publish http://127.0.0.1:8080/c/chat hello
  sockeye publish --json --event move http://127.0.0.1:8080/c/game '{\"x\":1,\"y\":2}'
  tail -f /var/log/syslog | sockeye publish --lines http://127.0.0.1:8080/c/log
  sockeye publish http://127.0.0.1:8080/c/pictures < picture.png")]
pub(crate) struct Publish {
    #[command(flatten)]
    channel: ChannelArgs,

    /// What to publish; all of the input when there is none
    data: Option<String>,

    /// Publish each line of the input as a message
    #[arg(long, conflicts_with = "data")]
    lines: bool,

    /// Publish JSON; without this it is text, or bytes if it is not UTF-8
    #[arg(long)]
    json: bool,

    /// Name the event
    #[arg(long, value_name = "NAME")]
    event: Option<String>,

    /// Publish like this: ws is a WebSocket, all others are HTTP requests
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<Transport>,
}

/// How often a message is sent before it is given up.
const ATTEMPTS: u32 = 6;

const SOCKEYE_EVENT: HeaderName = HeaderName::from_static("sockeye-event");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Publish {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let channel = self.channel.open()?;
            let mut stop = Stop::with_deadline()?;
            tokio::select! {
                result = self.publish(&channel) => result,
                // Lines come until somebody has had enough.
                () = stop.requested() => match self.lines {
                    true => Ok(()),
                    false => bail!("interrupted before the message was acknowledged"),
                },
            }
        });
        // The thread that reads the input may be waiting for a line that nobody wants any more.
        runtime.shutdown_background();
        result
    }

    async fn publish(&self, channel: &Channel) -> anyhow::Result<()> {
        let mut sender = Sender::new(self, channel);
        if let Some(data) = &self.data {
            return sender.send(Bytes::copy_from_slice(data.as_bytes())).await;
        }
        if !self.lines {
            let mut input = Vec::new();
            let read = tokio::io::stdin().read_to_end(&mut input).await;
            read.context("cannot read the input")?;
            return sender.send(input.into()).await;
        }
        let mut input = BufReader::new(tokio::io::stdin()).split(b'\n');
        while let Some(mut data) = input.next_segment().await.context("cannot read the input")? {
            if data.last() == Some(&b'\r') {
                data.pop();
            }
            sender.send(data.into()).await?;
        }
        Ok(())
    }
}

/// What messages are sent over, one after the other.
struct Sender<'p> {
    publish: &'p Publish,
    channel: &'p Channel,
    http: Http<'p>,
    socket: Option<WebSocket>,
    /// Whether something was acknowledged: then what breaks is worth another attempt.
    has_worked: bool,
}

impl<'p> Sender<'p> {
    fn new(publish: &'p Publish, channel: &'p Channel) -> Self {
        Self { publish, channel, http: Http::new(channel), socket: None, has_worked: false }
    }

    /// Publishes until it is acknowledged, and prints the position.
    async fn send(&mut self, data: Bytes) -> anyhow::Result<()> {
        let (key, mut backoff) = (key()?, Backoff::default());
        for attempt in 1.. {
            let sent = match self.publish.transport {
                Some(Transport::Ws) => self.send_by_websocket(&data, &key).await,
                _ => self.send_by_http(&data, &key).await,
            };
            let (error, retry) = match sent {
                Ok(at) => {
                    self.has_worked = true;
                    return Ok(print_line(&at)?);
                }
                Err(Failure::Refused(why)) => bail!(why),
                Err(Failure::Unreachable(error)) if !self.has_worked => return Err(error),
                Err(Failure::Unreachable(error)) => (error, Duration::ZERO),
                Err(Failure::Broken { why, retry }) => (anyhow!(why), retry),
                Err(Failure::Output(error)) => return Err(error.into()),
                Err(Failure::Enough) => return Ok(()),
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            self.socket = None;
            sleep(backoff.delay(false, retry)).await;
        }
        Ok(())
    }

    async fn send_by_http(&mut self, data: &Bytes, key: &str) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Published {
            at: String,
        }
        let kind = match str::from_utf8(data) {
            _ if self.publish.json => "application/json",
            Ok(_) => "text/plain; charset=utf-8",
            Err(_) => "application/octet-stream",
        };
        let mut question = Question::new(Method::POST, Vec::new());
        question.body = data.clone();
        question.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        question.headers.insert(IDEMPOTENCY_KEY, value(key)?);
        if let Some(event) = &self.publish.event {
            question.headers.insert(SOCKEYE_EVENT, value(event)?);
        }
        let answer = body(self.http.ask(&question).await?).await?;
        let Ok(Published { at }) = serde_json::from_slice(&answer) else {
            let why = self.channel.is_none_for("it answers with something else than a position");
            return Err(Failure::Refused(why));
        };
        Ok(at)
    }

    async fn send_by_websocket(&mut self, data: &Bytes, key: &str) -> Result<String, Failure> {
        let command = self.command(data, key)?;
        if self.socket.is_none() {
            let mut socket = self.channel.websocket(&[]).await?;
            // What others say is not asked for.
            socket.send(r#"{"op":"unsub"}"#).await.map_err(Failure::broken)?;
            self.socket = Some(socket);
        }
        match &mut self.socket {
            Some(socket) => websocket::publish(socket, command).await,
            None => Err(Failure::broken("there is no connection")),
        }
    }

    /// The message as a command of `sockeye.v1`.
    fn command(&self, data: &Bytes, key: &str) -> Result<String, Failure> {
        let (data, b64) = match str::from_utf8(data) {
            // It goes in as it is: no number loses its digits.
            Ok(text) if self.publish.json => (Some(serde_json::from_str(text)), None),
            Ok(text) => (Some(to_raw_value(text)), None),
            Err(_) => (None, Some(STANDARD.encode(data))),
        };
        let data: Option<Box<RawValue>> = data
            .transpose()
            .map_err(|wrong| Failure::Refused(format!("this is not JSON: {wrong}")))?;
        let event = self.publish.event.as_deref();
        let command = Command { id: 1, op: "pub", key, event, data, b64 };
        serde_json::to_string(&command).map_err(Failure::broken)
    }
}

/// What publishes a message in `sockeye.v1`.
#[derive(Serialize)]
struct Command<'c> {
    id: u8,
    op: &'static str,
    key: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
}

/// Names one publication, as nobody else names another.
fn key() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(STANDARD.encode(bytes))
}

/// A header's value.
fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::Refused(format!("{text:?} cannot stand in a header")))
}
