//! What is sent and received: text, bytes or a blob.

use std::fmt;

use bytes::Bytes;
use sockeye_proto::{Message, Text};

use super::Blob;
/// The data of a message.
#[derive(Debug, Clone)]
pub enum Data {
    /// Bytes, as an `ArrayBuffer` has them.
    ArrayBuffer(Bytes),
    /// A blob.
    Blob(Blob),
    /// Text.
    Text(Text),
}

/// As what binary messages arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BinaryType {
    /// As [`Data::ArrayBuffer`].
    ArrayBuffer,
    /// As [`Data::Blob`].
    #[default]
    Blob,
}

impl Data {
    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::ArrayBuffer(_) | Self::Blob(_) => None,
        }
    }

    /// The bytes, if it is an `ArrayBuffer`.
    pub fn as_array_buffer(&self) -> Option<&Bytes> {
        match self {
            Self::ArrayBuffer(bytes) => Some(bytes),
            Self::Blob(_) | Self::Text(_) => None,
        }
    }

    /// The blob, if it is one.
    pub fn as_blob(&self) -> Option<&Blob> {
        match self {
            Self::Blob(blob) => Some(blob),
            Self::ArrayBuffer(_) | Self::Text(_) => None,
        }
    }

    /// How many bytes it has; of a text, those of its UTF-8.
    pub fn size(&self) -> u64 {
        match self {
            Self::ArrayBuffer(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.size(),
            Self::Text(text) => text.len() as u64,
        }
    }

    /// A message received, in the form asked for.
    pub(super) fn received(message: Message, binary_type: BinaryType) -> Self {
        match (message, binary_type) {
            (Message::Text(text), _) => Self::Text(text),
            (Message::Binary(bytes), BinaryType::ArrayBuffer) => Self::ArrayBuffer(bytes),
            (Message::Binary(bytes), BinaryType::Blob) => Self::Blob(Blob::new(bytes)),
        }
    }
}

/// The text; of anything else, what a script would see of it.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArrayBuffer(_) => f.write_str("[object ArrayBuffer]"),
            Self::Blob(_) => f.write_str("[object Blob]"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl PartialEq<str> for Data {
    fn eq(&self, text: &str) -> bool {
        self.as_text() == Some(text)
    }
}

impl PartialEq<&str> for Data {
    fn eq(&self, text: &&str) -> bool {
        self.as_text() == Some(text)
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Text> for Data {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Self::ArrayBuffer(bytes)
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self::ArrayBuffer(bytes.into())
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Self {
        Self::ArrayBuffer(Bytes::copy_from_slice(bytes))
    }
}

impl From<Blob> for Data {
    fn from(blob: Blob) -> Self {
        Self::Blob(blob)
    }
}
