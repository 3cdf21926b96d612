//! Reading and writing a channel by WebSocket, in `sockeye.v1`.

use std::time::Duration;

use serde::Deserialize;
use sockeye::{Closed, Config, ConnectError, Message as Received, ResponseError, WebSocket};
use sockeye_proto::handshake::MalformedHead;

use super::{
    Channel, Ended, Failure,
    feed::{FeedEvent, Sink},
    http::nonsense,
    message::{End, Gap, Message, maybe_position},
};
use crate::errors::explain;

const SUBPROTOCOL: &str = "sockeye.v1";

/// What a frame may be besides a message.
#[derive(Debug, Deserialize)]
struct Frame {
    id: Option<u64>,
    hello: Option<Hello>,
    gap: Option<Gap>,
    bye: Option<Bye>,
    err: Option<Refusal>,
    ok: Option<Published>,
    at: Option<String>,
    #[serde(default)]
    end: bool,
}

#[derive(Debug, Deserialize)]
struct Hello {
    /// The most bytes that a message may have.
    max_message: Option<usize>,
    #[serde(default, deserialize_with = "maybe_position")]
    at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Bye {
    retry_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    code: String,
    message: String,
    retry: bool,
}

#[derive(Debug, Deserialize)]
struct Published {
    #[serde(default, deserialize_with = "maybe_position")]
    at: Option<String>,
}

impl Channel {
    /// Opens the WebSocket on the channel.
    pub(crate) async fn websocket(
        &self,
        parameters: &[(&str, &str)],
    ) -> Result<WebSocket, Failure> {
        let client = self.client(parameters).map_err(Failure::Unreachable)?;
        let config = Config::default().max_message_size(self.max_message);
        let opening = client.subprotocol(SUBPROTOCOL).config(config).connect();
        let socket = opening.await.map_err(|error| match error {
            ConnectError::Response(ResponseError::Status(response)) => {
                let why = explain::refusal(&response);
                match explain::is_final(response.status()) {
                    true => Failure::Refused(why),
                    false => Failure::broken(why),
                }
            }
            ConnectError::Response(ResponseError::Head(MalformedHead::Tls)) => {
                Failure::Unreachable(explain::connect_error(error, &self.route))
            }
            ConnectError::Response(_) => Failure::Refused(error.to_string()),
            // Another kind of request may get through where a WebSocket does not.
            ConnectError::Timeout(_) => Failure::broken(error),
            ConnectError::Io(_) => Failure::broken(explain::connect_error(error, &self.route)),
            error => Failure::Unreachable(explain::connect_error(error, &self.route)),
        })?;
        match socket.subprotocol() {
            Some(SUBPROTOCOL) => Ok(socket),
            _ => Err(Failure::Refused(self.is_none_for("the server does not speak sockeye.v1"))),
        }
    }
}

/// What is answered to a publication.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the server says of itself first: the most bytes that a message may have.
    Limit(usize),
    /// The publication with this id has this position.
    Published(u64, String),
    /// That with this id was refused, and may be sent again or not.
    Refused { id: u64, why: String, retry: bool },
    /// The server is about to stop, and wants to be left alone for this long.
    Bye(Duration),
    /// Something else.
    Other,
}

impl Channel {
    /// Opens the WebSocket on the channel to publish on it: what others say is not asked for.
    pub(crate) async fn publishing_websocket(&self) -> Result<WebSocket, Failure> {
        let mut socket = self.websocket(&[]).await?;
        socket.send(r#"{"op":"unsub"}"#).await.map_err(Failure::broken)?;
        Ok(socket)
    }
}

/// Reads a frame on a connection that publishes.
pub(crate) fn answer(received: &Received) -> Result<Answer, Failure> {
    let frame: Frame = serde_json::from_str(text(received)?).map_err(nonsense)?;
    Ok(match frame {
        Frame { id: Some(id), err: Some(Refusal { code, message, retry }), .. } => {
            Answer::Refused { id, why: format!("{code}: {message}"), retry }
        }
        Frame { err: Some(err), .. } => return Err(err.into()),
        Frame { id: Some(id), ok: Some(Published { at: Some(at) }), .. } => {
            Answer::Published(id, at)
        }
        Frame { hello: Some(Hello { max_message: Some(limit), .. }), .. } => Answer::Limit(limit),
        Frame { bye: Some(bye), .. } => Answer::Bye(Duration::from_millis(bye.retry_ms)),
        _ => Answer::Other,
    })
}

/// Reads from there on, until something ends it.
pub(crate) async fn listen(channel: &Channel, after: &str, sink: &mut impl Sink) -> Ended {
    let mut socket = channel.websocket(&[("after", after)]).await?;
    let mut retry = Duration::ZERO;
    let mut received = channel.in_time(next_frame(&mut socket, retry)).await?;
    loop {
        let text = text(&received)?;
        let frame: Frame = serde_json::from_str(text).map_err(nonsense)?;
        if let Some(bye) = frame.bye {
            retry = Duration::from_millis(bye.retry_ms);
        } else if let Some(gap) = frame.gap {
            sink.take(FeedEvent::Gap(gap))?;
        } else if let Some(err) = frame.err {
            return Err(err.into());
        } else if let (Some(at), true) = (&frame.at, frame.end) {
            sink.take(FeedEvent::End(End::new(at.clone())))?;
        } else if frame.at.is_some() {
            let message: Message = serde_json::from_str(text).map_err(nonsense)?;
            sink.next_may_come().await;
            sink.take(FeedEvent::Message(message))?;
        } else if let Some(hello) = frame.hello {
            sink.take(FeedEvent::Open)?;
            // A subscription with missed messages to come is not yet at the channel's end.
            if let Some(at) = hello.at.filter(|_| after == "now") {
                sink.take(FeedEvent::At(at))?;
            }
        }
        received = next_frame(&mut socket, retry).await?;
    }
}

/// Sends a command and gives the position it is answered with.
pub(crate) async fn send_publication(
    socket: &mut WebSocket,
    command: String,
) -> Result<String, Failure> {
    socket.send(command).await.map_err(Failure::broken)?;
    loop {
        let received = next_frame(socket, Duration::ZERO).await?;
        let frame: Frame = serde_json::from_str(text(&received)?).map_err(nonsense)?;
        match frame {
            Frame { err: Some(err), .. } => return Err(err.into()),
            Frame { ok: Some(Published { at: Some(at) }), .. } => return Ok(at),
            // Messages of the channel, which are not asked for here.
            _ => {}
        }
    }
}

impl From<Refusal> for Failure {
    fn from(Refusal { code, message, retry }: Refusal) -> Self {
        let why = format!("{code}: {message}");
        match retry {
            true => Self::broken(why),
            false => Self::Refused(why),
        }
    }
}

fn text(message: &Received) -> Result<&str, Failure> {
    message.as_text().ok_or_else(|| Failure::broken("sockeye.v1 has no binary frames"))
}

async fn next_frame(socket: &mut WebSocket, retry: Duration) -> Result<Received, Failure> {
    match socket.recv().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(Failure::Broken { why: error.to_string(), retry }),
        None => Err(ended(socket.closed(), retry)),
    }
}

/// What it means that the connection has ended like this.
pub(crate) fn ended(closed: Option<Closed>, retry: Duration) -> Failure {
    match closed {
        Some(closed) if closed.code() == 4401 => Failure::Refused(closed.to_string()),
        Some(closed) => Failure::Broken { why: closed.to_string(), retry },
        None => Failure::Broken { why: "the connection ended".to_owned(), retry },
    }
}
