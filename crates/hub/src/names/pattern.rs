//! Patterns of channel names.

use std::fmt;
use std::str::FromStr;

use crate::{BadChannelName, ChannelName};

/// Which channels are meant: one by its name, or with `*` at the end all whose names begin so.
/// `*` alone is every channel; `chat:*` matches `chat:a` and `chat:`, and not `chat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The name, or what names begin with.
    text: Box<str>,
    is_prefix: bool,
}

/// The text is neither a channel's name nor the beginning of one with a `*` behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is a channel's name, the beginning of one and `*`, or `*`: {0}")]
pub struct BadPattern(BadChannelName);

impl From<BadChannelName> for BadPattern {
    fn from(error: BadChannelName) -> Self {
        Self(error)
    }
}

impl Pattern {
    /// Whether the channel is meant. Names are compared byte by byte.
    pub fn matches(&self, channel: &ChannelName) -> bool {
        let name = channel.as_str();
        if self.is_prefix { name.starts_with(&*self.text) } else { name == &*self.text }
    }

    /// Whether every channel that the other one means is meant.
    pub fn includes(&self, other: &Self) -> bool {
        match self.is_prefix {
            true => other.text.starts_with(&*self.text),
            false => self == other,
        }
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if !(is_prefix && name.is_empty()) {
            let _: ChannelName = name.parse()?;
        }
        Ok(Self { text: name.into(), is_prefix })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.is_prefix { f.write_str("*") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, channel: &str) -> bool {
        let pattern: Pattern = pattern.parse().unwrap();
        pattern.matches(&channel.parse().unwrap())
    }

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_names() {
        assert!(matches("chat", "chat"));
        assert!(!matches("chat", "chat:a") && !matches("chat", "Chat"));
        assert!(matches("chat:*", "chat:a") && matches("chat:*", "chat:"));
        assert!(!matches("chat:*", "chat"));
        assert!(matches("*", "anything"));
    }

    #[test]
    fn a_pattern_includes_those_that_mean_no_other_channel() {
        let includes = |one: &str, other: &str| {
            one.parse::<Pattern>().unwrap().includes(&other.parse().unwrap())
        };
        assert!(
            includes("*", "a") && includes("*", "*") && includes("a*", "a") && includes("a", "a")
        );
        assert!(includes("a*", "ab*") && includes("a*", "a*"));
        assert!(!includes("a", "a*") && !includes("ab*", "a*") && !includes("a", "b"));
    }

    #[test]
    fn anything_else_is_no_pattern() {
        for text in ["", "**", "a*b", "*a", ":*", "a b*", "chat/*"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
        for text in ["chat", "chat:*", "*"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
    }
}
