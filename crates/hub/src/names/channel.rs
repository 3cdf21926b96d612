//! The names of channels: valid by construction.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a channel: 1 to 255 bytes of `A-Z a-z 0-9 _ - . : ~ @`, beginning with a letter or
/// digit.
///
/// None of these bytes needs escaping in a path segment of a URL. Cloning is cheap: clones share
/// the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 255;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = BadChannelName;

    fn from_str(name: &str) -> Result<Self, BadChannelName> {
        let Some(first) = name.bytes().next() else {
            return Err(BadChannelName::Empty);
        };
        if name.len() > Self::MAX_LEN {
            return Err(BadChannelName::TooLong);
        }
        if !first.is_ascii_alphanumeric() {
            return Err(BadChannelName::Beginning);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:~@".contains(&byte);
        if !name.bytes().all(allowed) {
            return Err(BadChannelName::Character);
        }
        Ok(Self(name.into()))
    }
}

/// Why a text is no [`ChannelName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChannelName {
    /// It begins with something that is allowed further on only, or not at all.
    #[error("a channel's name begins with a letter of a-z or A-Z, or a digit")]
    Beginning,
    /// It holds a character that is not allowed.
    #[error("a channel's name has only letters, digits and `_ - . : ~ @`")]
    Character,
    /// There is nothing.
    #[error("a channel's name is not empty")]
    Empty,
    /// It is longer than [`ChannelName::MAX_LEN`].
    #[error("a channel's name has at most 255 characters")]
    TooLong,
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for ChannelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

// `Hash`, `Eq` and `Ord` of the name are those of its text, as `Borrow` demands.
impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_name_is_letters_digits_and_some_signs() {
        let longest = "c".repeat(255);
        for name in ["a", "7", "chat", "Room.42", "a_-.:~@Z", "user:ann@example", &longest] {
            let parsed: ChannelName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(parsed.as_str(), name);
        }
    }

    #[test]
    fn a_channel_name_says_what_is_wrong_with_it() {
        use BadChannelName::*;
        let too_long = "c".repeat(256);
        let cases = [
            ("", Empty),
            (too_long.as_str(), TooLong),
            ("_chat", Beginning),
            (".", Beginning),
            ("..", Beginning),
            ("@ann", Beginning),
            ("ü", Beginning),
            ("chät", Character),
            ("a b", Character),
            ("a/b", Character),
            ("a%2Fb", Character),
            ("a\0", Character),
            ("a*", Character),
        ];
        for (name, error) in cases {
            assert_eq!(name.parse::<ChannelName>(), Err(error), "{name:?}");
        }
    }
}
