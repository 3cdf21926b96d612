//! Where a reader begins: every form of `after`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Position;

/// Where a reader begins. [`FromStr`] reads every form of `after`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// `k3f9.1187`: just behind that position. The only start that can begin with a gap.
    After(Position),
    /// `earliest`: the oldest entry still kept.
    Earliest,
    /// `-50`: the last fifty entries, or as many as there are.
    Last(u64),
    /// `now`: what is published from here on.
    #[default]
    Now,
    /// `10m`: the entries of the last ten minutes that are still kept. Units are `ms`, `s`, `m`,
    /// `h` and `d`; a span is counted, and written, in whole milliseconds.
    Since(Duration),
}

/// The text is no [`Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`after` is a position such as `k3f9.1187`, `earliest`, `now`, `-50` or `10m`")]
pub struct BadStart;

/// The units of time with their milliseconds, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Start {
    type Err = BadStart;

    fn from_str(text: &str) -> Result<Self, BadStart> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "now" => return Ok(Self::Now),
            _ => {}
        }
        if let Ok(position) = text.parse() {
            return Ok(Self::After(position));
        }
        if let Some(count) = text.strip_prefix('-') {
            return parse_digits(count).map(Self::Last);
        }
        parse_span(text).map(Self::Since)
    }
}

fn parse_span(text: &str) -> Result<Duration, BadStart> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(BadStart)?;
    let span = parse_digits(digits)?.checked_mul(*millis).ok_or(BadStart)?;
    Ok(Duration::from_millis(span))
}

/// Digits and nothing else: `u64::from_str` alone would let a `+` pass.
fn parse_digits(text: &str) -> Result<u64, BadStart> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadStart);
    }
    text.parse().map_err(|_| BadStart)
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(position) => position.fmt(f),
            Self::Earliest => f.write_str("earliest"),
            Self::Last(count) => write!(f, "-{count}"),
            Self::Now => f.write_str("now"),
            Self::Since(span) => {
                let millis = span.as_millis();
                let exact = |unit: &&(&str, u64)| millis.is_multiple_of(u128::from(unit.1));
                // Zero is a multiple of every unit, and `0s` reads better than `0d`.
                let (unit, size) = match UNITS.iter().find(exact) {
                    Some(unit) if millis > 0 => *unit,
                    _ if millis == 0 => ("s", 1_000),
                    _ => ("ms", 1),
                };
                write!(f, "{}{unit}", millis / u128::from(size))
            }
        }
    }
}
