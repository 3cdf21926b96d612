//! Positions: where in a channel's log something is.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

/// A place in a channel's log, written `<epoch>.<offset>`: `k3f9.1187`.
///
/// A position names the entry with its offset, or, as a place to read on from, the seam just
/// behind that entry; offset 0 is the seam before the first entry. Positions of one epoch compare;
/// those of different epochs do not (`partial_cmp` gives `None`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which life of the log this belongs to.
    pub epoch: Epoch,
    /// The number of the entry in its channel. Offsets of a channel rise by one.
    pub offset: u64,
}

/// One life of a log, from one loss of data to the next. In memory that is one run of the hub.
///
/// Written in base 36 (`0-9 a-z`), 1 to 12 digits, the first of which is not `0`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

/// The text is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is `<epoch>.<offset>`, such as `k3f9.1187`")]
pub struct BadPosition;

/// Base 36 fits twelve digits into 62 bits.
const MAX_DIGITS: usize = 12;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl Epoch {
    /// A random epoch of six digits: one restart in two thousand million repeats the one before.
    pub fn random() -> Self {
        const LEAST: u64 = 36_u64.pow(5);
        const MOST: u64 = 36_u64.pow(6);
        // The standard hasher is keyed by the operating system's random source. That is random
        // enough for a number which must differ and need not be secret.
        let random = RandomState::new().hash_one(std::time::SystemTime::now());
        Self(LEAST + random % (MOST - LEAST))
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (epoch, offset) = text.split_once('.').ok_or(BadPosition)?;
        Ok(Self { epoch: epoch.parse()?, offset: parse_decimal(offset).ok_or(BadPosition)? })
    }
}

impl FromStr for Epoch {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        if text.is_empty() || text.len() > MAX_DIGITS || text.starts_with('0') {
            return Err(BadPosition);
        }
        text.bytes()
            .try_fold(0_u64, |value, byte| {
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'z' => byte - b'a' + 10,
                    _ => return Err(BadPosition),
                };
                Ok(value * 36 + u64::from(digit))
            })
            .map(Self)
    }
}

/// Reads digits, and only digits, in the one way that is written back the same: `+7` and `07` are
/// no numbers here, so two texts never mean one position.
fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text == "0" || !text.starts_with('0');
    if plain && shortest { text.parse().ok() } else { None }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.offset)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; 13];
        let (mut rest, mut begin) = (self.0, digits.len());
        while rest > 0 {
            begin -= 1;
            digits[begin] = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        digits[begin..].iter().try_for_each(|&digit| fmt::Write::write_char(f, char::from(digit)))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.epoch == other.epoch).then(|| self.offset.cmp(&other.offset))
    }
}
