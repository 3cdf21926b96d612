//! Messages and gaps, as every transport has them in JSON.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;

/// A message. JSON stays as it was published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    #[serde(deserialize_with = "position")]
    pub(crate) at: String,
    ts: u64,
    #[serde(default, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
}

/// Messages that are missing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Gap {
    #[serde(deserialize_with = "position")]
    pub(crate) after: String,
    #[serde(deserialize_with = "position")]
    pub(crate) next: String,
    #[serde(deserialize_with = "position")]
    pub(crate) why: String,
}

/// The end of a channel, where messages are.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    #[serde(deserialize_with = "position")]
    pub(crate) at: String,
    end: bool,
}

impl End {
    /// The end at that position.
    pub(crate) fn new(at: String) -> Self {
        Self { at, end: true }
    }

    /// The end, if that is what the JSON is: it is told from any message by its last member.
    pub(crate) fn of(json: &[u8]) -> Option<Self> {
        let is_end = json.trim_ascii_end().ends_with(b",\"end\":true}");
        is_end.then(|| serde_json::from_slice(json).ok()).flatten()
    }
}

/// The longest position or other word of the server's: what it goes on from is sent back to it.
pub(crate) const MAX_WORD: usize = 255;

/// A position, of a length that one may have.
pub(crate) fn position<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    maybe_position(json)?.ok_or_else(|| D::Error::custom("a position is missing"))
}

/// The same where there may be none.
pub(crate) fn maybe_position<'de, D: Deserializer<'de>>(
    json: D,
) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(json)? {
        Some(word) if word.len() > MAX_WORD => Err(D::Error::custom("a position is too long")),
        word => Ok(word),
    }
}

/// `null` is data, too.
fn even_null<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(json).map(Some)
}

impl Message {
    /// Whether it was published as bytes, and not as text or JSON.
    pub(crate) fn is_bytes(&self) -> bool {
        self.b64.is_some()
    }

    /// Writes the payload: text and bytes as they are, JSON in one line.
    pub(crate) fn write_payload(&self, mut out: impl Write) -> io::Result<()> {
        if let Some(base64) = &self.b64 {
            let bytes = STANDARD.decode(base64);
            return out.write_all(&bytes.map_err(io::Error::other)?);
        }
        let json = self.data.as_deref().map_or("null", RawValue::get);
        match serde_json::from_str::<String>(json) {
            Ok(text) => out.write_all(text.as_bytes()),
            Err(_) => out.write_all(in_one_line(json).as_bytes()),
        }
    }

    /// Writes the message as JSON, in one line.
    pub(crate) fn write_json(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(in_one_line(&serde_json::to_string(self)?).as_bytes())
    }
}

/// In JSON line breaks stand between values only, where they are as good as spaces.
fn in_one_line(json: &str) -> String {
    json.replace(['\r', '\n'], " ")
}
