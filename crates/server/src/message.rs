//! A message as JSON, the same on every transport: `{"at":…,"ts":…,"data":…,"event":…}`.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sockeye_hub::{Entry, Gap, Payload};

/// The numbers of the forms that an entry keeps for its readers.
pub(crate) mod slot {
    /// The message as a line of JSON.
    pub(crate) const LINE: u8 = 0;
    /// The event with the payload.
    pub(crate) const EVENT: u8 = 1;
    /// The event with the message.
    pub(crate) const META_EVENT: u8 = 2;
}

/// The message, made for its first reader and shared with the others.
pub(crate) fn json(entry: &Entry) -> Bytes {
    let line = line(entry);
    line.slice(..line.len() - 1)
}

/// The message as a line, with its end.
pub(crate) fn line(entry: &Entry) -> Bytes {
    entry.form(slot::LINE, || encode(entry).into()).clone()
}

/// A gap: `{"after":…,"next":…,"why":…}`.
pub(crate) fn gap_json(gap: &Gap) -> String {
    let Gap { after, next, why } = gap;
    format!("{{\"after\":\"{after}\",\"next\":\"{next}\",\"why\":\"{why}\"}}")
}

/// The line, anew. Positions need no escapes; JSON goes in as it was published.
pub(crate) fn encode(entry: &Entry) -> String {
    let (at, ts) = (entry.position, entry.ts);
    let mut json = match &entry.payload {
        Payload::Json(value) => {
            format!("{{\"at\":\"{at}\",\"ts\":{ts},\"data\":{}", in_one_line(value))
        }
        Payload::Text(text) => {
            format!("{{\"at\":\"{at}\",\"ts\":{ts},\"data\":{}", quoted(text))
        }
        Payload::Bytes(bytes) => {
            let base64 = Base64Display::new(bytes, &STANDARD);
            format!("{{\"at\":\"{at}\",\"ts\":{ts},\"b64\":\"{base64}\"")
        }
    };
    if let Some(event) = &entry.event {
        json.push_str(&format!(",\"event\":{}", quoted(event.as_str())));
    }
    json.push_str("}\n");
    // It lives as long as the entry, so it takes no more room than it needs.
    json.shrink_to_fit();
    json
}

/// JSON has its line breaks between values only, where they are as good as spaces.
fn in_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\r', '\n']) { json.replace(['\r', '\n'], " ").into() } else { json.into() }
}

/// The text as a JSON string.
fn quoted(text: &str) -> impl std::fmt::Display + '_ {
    serde_json::Value::from(text)
}
