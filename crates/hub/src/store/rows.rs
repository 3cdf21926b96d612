//! Rows: how channels are written down as keys and values.
//!
//! One table of bytes holds five kinds of rows, told apart by the first letter of their keys.
//! Numbers are eight bytes, the highest first, so that the entries of a channel lie side by side
//! and in order.
//!
//! | key | value |
//! |---|---|
//! | `m` | the store: format, epoch, floor, the last channel's number, how many channels, bytes and writes |
//! | `c` name | a channel: its number, its head, `ENDED` if it has ended, and the account that it is charged to |
//! | `e` number offset | an entry: timestamp, kind, the event's length, the event, the payload |
//! | `k` number offset | an idempotency key: timestamp, the text |
//! | `p` | zeroes, written to find out whether writing works |

use bytes::Bytes;
use bytestring::ByteString;

use super::{Head, SavedEntry, SavedKey};
use crate::{ChannelName, Entry, Epoch, IdempotencyKey, Payload, PayloadRef};

/// The key of the row about the store.
pub(super) const META: &[u8] = b"m";
/// The key of what is written as a probe.
pub(super) const PROBE: &[u8] = b"p";
/// What the keys of channels begin with, and what those behind all channels begin with.
pub(super) const CHANNELS: [&[u8]; 2] = [b"c", b"d"];

/// What stands before the account of a channel that has ended.
const ENDED: &[u8] = b"\0e";
/// What stands before an account that begins with a zero, as no account of a server does.
const ACCOUNT: &[u8] = b"\0a";

/// How the rows are written. Another number is another way.
const FORMAT: &str = "1";

/// The row about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) epoch: Epoch,
    /// Where channels begin that are not kept.
    pub(super) floor: u64,
    /// The number of the channel that was added last.
    pub(super) next: u64,
    /// How many channels there are.
    pub(super) channels: u64,
    /// What the entries kept are charged for, in bytes.
    pub(super) bytes: u64,
    /// How often something was written.
    pub(super) writes: u64,
}

/// The row about a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelRow {
    pub(super) number: u64,
    pub(super) head: Head,
    /// The account that it is charged to, if that is known.
    pub(super) owner: Option<Box<str>>,
}

/// A row that was not written by this program, or not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Meta {
    pub(super) fn encode(&self) -> String {
        let Self { epoch, floor, next, channels, bytes, writes } = self;
        format!("{FORMAT} {epoch} {floor} {next} {channels} {bytes} {writes}")
    }

    /// The row, or `None` if it is of another format.
    pub(super) fn decode(row: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut words = str::from_utf8(row).map_err(|_| Malformed)?.split(' ');
        if words.next() != Some(FORMAT) {
            return Ok(None);
        }
        let epoch = words.next().and_then(|epoch| epoch.parse().ok()).ok_or(Malformed)?;
        let mut number = || words.next().and_then(|number| number.parse().ok()).ok_or(Malformed);
        let (floor, next, channels) = (number()?, number()?, number()?);
        let (bytes, writes) = (number()?, number()?);
        Ok(Some(Self { epoch, floor, next, channels, bytes, writes }))
    }
}

impl ChannelRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Head { start, last, last_ts, forgotten, bytes, keys_start, ended } = self.head;
        let numbers = [self.number, start, last, last_ts, forgotten, bytes, keys_start];
        let owner = self.owner.as_deref().unwrap_or_default();
        let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
        let before = match ended {
            true => ENDED,
            false if owner.starts_with('\0') => ACCOUNT,
            false => &[],
        };
        numbers.chain(before.iter().copied()).chain(owner.bytes()).collect()
    }

    pub(super) fn decode(mut row: &[u8]) -> Result<Self, Malformed> {
        let mut numbers = [0; 7];
        for number in &mut numbers {
            *number = take_number(&mut row)?;
        }
        let [number, start, last, last_ts, forgotten, bytes, keys_start] = numbers;
        let rest = row.strip_prefix(ENDED);
        let ended = rest.is_some();
        row = rest.or_else(|| row.strip_prefix(ACCOUNT)).unwrap_or(row);
        let head = Head { start, last, last_ts, forgotten, bytes, keys_start, ended };
        let ordered = start <= last && forgotten <= last && keys_start <= last;
        // A row of an earlier version has none.
        let owner = str::from_utf8(row).map_err(|_| Malformed)?;
        let owner = (!owner.is_empty()).then(|| owner.into());
        if ordered { Ok(Self { number, head, owner }) } else { Err(Malformed) }
    }
}

