//! Messages and gaps, as every transport has them in JSON.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A message. JSON stays as it was published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
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
    pub(crate) after: String,
    pub(crate) next: String,
    pub(crate) why: String,
}

/// `null` is data, too.
fn even_null<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(json).map(Some)
}

impl Message {
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
