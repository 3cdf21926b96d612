//! What is published, and what a log makes of it: the entry.

use std::mem;

use bytes::Bytes;
use bytestring::ByteString;

use crate::log::{EntryForm, EntryForms, FormCache, Forms};
use crate::{EventName, IdempotencyKey, Json, Position, Source};

/// What an entry is charged for beside its payload and the name of its event, in bytes.
///
/// The charge is a fixed number so that how far back a history of a number of bytes reaches can be
/// told beforehand. The memory really taken beside the payload is about twice this.
pub const ENTRY_OVERHEAD: u64 = 64;

/// What an encoded entry takes at most beside its payload and the name of its event, in bytes:
/// position, time, and what is written around them.
const ENCODED_OVERHEAD: u64 = 160;

/// A message on its way into a channel. It borrows its payload: [`Hub::publish`] copies it once,
/// into an allocation of its own size, so the buffer it was read into is never kept alive.
///
/// [`Hub::publish`]: crate::Hub::publish
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication<'a> {
    /// What it says.
    pub payload: PayloadRef<'a>,
    /// The name of its event, if it has one.
    pub event: Option<EventName>,
    /// What makes a repetition known: the first publication on a channel with this key is taken,
    /// and every other one, whatever it says, gets its position.
    pub key: Option<IdempotencyKey>,
    /// The account that pays for the room it takes: see [`Options::max_bytes`]. Default `""`, which
    /// is the program's own. The hub keeps the name as long as the account holds something.
    ///
    /// [`Options::max_bytes`]: crate::Options::max_bytes
    pub account: &'a str,
    /// What sends it, if that does not wait for the outcome before it publishes again. What is taken of one
    /// source on a channel has the order of the calls also with a backplane whose leader changes: what
    /// cannot be taken before a later one is [refused](crate::PublishError::Unavailable). Default: none, and
    /// such a publication is taken after the later one.
    pub source: Option<Source>,
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
    /// When it was published, in milliseconds since the Unix epoch. Not less than that of the entry
    /// before it, unless the clock was set back by more than a minute in between: positions tell the
    /// order, not this.
    pub ts: u64,
    /// What it says.
    pub payload: Payload,
    /// The name of its event, if it has one.
    pub event: Option<EventName>,
    encoded_len: u32,
    /// The number of the account that it is charged to as long as it is in the log.
    payer: u32,
    forms: EntryForms,
}

/// What an entry says, measured. Made outside of locks: it looks at each byte.
#[derive(Debug)]
pub(crate) struct Content {
    payload: Payload,
    event: Option<EventName>,
    encoded_len: u32,
    payer: u32,
}

