//! Positions, `<epoch>.<offset>`: the same on every transport.

use std::{fmt, ops::Deref, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest position, in bytes: what a client goes on from is sent back to the server.
pub const MAX_POSITION: usize = 255;

/// A position in the log of a channel, `k3f9.1187`: an epoch and an offset.
///
/// Offsets of a channel rise. The epoch changes only when the server has lost data, and positions of different
/// epochs cannot be compared. Keep the position of the last message, and
/// [subscribe after it](crate::Subscription::after) another day. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position(Arc<str>);

/// Text that is not a [`Position`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: one is an epoch, a dot and an offset, such as k3f9.1187")]
pub struct InvalidPosition(());

impl Position {
    /// The epoch: the name of one life of the log's numbering.
    pub fn epoch(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(epoch, _)| epoch)
    }

    /// The offset: the number of the entry in its epoch.
    pub fn offset(&self) -> u64 {
        self.0.rsplit_once('.').and_then(|(_, offset)| offset.parse().ok()).unwrap_or_default()
    }

    /// Whether this is another epoch than that of `other`, or behind it: what comes there is news.
    pub(crate) fn is_past(&self, other: &Self) -> bool {
        self.epoch() != other.epoch() || self.offset() > other.offset()
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, offset) = text.rsplit_once('.').ok_or(InvalidPosition(()))?;
        let is_word =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_number =
            offset.bytes().all(|byte| byte.is_ascii_digit()) && offset.parse::<u64>().is_ok();
        match is_word(epoch) && is_number && text.len() <= MAX_POSITION {
            true => Ok(Self(text.into())),
            false => Err(InvalidPosition(())),
        }
    }
}

impl Deref for Position {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_an_epoch_and_an_offset() {
        let position: Position = "k3f9.1187".parse().unwrap();
        assert_eq!((position.epoch(), position.offset()), ("k3f9", 1187));
        assert_eq!(position.to_string(), "k3f9.1187");
        let long = format!("{}.1", "k".repeat(MAX_POSITION));
        for wrong in
            ["", "k", "k.", ".1", "k.-1", "k.+1", "k. 1", "k\n.1", "k.99999999999999999999", &long]
        {
            assert!(wrong.parse::<Position>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn past_is_a_greater_offset_or_another_epoch() {
        let past = |one: &str, other: &str| {
            one.parse::<Position>().unwrap().is_past(&other.parse().unwrap())
        };
        assert!(past("k.10", "k.9") && past("m.1", "k.9"));
        assert!(!past("k.9", "k.9") && !past("k.9", "k.10"));
    }
}
