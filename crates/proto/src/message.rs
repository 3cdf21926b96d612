//! What an application sends and receives: a text or a binary message.

use bytes::Bytes;

use crate::Text;

/// Whether a message is text or binary (RFC 6455 §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// A piece of a message, where [parts](crate::Connection::receive_parts) were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whether the message is text or binary.
    pub kind: MessageKind,
    /// The next bytes of the message. Those of a text may end inside a character; all of them together
    /// are UTF-8, and what has come so far can be the beginning of that.
    pub payload: Bytes,
    /// Whether the message is complete with this part, which may be empty. No other is.
    pub last: bool,
}

/// Whether a message is to be compressed, where permessage-deflate was agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// It is: a whole message if that makes it smaller, a message in fragments always.
    #[default]
    On,
    /// It goes as it is. So must a secret that goes together with what an attacker may choose: the
    /// length tells how well a guess of the secret fits (RFC 7692 §8).
    Off,
}

/// Where a fragment stands in its message (RFC 6455 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// Others follow.
    More,
    /// It ends the message.
    Last,
}

impl Fragment {
    /// Whether it ends the message.
    pub fn is_last(self) -> bool {
        self == Self::Last
    }
}

/// One whole message.
///
/// Cloning shares the payload; nothing is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Whether it is text or binary.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The text, if it is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload, of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload, of either kind, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// JSON (feature `json`).
#[cfg(feature = "json")]
impl Message {
    /// A text message that says `value` in JSON.
    ///
    /// # Errors
    ///
    /// When `value` cannot be said in JSON: a map whose keys are no strings, say.
    pub fn from_json<T: serde::Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self::from)
    }

    /// The value that the message says in JSON, be it text or binary. It may borrow from the message.
    ///
    /// # Errors
    ///
    /// When the payload is not JSON, or JSON of another shape.
    pub fn parse_json<'a, T: serde::Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(self.as_bytes())
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}