impl<'a> Publication<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Self {
        Self::of(PayloadRef::Text(text))
    }

    /// A JSON value.
    pub fn json(json: Json<'a>) -> Self {
        Self::of(PayloadRef::Json(json))
    }

    /// Bytes.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self::of(PayloadRef::Bytes(bytes))
    }

    /// A payload of any kind.
    pub fn of(payload: PayloadRef<'a>) -> Self {
        Self { payload, event: None, key: None, account: "", source: None }
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

    /// The same, paid for by that account.
    #[must_use]
    pub fn account(mut self, name: &'a str) -> Self {
        self.account = name;
        self
    }

    /// The same, in the order of that source.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// What an entry made of this is charged for, in bytes.
    pub(crate) fn charge(&self) -> u64 {
        charge(self.payload.as_bytes(), self.event.as_ref())
    }

    /// The same with the key.
    pub(crate) fn charge_in_all(&self) -> u64 {
        self.charge() + self.key.as_ref().map_or(0, IdempotencyKey::charge)
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
    /// An entry that is being published. Its forms are kept until they are
    /// [closed](Self::close_forms).
    pub(crate) fn new(position: Position, ts: u64, content: Content, cache: &FormCache) -> Self {
        let Content { payload, event, encoded_len, payer } = content;
        let forms = EntryForms::open(cache);
        Self { position, ts, payload, event, encoded_len, payer, forms }
    }

    /// Makes another entry of this one, which no reader has, unless it keeps forms; whether it did. `content` becomes
    /// what this one said, to be freed without the lock.
    pub(crate) fn renew(
        &mut self,
        position: Position,
        ts: u64,
        content: &mut Content,
        cache: &FormCache,
    ) -> bool {
        if !self.forms.open_again(cache) {
            return false;
        }
        (self.position, self.ts) = (position, ts);
        mem::swap(&mut self.payload, &mut content.payload);
        mem::swap(&mut self.event, &mut content.event);
        (self.encoded_len, self.payer) = (content.encoded_len, content.payer);
        true
    }

    pub(crate) fn payer(&self) -> u32 {
        self.payer
    }

    /// An entry that was published long ago. Its forms are never kept.
    pub(crate) fn restored(
        position: Position,
        ts: u64,
        content: Content,
        cache: &FormCache,
    ) -> Self {
        let forms = EntryForms::closed(cache);
        Self { forms, ..Self::new(position, ts, content, cache) }
    }

    /// The wire form of this entry that `form` names, made by `make` unless it is kept. A reader that
    /// asks while another one makes it waits for it.
    ///
    /// The hub does not know what the forms are. A form is kept for other readers while the entry is new, which is until the second
    /// [`sweep`](crate::Hub::sweep) after it was published, and while all forms together take less
    /// than [`Options::max_form_bytes`](crate::Options::max_form_bytes); any room to spare in the
    /// buffer it is made of is kept with it. Otherwise it is made for its reader alone. Forms count
    /// neither for a history nor for [`Options::max_bytes`](crate::Options::max_bytes).
    ///
    /// # Panics
    ///
    /// If `make` panics; the form is then made by the next that asks. A `make` that asks for the same
    /// form of the same entry panics or waits for itself for ever.
    pub fn form(&self, form: &EntryForm, make: impl FnOnce() -> Bytes) -> Bytes {
        self.forms.form(form.key(), make)
    }

    /// Forms of something that entries are part of.
    pub(crate) fn forms_beside(&self) -> Forms {
        self.forms.beside()
    }

    /// From now on no form is kept.
    pub(crate) fn close_forms(&self, cache: &FormCache) {
        self.forms.close(cache);
    }

    /// What the entry takes on the wire at most, in bytes, in any of the forms that are text: JSON
    /// with its escapes, lines with their prefix, base64. The name of its channel is not in it.
    pub fn encoded_len(&self) -> u64 {
        u64::from(self.encoded_len)
    }

    /// What the entry is charged for, in bytes: its payload, the name of its event and
    /// [`ENTRY_OVERHEAD`].
    pub fn charge(&self) -> u64 {
        charge(self.payload.as_bytes(), self.event.as_ref())
    }
}

impl Content {
    pub(crate) fn new(payload: Payload, event: Option<EventName>, payer: u32) -> Self {
        // An event may be named twice in a form, once with escapes.
        let event_len = event.as_ref().map_or(0, |name| 3 * name.as_str().len());
        let encoded_len = encoded_len(payload.as_ref()) + event_len as u64 + ENCODED_OVERHEAD;
        let encoded_len = u32::try_from(encoded_len).unwrap_or(u32::MAX);
        Self { payload, event, encoded_len, payer }
    }

    /// What it says, and leaves nothing.
    pub(crate) fn take(&mut self) -> Self {
        let payload = mem::replace(&mut self.payload, Payload::Bytes(Bytes::new()));
        Self { payload, event: self.event.take(), ..*self }
    }
}

/// What the payload takes at most. A control character takes six bytes in a JSON string; a line
/// break begins a line of an event with six more.
fn encoded_len(payload: PayloadRef<'_>) -> u64 {
    let bytes = payload.as_bytes();
    let encoded = match payload {
        PayloadRef::Bytes(_) => bytes.len().div_ceil(3) * 4,
        PayloadRef::Json(_) => bytes.len() + 6 * count(bytes, |byte| byte < b' '),
        // Most have nothing that has to be escaped.
        PayloadRef::Text(_) if !has_escaped(bytes) => bytes.len(),
        PayloadRef::Text(_) => {
            let escaped = |byte| matches!(byte, b'"' | b'\\');
            bytes.len() + 6 * count(bytes, |byte| byte < b' ') + count(bytes, escaped)
        }
    };
    encoded as u64
}

/// Whether something has to be escaped: control characters, quotes and backslashes. By two numbers that are least with
/// one of those, for they take fewer instructions than three comparisons.
fn has_escaped(bytes: &[u8]) -> bool {
    let least = |(one, other): (u8, u8), byte: &u8| {
        // A quote becomes 0x20, and what is less than that stays so.
        (one.min(byte ^ 2), other.min(byte ^ b'\\'))
    };
    let (one, other) = bytes.iter().fold((u8::MAX, u8::MAX), least);
    one <= b'"' ^ 2 || other == 0
}

/// How many bytes are such. In chunks whose count fits into a byte, so that a register counts 16
/// at once.
fn count(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let of_chunk = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(is(*byte))).sum::<u8>();
    bytes.chunks(240).map(|chunk| usize::from(of_chunk(chunk))).sum()
}

fn charge(payload: &[u8], event: Option<&EventName>) -> u64 {
    let event = event.map_or(0, |name| name.as_str().len());
    (payload.len() + event) as u64 + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_has_to_be_escaped_is_seen_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let is_escaped = byte < b' ' || matches!(byte, b'"' | b'\\');
            for (len, at) in [(1, 0), (7, 6), (16, 3), (33, 32), (70, 40), (70, 69)] {
                let mut bytes = vec![b'x'; len];
                bytes[at] = byte;
                assert_eq!(has_escaped(&bytes), is_escaped, "{byte:#x} at {at} of {len}");
            }
        }
        assert!(!has_escaped(b""));
    }
}
