//! The names of events: valid by construction.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of an event: 1 to 64 visible ASCII characters (`!` to `~`), and none of the reserved
/// `message`, `gap`, `binary`, `open`, `error`, which mean something on the wire already.
///
/// Cloning is cheap: clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName(Arc<str>);

impl EventName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Names with a meaning of their own on one transport or another.
    pub const RESERVED: [&'static str; 5] = ["message", "gap", "binary", "open", "error"];

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventName {
    type Err = BadEventName;

    fn from_str(name: &str) -> Result<Self, BadEventName> {
        if name.is_empty() {
            return Err(BadEventName::Empty);
        }
        if name.len() > Self::MAX_LEN {
            return Err(BadEventName::TooLong);
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadEventName::Character);
        }
        if Self::RESERVED.contains(&name) {
            return Err(BadEventName::Reserved);
        }
        Ok(Self(name.into()))
    }
}

/// Why a text is no [`EventName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEventName {
    /// It holds a space, a control character or something outside ASCII.
    #[error("an event's name has only visible ASCII characters")]
    Character,
    /// There is nothing.
    #[error("an event's name is not empty")]
    Empty,
    /// It is one of [`EventName::RESERVED`].
    #[error("the event names `message`, `gap`, `binary`, `open` and `error` are reserved")]
    Reserved,
    /// It is longer than [`EventName::MAX_LEN`].
    #[error("an event's name has at most 64 characters")]
    TooLong,
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for EventName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_name_is_visible_ascii() {
        let longest = "~".repeat(64);
        for name in ["x", "user-joined", "a:b/c", "!", "Message", "gaps", &longest] {
            let parsed: EventName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(parsed.as_str(), name);
        }
    }

    #[test]
    fn an_event_name_says_what_is_wrong_with_it() {
        use BadEventName::*;
        let too_long = "e".repeat(65);
        let mut cases = vec![("", Empty), (too_long.as_str(), TooLong)];
        cases.extend(["a b", "a\r", "a\n", "\0", "\x7f", "é"].map(|name| (name, Character)));
        cases.extend(["message", "gap", "binary", "open", "error"].map(|name| (name, Reserved)));
        for (name, error) in cases {
            assert_eq!(name.parse::<EventName>(), Err(error), "{name:?}");
        }
    }
}
