//! Pieces of JSON text, for what is written by hand.

use std::borrow::Cow;
use std::fmt::Display;

/// JSON has line breaks between values only, where a space means the same.
pub(crate) fn in_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\r', '\n']) { json.replace(['\r', '\n'], " ").into() } else { json.into() }
}

/// The text as a JSON string.
pub(crate) fn quoted(text: &str) -> impl Display + '_ {
    serde_json::Value::from(text)
}
