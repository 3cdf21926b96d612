//! One channel by a WebSocket of its own, in `sockeye.v1`: reading it, and publishing to it.

use std::time::Duration;

use sockeye::{Closed, Message as Received, WebSocket};

use super::{FeedEvent, Sink};
use crate::{
    Position,
    endpoint::Endpoint,
    failure::{Ended, Failure, Problem},
    frame::{Done, Frame, Hello},
    message::Item,
    websocket::open,
};

/// What is answered to a publication.
#[derive(Debug)]
pub enum Answer {
    /// What the server says of itself first: the most bytes that a message may have.
    Limit(usize),
    /// The publication with this id has this position.
    Published(u64, Position),
    /// That with this id was refused, and may be sent again or not.
    Refused(u64, Problem),
    /// The server is about to stop, and wants to be left alone for this long.
    Bye(Duration),
    /// Something else.
    Other,
}

/// Opens the WebSocket on the channel to publish on it: what others say is not asked for.
///
/// # Errors
///
/// When it is not opened.
pub async fn open_to_publish(endpoint: &Endpoint) -> Result<WebSocket, Failure> {
    let mut socket = open(endpoint, &[], None).await?;
    socket.send(r#"{"op":"unsub"}"#).await.map_err(Failure::broken)?;
    Ok(socket)
}

/// Reads a frame on a connection that publishes.
///
/// # Errors
///
/// When it is not one of `sockeye.v1`, or says that the connection is refused.
pub fn answer(received: &Received) -> Result<Answer, Failure> {
    Ok(match Frame::read(received.as_text())? {
        Frame { id: Some(id), err: Some(refusal), .. } => Answer::Refused(id, refusal.into()),
        Frame { err: Some(refusal), .. } => return Err(refusal.into()),
        Frame { id: Some(id), ok: Some(Done { at: Some(at), .. }), .. } => {
            Answer::Published(id, at)
        }
        Frame { hello: Some(Hello { max_message: Some(limit), .. }), .. } => Answer::Limit(limit),
        Frame { bye: Some(bye), .. } => Answer::Bye(Duration::from_millis(bye.retry_ms)),
        _ => Answer::Other,
    })
}

/// Reads from there on, until something ends it.
///
/// # Errors
///
/// Always: with what ended it.
pub async fn listen(endpoint: &Endpoint, after: &str, sink: &mut impl Sink) -> Ended {
    let mut socket = open(endpoint, &[("after", after)], None).await?;
    let mut retry = Duration::ZERO;
    let mut received = endpoint.in_time(next_frame(&mut socket, retry)).await?;
    loop {
        let frame = Frame::read(received.as_text())?;
        if let Some(bye) = frame.bye {
            retry = Duration::from_millis(bye.retry_ms);
        } else if let Some(refusal) = frame.err {
            return Err(refusal.into());
        } else if let Some(hello) = frame.hello {
            sink.take(FeedEvent::Open)?;
            // A subscription with missed messages to come is not yet at the channel's end.
            if let Some(at) = hello.at.filter(|_| after == "now") {
                sink.take(FeedEvent::At(at))?;
            }
        } else {
            match frame.into_item()? {
                Some(Item::Message(message)) => {
                    sink.next_may_come().await;
                    sink.take(FeedEvent::Message(message))?;
                }
                Some(Item::Gap(gap)) => {
                    sink.next_may_come().await;
                    sink.take(FeedEvent::Gap(gap))?;
                }
                Some(Item::End(end)) => sink.take(FeedEvent::End(end))?,
                // Presence, which is not asked for here.
                Some(_) | None => {}
            }
        }
        received = next_frame(&mut socket, retry).await?;
    }
}

/// Sends a command and gives the position it is answered with.
///
/// # Errors
///
/// When it is refused, or the connection ends.
pub async fn publish(socket: &mut WebSocket, command: String) -> Result<Position, Failure> {
    socket.send(command).await.map_err(Failure::broken)?;
    loop {
        let received = next_frame(socket, Duration::ZERO).await?;
        match Frame::read(received.as_text())? {
            Frame { err: Some(refusal), .. } => return Err(refusal.into()),
            Frame { ok: Some(Done { at: Some(at), .. }), .. } => return Ok(at),
            // Messages of the channel, which are not asked for here.
            _ => {}
        }
    }
}

async fn next_frame(socket: &mut WebSocket, retry: Duration) -> Result<Received, Failure> {
    match socket.recv().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(Failure::later(Problem::new(error), retry)),
        None => Err(ended(socket.closed(), retry)),
    }
}

/// What it means that the connection has ended like this.
pub fn ended(closed: Option<Closed>, retry: Duration) -> Failure {
    match closed {
        Some(closed) if closed.code() == 4401 => Failure::refused(closed),
        Some(closed) => Failure::later(Problem::new(closed), retry),
        None => Failure::later(Problem::new("the connection ended"), retry),
    }
}
