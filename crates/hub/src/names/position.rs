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
    /// The number of the entry in its channel. Offsets of a channel rise: by one where the hub gives
    /// them, with holes where a backplane does.
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

    /// The epoch with that number, of which 36^12 are different; 0 is taken for 1.
    pub fn of_number(number: u64) -> Self {
        Self((number % 36_u64.pow(MAX_DIGITS as u32)).max(1))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn a_position_is_written_as_it_was_read() {
        let most = format!("zzzzzzzzzzzz.{}", u64::MAX);
        for text in ["k3f9.1187", "1.0", "a.1", &most] {
            assert_eq!(position(text).to_string(), text);
        }
    }

    #[test]
    fn two_texts_never_mean_one_position() {
        let too_much = "k3f9.18446744073709551616";
        for text in [
            "",
            ".",
            "k3f9",
            "k3f9.",
            ".7",
            "k3f9.-1",
            "k3f9.+1",
            "k3f9.01",
            "k3f9.00",
            "k3f9.1.2",
            "k3f9. 1",
            " k3f9.1",
            "K3F9.1",
            "0k.1",
            "0.1",
            "k_3.1",
            "ü.1",
            "zzzzzzzzzzzzz.1",
            too_much,
        ] {
            assert_eq!(text.parse::<Position>(), Err(BadPosition), "{text:?}");
        }
    }

    #[test]
    fn positions_compare_within_one_epoch_only() {
        assert!(position("k3f9.9") < position("k3f9.10"));
        assert_eq!(position("k3f9.9").partial_cmp(&position("k3f8.10")), None);
    }

    #[test]
    fn each_epoch_is_another() {
        let epochs: std::collections::HashSet<_> = (0..100).map(|_| Epoch::random()).collect();
        assert_eq!(epochs.len(), 100);
        assert!(epochs.iter().all(|epoch| epoch.to_string().len() == 6));
    }

    proptest! {
        #[test]
        fn any_position_round_trips(epoch in "[1-9a-z][0-9a-z]{0,11}", offset: u64) {
            let text = format!("{epoch}.{offset}");
            let parsed: Position = text.parse().unwrap();
            prop_assert_eq!(parsed.offset, offset);
            prop_assert_eq!(parsed.to_string(), text);
        }

        #[test]
        fn any_text_is_a_position_or_an_error(text in "\\PC{0,30}|[0-9a-z.+-]{0,20}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
