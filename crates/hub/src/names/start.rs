//! Where a reader begins: every form of `after`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Position;

/// Where a reader begins. [`FromStr`] reads every form of `after`, which is all but
/// [`Foreign`](Self::Foreign).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// `k3f9.1187`: just behind that position. If entries are missing there, the reader begins with
    /// a gap.
    After(Position),
    /// `earliest`: the oldest entry still kept.
    Earliest,
    /// `-50`: the last fifty entries, or as many as there are.
    Last(u64),
    /// `now`: what is published from here on.
    #[default]
    Now,
    /// Where another log has stopped, of which nothing is known here: a gap
    /// [`Reset`](crate::GapReason::Reset), then the oldest entry kept. Written `foreign`, which is not read.
    Foreign,
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
            Self::Foreign => f.write_str("foreign"),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn after_takes_every_form_of_the_interface() {
        let cases = [
            ("k3f9.1187", Start::After("k3f9.1187".parse().unwrap())),
            ("earliest", Start::Earliest),
            ("now", Start::Now),
            ("-50", Start::Last(50)),
            ("-0", Start::Last(0)),
            ("500ms", Start::Since(Duration::from_millis(500))),
            ("30s", Start::Since(Duration::from_secs(30))),
            ("10m", Start::Since(Duration::from_mins(10))),
            ("2h", Start::Since(Duration::from_hours(2))),
            ("7d", Start::Since(Duration::from_hours(7 * 24))),
            ("0s", Start::Since(Duration::ZERO)),
        ];
        for (text, start) in cases {
            assert_eq!(text.parse(), Ok(start), "{text}");
            assert_eq!(start.to_string(), text);
        }
    }

    #[test]
    fn one_span_of_time_may_be_written_in_several_units() {
        assert_eq!("60s".parse::<Start>(), "1m".parse());
        assert_eq!("1m".parse::<Start>().unwrap().to_string(), "1m");
        assert_eq!(Start::Since(Duration::from_secs(90)).to_string(), "90s");
    }

    #[test]
    fn anything_else_is_no_place_to_start() {
        for text in [
            "",
            " ",
            "Now",
            "EARLIEST",
            "latest",
            "50",
            "+50",
            "-",
            "--5",
            "-+5",
            "-5m",
            "- 5",
            "m",
            "10",
            "10 m",
            "10min",
            "10M",
            "1.5h",
            "+1h",
            "1h30m",
            "10µs",
            "k3f9",
            "k3f9.x",
            "k3f9.",
            "18446744073709551616ms",
            "18446744073709551615d",
            "-18446744073709551616",
        ] {
            assert_eq!(text.parse::<Start>(), Err(BadStart), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_start_round_trips(
            start in prop_oneof![
                any::<u64>().prop_map(Start::Last),
                any::<u64>().prop_map(|millis| Start::Since(Duration::from_millis(millis))),
                ("[1-9a-z][0-9a-z]{0,11}", any::<u64>()).prop_map(|(epoch, offset)| {
                    Start::After(format!("{epoch}.{offset}").parse().unwrap())
                }),
            ]
        ) {
            prop_assert_eq!(start.to_string().parse(), Ok(start));
        }

        #[test]
        fn any_text_is_a_start_or_an_error(text in "\\PC{0,20}|[-+0-9a-z.]{0,12}") {
            let _: Result<Start, BadStart> = text.parse();
        }
    }
}
