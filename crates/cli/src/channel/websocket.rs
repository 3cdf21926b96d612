//! Reading and writing a channel by WebSocket, in `sockeye.v1`.

use std::time::Duration;

use serde::Deserialize;
use sockeye::{Config, ConnectError, ResponseError, WebSocket};
use sockeye_proto::handshake::MalformedHead;

use super::{
    Channel, Ended, Failure,
    feed::{News, Sink},
    http::nonsense,
    message::{Gap, Message},
};
use crate::explain;

const SUBPROTOCOL: &str = "sockeye.v1";

/// The largest frame that is taken: a message, or an answer.
const MAX_FRAME: usize = 256 << 20;

/// What a frame may be besides a message.
#[derive(Debug, Deserialize)]
struct Frame {
    hello: Option<Hello>,
    gap: Option<Gap>,
    bye: Option<Bye>,
    err: Option<Refusal>,
    ok: Option<Published>,
    at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Hello {
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
    at: Option<String>,
}

impl Channel {
    /// Opens the WebSocket on the channel.
    pub(crate) async fn websocket(
        &self,
        parameters: &[(&str, &str)],
    ) -> Result<WebSocket, Failure> {
        let client = self.client(parameters).map_err(Failure::Unreachable)?;
        let config = Config::default().max_message_size(MAX_FRAME);
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
                Failure::Unreachable(explain::connect_error(error, &self.way))
            }
            ConnectError::Response(_) => Failure::Refused(error.to_string()),
            // Another kind of request may get through where a WebSocket does not.
            ConnectError::Timeout(_) => Failure::broken(error),
            ConnectError::Io(_) => Failure::broken(explain::connect_error(error, &self.way)),
            error => Failure::Unreachable(explain::connect_error(error, &self.way)),
        })?;
        match socket.subprotocol() {
            Some(SUBPROTOCOL) => Ok(socket),
            _ => Err(Failure::Refused(self.is_none_for("the server does not speak sockeye.v1"))),
        }
    }
}

/// Reads from there on, until something ends it.
pub(crate) async fn listen(channel: &Channel, after: &str, sink: &mut impl Sink) -> Ended {
    let mut socket = channel.websocket(&[("after", after)]).await?;
    let mut retry = Duration::ZERO;
    loop {
        let text = next_frame(&mut socket, retry).await?;
        let frame: Frame = serde_json::from_str(&text).map_err(nonsense)?;
        if let Some(bye) = frame.bye {
            retry = Duration::from_millis(bye.retry_ms);
        } else if let Some(gap) = frame.gap {
            sink.take(News::Gap(gap))?;
        } else if let Some(err) = frame.err {
            return Err(err.into());
        } else if frame.at.is_some() {
            let message: Message = serde_json::from_str(&text).map_err(nonsense)?;
            sink.take(News::Message(message))?;
        } else if let Some(hello) = frame.hello {
            sink.take(News::Open)?;
            // One who is still to be given what he missed is not yet where the channel is.
            if let Some(at) = hello.at.filter(|_| after == "now") {
                sink.take(News::At(at))?;
            }
        }
    }
}

/// Sends a command and gives the position it is answered with.
pub(crate) async fn publish(socket: &mut WebSocket, command: String) -> Result<String, Failure> {
    socket.send(command).await.map_err(Failure::broken)?;
    loop {
        let text = next_frame(socket, Duration::ZERO).await?;
        let frame: Frame = serde_json::from_str(&text).map_err(nonsense)?;
        match frame {
            Frame { err: Some(err), .. } => return Err(err.into()),
            Frame { ok: Some(Published { at: Some(at) }), .. } => return Ok(at),
            // Messages of the channel, which nobody asked for here.
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

async fn next_frame(socket: &mut WebSocket, retry: Duration) -> Result<String, Failure> {
    match socket.recv().await {
        Some(Ok(message)) => match message.as_text() {
            Some(text) => Ok(text.to_owned()),
            None => Err(Failure::broken("sockeye.v1 has no binary frames")),
        },
        Some(Err(error)) => Err(Failure::Broken { why: error.to_string(), retry }),
        None => match socket.closed() {
            Some(closed) if closed.code() == 4401 => Err(Failure::Refused(closed.to_string())),
            Some(closed) => Err(Failure::Broken { why: closed.to_string(), retry }),
            None => Err(Failure::Broken { why: "the connection ended".to_owned(), retry }),
        },
    }
}
