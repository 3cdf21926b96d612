//! A message as JSON, the same on every transport: `{"at":…,"ts":…,"data":…,"event":…}`.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sockeye::{DeflateAgreement, DeflateConfig, Message, Prepared, Writer};
use sockeye_hub::{ChannelName, Entry, EntryForm, Gap, Payload, Position};

use crate::json::{in_one_line, quoted};

/// The encoded forms that an entry keeps for its readers.
pub(crate) mod entry_form {
    use sockeye_hub::EntryForm;

    /// The message as a line of JSON.
    pub(crate) static LINE: EntryForm = EntryForm::new();
    /// The event with the payload.
    pub(crate) static EVENT: EntryForm = EntryForm::new();
    /// The event with the message.
    pub(crate) static META_EVENT: EntryForm = EntryForm::new();
    /// The message in `sockeye.v1`.
    pub(crate) static V1: EntryForm = EntryForm::new();
    /// The payload as a compressed frame of a plain WebSocket.
    pub(crate) static FRAME: EntryForm = EntryForm::new();
    /// The message as a compressed frame of `sockeye.v1`.
    pub(crate) static V1_FRAME: EntryForm = EntryForm::new();
}

/// The encoded forms that a run of entries keeps for its readers.
pub(crate) mod run_form {
    use sockeye_hub::RunForm;

    /// The payloads as frames of plain WebSockets.
    pub(crate) static FRAMES: RunForm = RunForm::new();
    /// The payloads as compressed frames of plain WebSockets.
    pub(crate) static SHORTEST_FRAMES: RunForm = RunForm::new();
    /// The events with the payloads.
    pub(crate) static EVENTS: RunForm = RunForm::new();
    /// The same, as a chunk of a body.
    pub(crate) static EVENT_CHUNKS: RunForm = RunForm::new();
    /// The events with the messages.
    pub(crate) static META_EVENTS: RunForm = RunForm::new();
    /// The same, as a chunk of a body.
    pub(crate) static META_EVENT_CHUNKS: RunForm = RunForm::new();
    /// The messages as frames of `sockeye.v1`.
    pub(crate) static V1_FRAMES: RunForm = RunForm::new();
    /// The messages as compressed frames of `sockeye.v1`.
    pub(crate) static V1_SHORTEST_FRAMES: RunForm = RunForm::new();
    /// The messages as lines of JSON.
    pub(crate) static LINES: RunForm = RunForm::new();
    /// The same, as a chunk of a body.
    pub(crate) static LINE_CHUNKS: RunForm = RunForm::new();
}

/// The message, encoded for its first reader and shared with the others.
pub(crate) fn json(entry: &Entry) -> Bytes {
    let line = line(entry);
    line.slice(..line.len() - 1)
}

/// The message as a line, with its end.
pub(crate) fn line(entry: &Entry) -> Bytes {
    entry.form(&entry_form::LINE, || form(encode(entry)))
}

/// The message as `sockeye.v1` has it, where one connection reads several channels: `{"ch":…,"at":…}`.
/// It is sent in a frame, so it does not end with a line break.
pub(crate) fn v1(channel: &ChannelName, entry: &Entry) -> Bytes {
    entry.form(&entry_form::V1, || form(v1_object(channel, entry)))
}

/// The same, encoded anew.
pub(crate) fn v1_object(channel: &ChannelName, entry: &Entry) -> String {
    object(&format!("\"ch\":\"{channel}\","), entry, |json| json.into())
}

/// A message of the entry with its compressed frame: made for the first connection that compresses, and
/// shared with the others as the form `key`. `None` where it is sent uncompressed, or may refer to
/// messages before it.
pub(crate) fn prepared(
    entry: &Entry,
    key: &EntryForm,
    message: &Message,
    outgoing: &Writer,
) -> Option<Prepared> {
    let is_alone = outgoing.deflate().is_some_and(DeflateAgreement::server_no_context_takeover);
    if !is_alone || message.len() < DeflateConfig::default().threshold {
        return None;
    }
    let frame = entry.form(key, || Prepared::new(message.clone()).shortest().clone());
    Some(Prepared::with_shortest(message.clone(), frame))
}

