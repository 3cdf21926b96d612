//! What an application sends and receives: a text or a binary message.

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};

use bytes::{Bytes, BytesMut};

use crate::{InvalidUtf8, Text};

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
    /// are UTF-8, and what has arrived so far can be the beginning of that.
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

    /// Whether it is a text message.
    pub fn is_text(&self) -> bool {
        self.kind() == MessageKind::Text
    }

    /// Whether it is a binary message.
    pub fn is_binary(&self) -> bool {
        self.kind() == MessageKind::Binary
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

    /// The payload as text, without a copy: of a text message always, of a binary one if it is UTF-8.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub fn into_text(self) -> Result<Text, InvalidUtf8> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(bytes) => Text::try_from(bytes),
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
    /// A text message that is `value` in JSON.
    ///
    /// # Errors
    ///
    /// When JSON cannot represent `value`: a map whose keys are not strings, for example.
    pub fn from_json<T: serde::Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self::from)
    }

    /// The value of the message as JSON, text or binary. It may borrow from the message.
    ///
    /// # Errors
    ///
    /// When the payload is not JSON, or JSON of another shape.
    pub fn parse_json<'a, T: serde::Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(self.as_bytes())
    }
}

/// Messages of what a text is made from.
macro_rules! from_text {
    ($($text:ty),+) => {
        $(impl From<$text> for Message {
            fn from(text: $text) -> Self {
                Self::Text(text.into())
            }
        })+
    };
}

from_text!(Text, &str, &String, String, Box<str>, Cow<'_, str>);

/// Messages of what bytes are made from.
macro_rules! from_bytes {
    ($($bytes:ty),+) => {
        $(impl From<$bytes> for Message {
            fn from(bytes: $bytes) -> Self {
                Self::Binary(bytes.into())
            }
        })+
    };
}

from_bytes!(Bytes, BytesMut, Box<[u8]>, Vec<u8>);

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<&Vec<u8>> for Message {
    fn from(bytes: &Vec<u8>) -> Self {
        Self::from(&bytes[..])
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl<const N: usize> From<[u8; N]> for Message {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Cow<'_, [u8]>> for Message {
    fn from(bytes: Cow<'_, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Self::from(bytes),
            Cow::Owned(bytes) => Self::from(bytes),
        }
    }
}

impl From<Message> for Bytes {
    fn from(message: Message) -> Self {
        message.into_bytes()
    }
}

impl From<Message> for Vec<u8> {
    /// The payload, copied only if it is shared.
    fn from(message: Message) -> Self {
        message.into_bytes().into()
    }
}

impl TryFrom<Message> for Text {
    type Error = InvalidUtf8;

    /// As [`Message::into_text`].
    fn try_from(message: Message) -> Result<Self, InvalidUtf8> {
        message.into_text()
    }
}

impl TryFrom<Message> for String {
    type Error = InvalidUtf8;

    /// As [`Message::into_text`], copied only if it is shared.
    fn try_from(message: Message) -> Result<Self, InvalidUtf8> {
        message.into_text().map(Self::from)
    }
}
