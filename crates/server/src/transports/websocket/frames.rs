//! A run of messages as the frames of a plain WebSocket, made once for all connections with the same
//! compression.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt as _;
use sockeye::{DeflateConfig, Message, Prepared, Text, Writer};
use sockeye_hub::{Budget, ChannelName, Entry, EntryForm, Page, Payload, Run, RunForm};

use crate::fanout::Wire;
use crate::transport::Transport;
use crate::transports::encode::{entry_form, prepared, run_form};

/// What one connection takes from the log at once: all that a client which does not read can keep in
/// memory beyond the log's own time.
pub(super) const AT_ONCE: Budget = Budget::entries(64).bytes(64 << 10);

/// How a connection compresses shared messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// Not at all.
    Plain,
    /// Each message by itself, so that frames are shared.
    Shortest,
    /// With a context of its own, for this connection alone.
    Own,
}

impl Frames {
    pub(crate) fn of(outgoing: &Writer) -> Self {
        match outgoing.deflate() {
            None => Self::Plain,
            Some(agreed) if agreed.takes_prepared_frames() => Self::Shortest,
            Some(_) => Self::Own,
        }
    }

    /// How all connections with this compression write a run; `None` where each makes its own frames.
    pub(super) fn wire(self) -> Option<&'static Wire> {
        static PLAIN: Wire = wire(Transport::Ws, &run_form::FRAMES, |_, run| together(run, plain));
        static SHORTEST: Wire =
            wire(Transport::Ws, &run_form::SHORTEST_FRAMES, |_, run| together(run, shortest));
        match self {
            Self::Plain => Some(&PLAIN),
            Self::Shortest => Some(&SHORTEST),
            Self::Own => None,
        }
    }
}

/// How a transport by WebSockets writes runs; what is counted are the payloads.
pub(crate) const fn wire(
    transport: Transport,
    form: &'static RunForm,
    encode: fn(&ChannelName, &[Arc<Entry>]) -> Bytes,
) -> Wire {
    let counted = |page: &Page, _: &Bytes| payloads(page);
    Wire { transport, at_once: AT_ONCE, form, encode, counted }
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

/// The bytes of a page's payloads together.
pub(super) fn payloads(page: &Page) -> usize {
    page.entries.iter().map(|entry| entry.payload.as_bytes().len()).sum()
}

/// The frames of all entries, one after the other.
pub(crate) fn together(entries: &[Arc<Entry>], frame: impl Fn(&Entry) -> Bytes) -> Bytes {
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

fn shortest(entry: &Entry) -> Bytes {
    shortest_of(entry, message(&entry.payload), &entry_form::FRAME)
}

/// A message of the entry compressed, where that is worth it: then the frame is kept with the entry, too.
pub(crate) fn shortest_of(entry: &Entry, message: Message, form: &EntryForm) -> Bytes {
    if message.len() < DeflateConfig::default().threshold {
        return Prepared::new(message).plain().clone();
    }
    entry.form(form, || Prepared::new(message).shortest().clone())
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
