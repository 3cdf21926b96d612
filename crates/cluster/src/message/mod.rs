//! Messages as a shard's stream has them: the headers they are written with, and read from.

pub(crate) mod own_ids;
pub(crate) mod subjects;
pub(crate) mod time;

use std::sync::Arc;

use async_nats::header::{
    HeaderName, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID, NATS_ROLLUP, NATS_SEQUENCE,
    NATS_SUBJECT, NATS_TIME_STAMP,
};
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use bytestring::ByteString;
use sockeye_hub::{EventName, Json, Payload};

use crate::message::own_ids::is_own;
use crate::message::subjects::{Names, Topic};
use crate::message::time::parse_millis;
use sockeye_hub::backplane::{Arrival, What};

/// The kind of a payload: `json`, `text` or `bytes`. Without it a payload is the first of these that it can be;
/// servers of NATS spend a tenth more on a message that has a header.
const KIND: HeaderName = HeaderName::from_static("Sockeye-Kind");
/// The name of the event, if it has one.
const EVENT: HeaderName = HeaderName::from_static("Sockeye-Event");
/// What the message does instead of saying something: `forget`, `end` or `open`.
const OP: HeaderName = HeaderName::from_static("Sockeye-Op");
/// The sequence of the end that a message takes back which opens a channel again, and its time in milliseconds since
/// the Unix epoch.
const ENDED: HeaderName = HeaderName::from_static("Sockeye-Ended");
/// Of which subject [`NATS_EXPECTED_LAST_SUBJECT_SEQUENCE`] is, if of another than the message's own.
const EXPECTED_SUBJECT: HeaderName =
    HeaderName::from_static("Nats-Expected-Last-Subject-Sequence-Subject");

const JSON: &str = "json";
const TEXT: &str = "text";
const BYTES: &str = "bytes";
const FORGET: &str = "forget";
const END: &str = "end";
const OPEN: &str = "open";

/// Why a message is not one of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message without a valid {0}")]
pub(crate) struct BadRecord(&'static str);

/// Reads what JetStream has published again, or has answered to a Direct Get: both have the
/// sequence, the time and the subject in their headers.
///
/// Payloads share the buffer that the connection has read into. What another program has published
/// in the place of a node is taken as what it is: text that is not UTF-8 is bytes, JSON that cannot be
/// parsed is text, what has another kind is bytes, an event that has no valid name has none.
pub(crate) fn read(message: Message, names: &Names, shard: u16) -> Result<Arrival, BadRecord> {
    let headers = message.headers.ok_or(BadRecord("header"))?;
    let fields = Fields::of(&headers);
    let offset = fields.sequence.and_then(|text| text.parse().ok());
    let offset = offset.filter(|offset| *offset > 0).ok_or(BadRecord("Nats-Sequence"))?;
    let ts = fields.time.and_then(parse_millis);
    let ts = ts.ok_or(BadRecord("Nats-Time-Stamp"))?;
    let subject = fields.subject.unwrap_or(&message.subject);
    let what = match names.topic(subject, shard) {
        None => What::Other,
        Some(Topic::Clock) => What::Clock,
        Some(Topic::End(channel)) => match (fields.op, fields.ended.and_then(ended)) {
            (Some(END), _) => What::End(channel),
            (Some(OPEN), Some((ended, since))) => What::Open { channel, ended, since },
            _ => What::Other,
        },
        Some(Topic::Channel(channel)) if fields.op == Some(FORGET) => What::Forget(channel),
        Some(Topic::Channel(channel)) => What::Message {
            channel,
            payload: payload(fields.kind, message.payload),
            event: fields.event.and_then(|name| name.parse().ok()),
            id: fields.id.filter(|id| !is_own(id)).map(Arc::from),
        },
    };
    Ok(Arrival { offset, ts, what })
}

/// The headers that mean something, found in one pass: a look for each costs a hash of its name.
#[derive(Default)]
struct Fields<'m> {
    sequence: Option<&'m str>,
    time: Option<&'m str>,
    subject: Option<&'m str>,
    kind: Option<&'m str>,
    event: Option<&'m str>,
    id: Option<&'m str>,
    op: Option<&'m str>,
    ended: Option<&'m str>,
}

impl<'m> Fields<'m> {
    fn of(headers: &'m HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, values) in headers.iter() {
            let field = match name {
                name if *name == NATS_SEQUENCE => &mut fields.sequence,
                name if *name == NATS_TIME_STAMP => &mut fields.time,
                name if *name == NATS_SUBJECT => &mut fields.subject,
                name if *name == KIND => &mut fields.kind,
                name if *name == EVENT => &mut fields.event,
                name if *name == NATS_MESSAGE_ID => &mut fields.id,
                name if *name == OP => &mut fields.op,
                name if *name == ENDED => &mut fields.ended,
                _ => continue,
            };
            *field = values.last().map(|value| value.as_str());
        }
        fields
    }
}

