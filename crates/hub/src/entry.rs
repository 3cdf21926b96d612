//! What is published, and what a log makes of it: the entry.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::figures::Meter;
use crate::forms::Forms;
use crate::{EventName, IdempotencyKey, Json, Position};

/// What an entry is charged for beside its payload and the name of its event, in bytes.
///
/// The charge is a fixed number so that how far back a history of so many bytes reaches can be
/// told beforehand. The memory really taken beside the payload is about twice this.
pub const ENTRY_OVERHEAD: u64 = 64;

/// A message on its way into a channel. It borrows its payload: [`Hub::publish`] copies it once,
/// into an allocation of its own size, so the buffer it was read into is never kept alive.
///
/// [`Hub::publish`]: crate::Hub::publish
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// What it says.
    pub payload: PayloadRef<'a>,
    /// The name of its event, if it has one.
    pub event: Option<EventName>,
    /// What makes a repetition known: the first publication on a channel with this key is taken,
    /// and every other one, whatever it says, gets its position.
    pub key: Option<IdempotencyKey>,
}

/// A borrowed [`Payload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadRef<'a> {
    /// Any bytes.
    Bytes(&'a [u8]),
    /// One JSON value.
    Json(Json<'a>),
    /// Text.
    Text(&'a str),
}

/// What an entry says. Cloning shares the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Any bytes.
    Bytes(Bytes),
    /// One JSON value, as it was published.
    Json(ByteString),
    /// Text.
    Text(ByteString),
}

/// A message in a channel's log. Every reader of it shares one.
#[derive(Debug)]
pub struct Entry {
    /// Where it stands in its channel.
    pub position: Position,
    /// When it was published, in milliseconds since the Unix epoch. Never less than that of the
    /// entry before it, even if the clock is set back.
    pub ts: u64,
    /// What it says.
    pub payload: Payload,
    /// The name of its event, if it has one.
    pub event: Option<EventName>,
    forms: Forms,
}

impl<'a> Publication<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Self {
        Self { payload: PayloadRef::Text(text), event: None, key: None }
    }

    /// A JSON value.
    pub fn json(json: Json<'a>) -> Self {
        Self { payload: PayloadRef::Json(json), event: None, key: None }
    }

    /// Bytes.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self { payload: PayloadRef::Bytes(bytes), event: None, key: None }
    }

    /// The same with a named event.
    #[must_use]
    pub fn event(mut self, name: EventName) -> Self {
        self.event = Some(name);
        self
    }

    /// The same with an idempotency key.
    #[must_use]
    pub fn key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// What an entry made of this is charged for, in bytes.
    pub(crate) fn charge(&self) -> u64 {
        charge(self.payload.as_bytes(), self.event.as_ref())
    }
}

impl<'a> PayloadRef<'a> {
    /// The bytes of the payload, whatever its kind.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Json(json) => json.as_str().as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// Copies the payload into an allocation of its own, no larger than it.
    pub fn to_payload(self) -> Payload {
        match self {
            Self::Bytes(bytes) => Payload::Bytes(Bytes::copy_from_slice(bytes)),
            Self::Json(json) => Payload::Json(json.as_str().into()),
            Self::Text(text) => Payload::Text(text.into()),
        }
    }
}

impl Payload {
    /// The bytes of the payload, whatever its kind; cloning them shares the memory.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Json(text) | Self::Text(text) => text.as_bytes(),
        }
    }

    /// The payload, borrowed: what to publish to have the same again.
    pub fn as_ref(&self) -> PayloadRef<'_> {
        match self {
            Self::Bytes(bytes) => PayloadRef::Bytes(bytes),
            Self::Json(json) => PayloadRef::Json(Json::kept(json)),
            Self::Text(text) => PayloadRef::Text(text),
        }
    }
}

impl Entry {
    pub(crate) fn new(
        position: Position,
        ts: u64,
        payload: Payload,
        event: Option<EventName>,
        meter: Arc<Meter>,
    ) -> Self {
        Self { position, ts, payload, event, forms: Forms::new(meter) }
    }

    /// The wire form number `slot` of this entry: made by `make` at its first use, then shared by
    /// every reader. Who comes while it is being made waits for it.
    ///
    /// The hub does not know what the forms are; those who share a hub agree on the numbers. A form
    /// lives as long as its entry, and so does any room to spare in the buffer it is made of. Forms are not charged to the channel's history (how far back
    /// that reaches does not depend on who listens) but to the hub as a whole: see
    /// [`Options::max_bytes`](crate::Options::max_bytes) and
    /// [`Figures::form_bytes`](crate::Figures::form_bytes).
    ///
    /// # Panics
    ///
    /// If `make` panics; the form is then made by whoever asks next. A `make` that asks for the same
    /// form of the same entry panics or waits for itself for ever.
    pub fn form(&self, slot: u8, make: impl FnOnce() -> Bytes) -> &Bytes {
        self.forms.form(slot, make)
    }

    /// Forms of something that entries are part of.
    pub(crate) fn forms_beside(&self) -> Forms {
        self.forms.beside()
    }

    /// What the entry is charged for, in bytes: its payload, the name of its event and
    /// [`ENTRY_OVERHEAD`].
    pub fn charge(&self) -> u64 {
        charge(self.payload.as_bytes(), self.event.as_ref())
    }
}

fn charge(payload: &[u8], event: Option<&EventName>) -> u64 {
    let event = event.map_or(0, |name| name.as_str().len());
    (payload.len() + event) as u64 + ENTRY_OVERHEAD
}
