//! A message as JSON, the same on every transport: `{"at":…,"ts":…,"data":…,"event":…}`.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sockeye_hub::{Entry, Gap, Payload};

/// The numbers of the forms that an entry keeps for its readers.
mod slot {
    pub(super) const JSON: u8 = 0;
}

/// The message, made for its first reader and shared with the others.
pub(crate) fn json(entry: &Entry) -> Bytes {
    entry.form(slot::JSON, || encode(entry).into()).clone()
}

/// A gap: `{"after":…,"next":…,"why":…}`.
pub(crate) fn gap_json(gap: &Gap) -> String {
    let Gap { after, next, why } = gap;
    format!("{{\"after\":\"{after}\",\"next\":\"{next}\",\"why\":\"{why}\"}}")
}

/// Positions need no escapes; JSON goes in as it was published.
fn encode(entry: &Entry) -> String {
    let (at, ts) = (entry.position, entry.ts);
    let mut json = match &entry.payload {
        Payload::Json(value) => format!("{{\"at\":\"{at}\",\"ts\":{ts},\"data\":{value}"),
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
    json.push('}');
    // It lives as long as the entry, so it takes no more room than it needs.
    json.shrink_to_fit();
    json
}

/// The text as a JSON string.
fn quoted(text: &str) -> impl std::fmt::Display + '_ {
    serde_json::Value::from(text)
}