/// The sequence of an end, and its time in milliseconds since the Unix epoch.
fn ended(text: &str) -> Option<(u64, u64)> {
    let (seq, ts) = text.split_once(' ')?;
    Some((seq.parse().ok()?, ts.parse().ok()?))
}

fn payload(kind: Option<&str>, bytes: Bytes) -> Payload {
    if !matches!(kind, None | Some(JSON | TEXT)) {
        return Payload::Bytes(bytes);
    }
    match ByteString::try_from(bytes.clone()) {
        Err(_) => Payload::Bytes(bytes),
        Ok(text) if kind != Some(TEXT) && Json::parse(&text).is_ok() => Payload::Json(text),
        Ok(text) => Payload::Text(text),
    }
}

/// The headers of a message that is to be published.
#[derive(Clone, Debug)]
pub(crate) enum Headers {
    /// Those of a message of a channel.
    Message {
        /// None if the payload itself tells it.
        kind: Option<&'static str>,
        event: Option<EventName>,
        id: Option<Arc<str>>,
        /// The subject of the channel's end, if nothing is to be stored for there is one.
        is_behind: Option<String>,
    },
    /// Others.
    Other(HeaderMap),
}

impl Headers {
    pub(crate) fn of(payload: &Payload, event: Option<EventName>, id: Option<Arc<str>>) -> Self {
        let kind = match payload {
            Payload::Json(_) => None,
            Payload::Text(text) => Json::parse(text).is_ok().then_some(TEXT),
            Payload::Bytes(bytes) => str::from_utf8(bytes).is_ok().then_some(BYTES),
        };
        Self::Message { kind, event, id, is_behind: None }
    }

    /// The same of a message that is only asked about: if its id is not known it is not stored, for there
    /// is something under that subject.
    pub(crate) fn behind(mut self, end_subject: String) -> Self {
        if let Self::Message { is_behind, .. } = &mut self {
            *is_behind = Some(end_subject);
        }
        self
    }

    /// As they are sent: none for most messages without a name.
    pub(crate) fn map(&self) -> Option<HeaderMap> {
        let (kind, event, id, is_behind) = match self {
            Self::Other(headers) => return Some(headers.clone()),
            Self::Message { kind: None, event: None, id: None, is_behind: None } => return None,
            Self::Message { kind, event, id, is_behind } => (kind, event, id, is_behind),
        };
        let mut headers = HeaderMap::new();
        if let Some(end_subject) = is_behind {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
            headers.insert(EXPECTED_SUBJECT, end_subject.as_str());
        }
        if let Some(kind) = kind {
            headers.insert(KIND, *kind);
        }
        if let Some(event) = event {
            headers.insert(EVENT, event.as_str());
        }
        if let Some(id) = id {
            headers.insert(NATS_MESSAGE_ID, &**id);
        }
        Some(headers)
    }
}

/// The headers of a marker that has the stream drop all before it on its subject; taken if `last` is the newest
/// record under the subject of the channel's end.
pub(crate) fn forget_headers(end_subject: &str, last: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_ROLLUP, "sub");
    headers.insert(OP, FORGET);
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
    headers.insert(EXPECTED_SUBJECT, end_subject);
    headers
}

/// The headers of the end of a channel; taken if `last` is the newest record under its subject.
pub(crate) fn end_headers(last: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OP, END);
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
    headers
}