pub(super) fn channel_key(channel: &ChannelName) -> Vec<u8> {
    [CHANNELS[0], channel.as_str().as_bytes()].concat()
}

pub(super) fn channel_of_key(key: &[u8]) -> Result<ChannelName, Malformed> {
    let name = key.strip_prefix(CHANNELS[0]).ok_or(Malformed)?;
    str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(Malformed)
}

pub(super) fn entry_key(number: u64, offset: u64) -> [u8; 17] {
    numbered(b'e', number, offset)
}

pub(super) fn idempotency_key(number: u64, offset: u64) -> [u8; 17] {
    numbered(b'k', number, offset)
}

fn numbered(kind: u8, number: u64, offset: u64) -> [u8; 17] {
    let mut key = [kind; 17];
    key[1..9].copy_from_slice(&number.to_be_bytes());
    key[9..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset in the key of an entry or of an idempotency key.
pub(super) fn offset_of_key(key: &[u8]) -> Result<u64, Malformed> {
    let mut offset = key.get(9..).ok_or(Malformed)?;
    take_number(&mut offset)
}

pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let event = entry.event.as_ref().map_or("", |event| event.as_str());
    let payload = entry.payload.as_bytes();
    let mut row = Vec::with_capacity(10 + event.len() + payload.len());
    row.extend(entry.ts.to_be_bytes());
    row.push(match entry.payload.as_ref() {
        PayloadRef::Bytes(_) => b'b',
        PayloadRef::Json(_) => b'j',
        PayloadRef::Text(_) => b't',
    });
    // An event's name has at most 64 bytes.
    row.push(event.len() as u8);
    row.extend(event.as_bytes());
    row.extend(payload);
    row
}

pub(super) fn decode_entry(key: &[u8], mut row: &[u8]) -> Result<SavedEntry, Malformed> {
    let ts = take_number(&mut row)?;
    let (&[kind, len], rest) = row.split_first_chunk().ok_or(Malformed)?;
    let (event, payload) = rest.split_at_checked(usize::from(len)).ok_or(Malformed)?;
    let event = match event {
        [] => None,
        name => {
            Some(str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(Malformed)?)
        }
    };
    // Each in an allocation of its own, which it gives back when it is dropped.
    let payload = Bytes::copy_from_slice(payload);
    let text = |bytes| ByteString::try_from(bytes).map_err(|_| Malformed);
    let payload = match kind {
        b'b' => Payload::Bytes(payload),
        b'j' => Payload::Json(text(payload)?),
        b't' => Payload::Text(text(payload)?),
        _ => return Err(Malformed),
    };
    Ok(SavedEntry { offset: offset_of_key(key)?, ts, payload, event })
}

pub(super) fn encode_key(key: &SavedKey) -> Vec<u8> {
    [&key.ts.to_be_bytes()[..], key.key.as_text().as_bytes()].concat()
}

pub(super) fn decode_key(key: &[u8], mut row: &[u8]) -> Result<SavedKey, Malformed> {
    let ts = take_number(&mut row)?;
    let text = str::from_utf8(row).map_err(|_| Malformed)?;
    Ok(SavedKey { offset: offset_of_key(key)?, ts, key: IdempotencyKey::of_text(text) })
}

/// The timestamp that the rows of entries and of keys begin with.
pub(super) fn timestamp(mut row: &[u8]) -> Result<u64, Malformed> {
    take_number(&mut row)
}

fn take_number(row: &mut &[u8]) -> Result<u64, Malformed> {
    let (number, rest) = row.split_first_chunk().ok_or(Malformed)?;
    *row = rest;
    Ok(u64::from_be_bytes(*number))
}
