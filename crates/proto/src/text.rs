//! UTF-8 text in shared bytes.
//!
//! The bytes of a [`Text`] are UTF-8: each place that makes one says why. So a text that was checked while it
//! arrived is not checked again each time it is read.

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};
use core::{
    borrow::Borrow,
    convert::Infallible,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    str::{self, FromStr},
};

use bytes::{Bytes, BytesMut};

/// UTF-8 text in shared bytes: a `String` that clones without a copy.
// `Default` is the empty text, which is UTF-8.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(
    /// Always UTF-8.
    Bytes,
);

/// The bytes are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not UTF-8")]
pub struct InvalidUtf8;

impl Text {
    /// A text that is part of the program: nothing is copied or allocated.
    pub const fn from_static(text: &'static str) -> Self {
        // A `str` is UTF-8.
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The text as a string slice.
    #[expect(unsafe_code, reason = "the bytes were checked when the text was made")]
    pub fn as_str(&self) -> &str {
        // SAFETY: the bytes of a `Text` are UTF-8: the field is private to this module, every constructor
        // here says why its bytes are, and `Bytes` never change.
        unsafe { str::from_utf8_unchecked(&self.0) }
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text's bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Wraps bytes that a [`Utf8Validator`](crate::utf8::Utf8Validator) has accepted to their end. The
    /// caller vouches for that: it is checked in debug builds only.
    pub(crate) fn from_validated(bytes: Bytes) -> Self {
        debug_assert!(str::from_utf8(&bytes).is_ok());
        Self(bytes)
    }
}

impl TryFrom<Bytes> for Text {
    type Error = InvalidUtf8;

    fn try_from(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        match simdutf8::basic::from_utf8(&bytes) {
            // Just checked.
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(InvalidUtf8),
        }
    }
}

impl TryFrom<Vec<u8>> for Text {
    type Error = InvalidUtf8;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidUtf8> {
        Bytes::from(bytes).try_into()
    }
}

impl TryFrom<BytesMut> for Text {
    type Error = InvalidUtf8;

    fn try_from(bytes: BytesMut) -> Result<Self, InvalidUtf8> {
        bytes.freeze().try_into()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        // A `str` is UTF-8.
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        // A `String` is UTF-8.
        Self(text.into())
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Self {
        text.into_string().into()
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl FromStr for Text {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl From<Text> for String {
    /// Copied only if it is shared.
    fn from(text: Text) -> Self {
        Self::from_utf8(text.0.into()).expect("the bytes of a text are UTF-8")
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        other == self
    }
}

impl PartialEq<Text> for &str {
    fn eq(&self, other: &Text) -> bool {
        other == *self
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        other == self.as_str()
    }
}

impl Hash for Text {
    /// As a `str`, for which it stands in a map.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// From and to formats of serde (feature `serde`): a string.
#[cfg(feature = "serde")]
mod formats {
    use core::fmt;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::{String, Text};

    impl Serialize for Text {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_string(Visitor)
        }
    }

    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = Text;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
            Ok(text.into())
        }

        fn visit_string<E: de::Error>(self, text: String) -> Result<Text, E> {
            Ok(text.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use bytes::Buf;
    use proptest::prelude::*;

    use super::*;
    use crate::{Config, Connection, Event, Fragment, Message, MessageKind};

    /// Bytes that are often UTF-8, and often almost.
    fn almost_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<char>().prop_map(|char| String::from(char).into_bytes()),
            1 => any::<char>().prop_map(|char| {
                let mut bytes = String::from(char).into_bytes();
                bytes.pop();
                bytes
            }),
            1 => prop::collection::vec(any::<u8>(), 0..3),
        ];
        prop_oneof![
            any::<String>().prop_map(String::into_bytes),
            prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        ]
    }

    /// The text that a server receives when these bytes are sent in fragments of these sizes, and arrive
    /// in pieces of those.
    fn received(bytes: &[u8], fragments: &[usize], pieces: &[usize]) -> Option<Text> {
        let now = Duration::ZERO;
        let mut client = Connection::client(Config::default(), Box::new(|| [7, 1, 8, 2]), now);
        let mut server = Connection::server(Config::default(), now);
        let mut rest = bytes;
        for size in fragments {
            let fragment;
            (fragment, rest) = rest.split_at((*size).min(rest.len()));
            let fragment = Bytes::copy_from_slice(fragment);
            client.send_fragment(MessageKind::Text, fragment, Fragment::More).unwrap();
        }
        client
            .send_fragment(MessageKind::Text, Bytes::copy_from_slice(rest), Fragment::Last)
            .unwrap();
        let outbox = client.transmit();
        let sent = outbox.copy_to_bytes(outbox.remaining());
        let (mut sent, mut input) = (&sent[..], BytesMut::new());
        for size in pieces.iter().copied().chain([usize::MAX]) {
            let piece;
            (piece, sent) = sent.split_at(size.min(sent.len()));
            input.extend_from_slice(piece);
            match server.poll_event(&mut input, now) {
                Some(Event::Message(Message::Text(text))) => return Some(text),
                Some(_) => return None,
                None => {}
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_text_is_utf8_however_it_is_made(
            bytes in almost_text(),
            fragments in prop::collection::vec(0..9usize, 0..5),
            pieces in prop::collection::vec(0..9usize, 0..9),
        ) {
            let checked = str::from_utf8(&bytes).ok();
            let texts = [
                Text::try_from(Bytes::copy_from_slice(&bytes)).ok(),
                Text::try_from(bytes.clone()).ok(),
                Text::try_from(BytesMut::from(&bytes[..])).ok(),
                received(&bytes, &fragments, &pieces),
            ];
            for text in texts {
                prop_assert_eq!(text.as_ref().map(|text| str::from_utf8(text.as_bytes())), checked.map(Ok));
                prop_assert_eq!(text.as_ref().map(Text::as_str), checked);
            }
            if let Some(checked) = checked {
                let texts = [
                    Text::from(checked),
                    Text::from(String::from(checked)),
                    Text::from(&String::from(checked)),
                    Text::from(Box::<str>::from(checked)),
                    Text::from(Cow::Borrowed(checked)),
                    Text::from(Cow::<str>::Owned(checked.into())),
                ];
                for text in texts {
                    prop_assert_eq!(str::from_utf8(text.as_bytes()), Ok(checked));
                    prop_assert_eq!(String::from(text), checked);
                }
            }
        }
    }
}