/// The headers of what takes the place of the end at `ended`, stored at the time `ts`; taken if that is still the
/// newest record there.
pub(crate) fn open_headers(ended: u64, ts: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_ROLLUP, "sub");
    headers.insert(OP, OPEN);
    headers.insert(ENDED, format!("{ended} {ts}"));
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, ended.to_string());
    headers
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Names {
        Names::new("sockeye".parse().unwrap(), 1)
    }

    /// A message as a server sends it.
    pub(crate) fn message(subject: &str, headers: HeaderMap, payload: &[u8]) -> Message {
        Message {
            subject: subject.into(),
            reply: None,
            payload: Bytes::copy_from_slice(payload),
            headers: Some(headers),
            status: None,
            description: None,
            length: payload.len(),
        }
    }

    const TIME: &str = "1970-01-01T00:00:01Z";

    fn stamped(mut headers: HeaderMap, seq: &str, time: &str) -> HeaderMap {
        headers.insert(NATS_SEQUENCE, seq);
        headers.insert(NATS_TIME_STAMP, time);
        headers
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let event: EventName = "joined".parse().unwrap();
        for (written, tells_its_kind) in [
            (Payload::Bytes(Bytes::from_static(b"\xff\0")), true),
            (Payload::Bytes(Bytes::from_static(b"text")), false),
            (Payload::Bytes(Bytes::from_static(b"1")), false),
            (Payload::Bytes(Bytes::new()), false),
            (Payload::Json(r#"{"a":1}"#.into()), true),
            (Payload::Json(" 1 ".into()), true),
            (Payload::Text("hä".into()), true),
            (Payload::Text("{".into()), true),
            (Payload::Text("1".into()), false),
            (Payload::Text("".into()), true),
        ] {
            for (written_event, written_id) in [(None, None), (Some(&event), Some("k"))] {
                let id = written_id.map(Arc::from);
                let headers = Headers::of(&written, written_event.cloned(), id).map();
                assert_eq!(headers.is_none(), tells_its_kind && written_event.is_none());
                let headers = stamped(headers.unwrap_or_default(), "7", TIME);
                let message = message("sockeye.l.0.a/b", headers, written.as_bytes());
                let read = read(message, &names(), 0).unwrap();
                assert_eq!((read.offset, read.ts), (7, 1000));
                let What::Message { channel, payload, event, id } = read.what else {
                    panic!("a message")
                };
                assert_eq!(channel.as_str(), "a.b");
                assert_eq!(
                    (&payload, event.as_ref(), id.as_deref()),
                    (&written, written_event, written_id)
                );
            }
        }
    }

    #[test]
    fn markers_and_the_clock_are_told_from_messages() {
        let what = |subject: &str, headers: HeaderMap| {
            read(message(subject, stamped(headers, "1", TIME), b"x"), &names(), 0).unwrap().what
        };
        let forgotten = what("sockeye.l.0.a", forget_headers("sockeye.c.0.a.end", 0));
        assert!(matches!(forgotten, What::Forget(channel) if channel.as_str() == "a"));
        assert!(matches!(what("sockeye.l.0._clock", HeaderMap::new()), What::Clock));
        assert!(matches!(what("sockeye.l.0.-", HeaderMap::new()), What::Other));
        let end = "sockeye.l.0.a.end";
        assert!(matches!(what(end, end_headers(0)), What::End(channel) if channel.as_str() == "a"));
        let opened = what(end, open_headers(7, 9));
        assert!(
            matches!(opened, What::Open { channel, ended: 7, since: 9 } if channel.as_str() == "a")
        );
        assert!(matches!(what(end, HeaderMap::new()), What::Other));
    }

    #[test]
    fn what_others_publish_is_taken_as_what_it_is() {
        let read = |kind: &str, name: &str, bytes: &[u8]| {
            let mut headers = stamped(HeaderMap::new(), "1", TIME);
            headers.insert(KIND, kind);
            headers.insert(EVENT, name);
            match read(message("sockeye.l.0.a", headers, bytes), &names(), 0).unwrap().what {
                What::Message { payload, event, .. } => (payload, event),
                other => panic!("{other:?}"),
            }
        };
        let none = None::<EventName>;
        assert_eq!(read("json", "gap", b"{"), (Payload::Text("{".into()), none.clone()));
        let bytes = Payload::Bytes(Bytes::from_static(b"\xff"));
        assert_eq!(read("text", "", b"\xff"), (bytes.clone(), none.clone()));
        assert_eq!(read("json", "a b", b"\xff"), (bytes.clone(), none));
        assert_eq!(read("other", "x", b"\xff"), (bytes, Some("x".parse().unwrap())));
    }

    #[test]
    fn a_message_without_its_stamps_is_not_taken() {
        for (seq, time, what) in [
            ("", TIME, "Nats-Sequence"),
            ("0", TIME, "Nats-Sequence"),
            ("-1", TIME, "Nats-Sequence"),
            ("18446744073709551616", TIME, "Nats-Sequence"),
            ("1", "", "Nats-Time-Stamp"),
            ("1", "yesterday", "Nats-Time-Stamp"),
        ] {
            let headers = stamped(HeaderMap::new(), seq, time);
            let read = read(message("sockeye.l.0.a", headers, b""), &names(), 0);
            assert_eq!(read.unwrap_err(), BadRecord(what));
        }
    }

    proptest! {
        #[test]
        fn any_message_is_taken_or_an_error(
            subject in "\\PC{0,20}|sockeye\\.l\\.0\\.[a-z/]{0,5}",
            seq in "[0-9]{0,22}|\\PC{0,5}",
            kind in "json|text|bytes|\\PC{0,5}",
            op in "forget|\\PC{0,5}",
            payload: Vec<u8>,
        ) {
            let mut headers = stamped(HeaderMap::new(), "", TIME);
            for (name, value) in [(NATS_SEQUENCE, seq), (KIND, kind), (OP, op)] {
                if let Ok(value) = value.parse::<async_nats::HeaderValue>() {
                    headers.insert(name, value);
                }
            }
            let _ = read(message(&subject, headers, &payload), &names(), 0);
        }
    }
}