/// A gap: `{"after":…,"next":…,"why":…}`.
pub(crate) fn gap_json(gap: &Gap) -> String {
    let Gap { after, next, why } = gap;
    format!("{{\"after\":\"{after}\",\"next\":\"{next}\",\"why\":\"{why}\"}}")
}

/// What a page has behind its messages if the channel has ended.
pub(crate) const END_MEMBER: &str = ",\"end\":true";

/// The end of a channel: `{"at":…,"end":true}`, with these members first.
pub(crate) fn end_json(first: &str, at: Position) -> String {
    format!("{{{first}\"at\":\"{at}\",\"end\":true}}")
}

/// Encodes the line.
pub(crate) fn encode(entry: &Entry) -> String {
    let mut line = object("", entry, in_one_line);
    line.push('\n');
    line
}

/// The message as a JSON object, with these members first. Positions need no escapes; JSON is inserted
/// as it was published, apart from what `json` makes of it.
fn object(first: &str, entry: &Entry, json: impl Fn(&str) -> Cow<'_, str>) -> String {
    let (at, ts) = (entry.position, entry.ts);
    let mut object = match &entry.payload {
        Payload::Json(value) => {
            format!("{{{first}\"at\":\"{at}\",\"ts\":{ts},\"data\":{}", json(value))
        }
        Payload::Text(text) => {
            format!("{{{first}\"at\":\"{at}\",\"ts\":{ts},\"data\":{}", quoted(text))
        }
        Payload::Bytes(bytes) => {
            let base64 = Base64Display::new(bytes, &STANDARD);
            format!("{{{first}\"at\":\"{at}\",\"ts\":{ts},\"b64\":\"{base64}\"")
        }
    };
    if let Some(event) = &entry.event {
        object.push_str(&format!(",\"event\":{}", quoted(event.as_str())));
    }
    object.push('}');
    object
}

/// A form is kept for other readers, so it has no spare capacity.
fn form(text: String) -> Bytes {
    text.into_boxed_str().into_boxed_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sockeye_hub::{Hub, Json, PayloadRef, Publication, Start};

    use super::*;
    use crate::transports::stream::Form;

    /// An entry as the hub makes it of this.
    fn entry(payload: PayloadRef<'_>, event: Option<&str>) -> std::sync::Arc<Entry> {
        let (hub, channel) = (Hub::default(), "c".parse().unwrap());
        let mut publication = Publication::of(payload);
        publication.event = event.map(|event| event.parse().unwrap());
        hub.publish(&channel, publication).wait().unwrap();
        hub.read(&channel, Start::Earliest, 1).entries[0].clone()
    }

    fn check(payload: PayloadRef<'_>, event: Option<&str>) {
        let entry = entry(payload, event);
        let channel = "c".parse().unwrap();
        let mut forms = vec![line(&entry), v1(&channel, &entry)];
        forms
            .extend([Form::Events, Form::MetaEvents, Form::Lines].map(|form| form.message(&entry)));
        for form in forms {
            let (len, most) = (form.len() as u64, entry.encoded_len());
            assert!(len <= most, "{len} of {most} bytes: {form:?}");
        }
    }

    #[test]
    fn the_worst_payloads_take_no_more_on_the_wire_than_is_said() {
        for text in ["\u{7}", "\n", "\r", "\r\n", "\"", "\\", "\u{7f}", "\u{2028}", "é", "x"] {
            for count in [0, 1, 1000] {
                check(PayloadRef::Text(&text.repeat(count)), Some(&"\\".repeat(64)));
            }
        }
        let json = format!("[{}1]", "\n".repeat(1000));
        check(PayloadRef::Json(Json::parse(&json).unwrap()), None);
        check(PayloadRef::Bytes(&[0; 1000]), None);
    }

    proptest! {
        #[test]
        fn no_form_takes_more_on_the_wire_than_is_said(
            text in "[\\x00-\\x7f]{0,200}|\\PC{0,50}",
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            event in proptest::option::of("[a-z\"\\\\]{10,64}"),
        ) {
            check(PayloadRef::Text(&text), event.as_deref());
            let json = serde_json::json!({ "a": text }).to_string();
            check(PayloadRef::Json(Json::parse(&json).unwrap()), event.as_deref());
            check(PayloadRef::Bytes(&bytes), event.as_deref());
        }
    }
}
