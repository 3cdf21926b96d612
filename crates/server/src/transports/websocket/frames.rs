//! A run of messages as the frames of a plain WebSocket, made once for all connections with the same
//! compression.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt as _;
use sockeye::{DeflateConfig, Message, Prepared, Text, Writer};
use sockeye_hub::{Entry, Payload, Run};

use crate::transports::encode::{entry_form, prepared, run_form};

/// How a connection compresses shared messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// Not at all.
    Plain,
    /// Each message by itself, so that frames are shared.
    Shortest,
    /// With a context of its own, for this connection alone.
    Own,
}

impl Frames {
    pub(super) fn of(outgoing: &Writer) -> Self {
        match outgoing.deflate() {
            None => Self::Plain,
            Some(agreed) if agreed.takes_prepared_frames() => Self::Shortest,
            Some(_) => Self::Own,
        }
    }

    /// The frames of all messages, one after the other; `None` where the connection makes its own.
    pub(super) fn of_all(self, run: &Run) -> Option<Bytes> {
        match self {
            Self::Plain => Some(run.form(&run_form::FRAMES, |run| together(run, plain))),
            Self::Shortest => {
                Some(run.form(&run_form::SHORTEST_FRAMES, |run| together(run, shortest)))
            }
            Self::Own => None,
        }
    }
}

/// Sends each message with the connection's own compression, and waits until they are written.
pub(super) async fn send_each(run: &Run, outgoing: &mut Writer) -> Result<(), sockeye::Error> {
    for entry in run {
        let message = message(&entry.payload);
        match prepared(entry, &entry_form::FRAME, &message, outgoing) {
            Some(prepared) => outgoing.feed_prepared(&prepared).await?,
            None => outgoing.feed(message).await?,
        }
    }
    outgoing.flush().await
}

/// The frames of all entries, one after the other.
fn together(entries: &[Arc<Entry>], frame: fn(&Entry) -> Bytes) -> Bytes {
    if let [entry] = entries {
        return frame(entry);
    }
    let frames: Vec<Bytes> = entries.iter().map(|entry| frame(entry)).collect();
    let mut together = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    frames.iter().for_each(|frame| together.extend_from_slice(frame));
    together.freeze()
}

fn plain(entry: &Entry) -> Bytes {
    Prepared::new(message(&entry.payload)).plain().clone()
}

/// Compressed, where that is worth it: then the frame is kept with the entry, too.
fn shortest(entry: &Entry) -> Bytes {
    let message = message(&entry.payload);
    if message.len() < DeflateConfig::default().threshold {
        return Prepared::new(message).plain().clone();
    }
    entry.form(&entry_form::FRAME, || Prepared::new(message).shortest().clone())
}

/// A payload as the message that carries it: bytes as binary, everything else as text.
fn message(payload: &Payload) -> Message {
    match payload {
        Payload::Bytes(bytes) => Message::Binary(bytes.clone()),
        Payload::Json(text) | Payload::Text(text) => Message::Text(
            Text::try_from(text.as_bytes().clone()).expect("the hub's texts are UTF-8"),
        ),
    }
}
