//! What is published: text that says which message it is and when it was meant to be published.

use std::time::Duration;

/// The hexadecimal digits at the beginning: twelve of nanoseconds, eight of a number.
pub(super) const STAMP: usize = 20;

/// What a message says at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// When it was meant to be published, after the epoch of the run.
    pub(super) intended: Duration,
    /// Its number, from 0.
    pub(super) number: u32,
}

impl Stamp {
    /// The message, of `size` bytes, which are [`STAMP`] at least.
    pub(super) fn message(self, size: usize) -> String {
        let Self { intended, number } = self;
        let padding = "x".repeat(size.saturating_sub(STAMP));
        format!("{:012x}{number:08x}{padding}", intended.as_nanos())
    }

    /// What a payload says, if it is one of our messages.
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        let (nanos, number) = str::from_utf8(payload.get(..STAMP)?).ok()?.split_at(12);
        let nanos = u64::from_str_radix(nanos, 16).ok()?;
        let number = u32::from_str_radix(number, 16).ok()?;
        Some(Self { intended: Duration::from_nanos(nanos), number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_when_it_was_meant_to_go() {
        let stamp = Stamp { intended: Duration::from_secs(86_400), number: u32::MAX };
        for size in [STAMP, 128, 1 << 20] {
            let message = stamp.message(size);
            assert_eq!(message.len(), size);
            assert_eq!(Stamp::of(message.as_bytes()), Some(stamp));
        }
    }

    #[test]
    fn other_texts_are_not_a_stamp() {
        for other in ["", "hello", "0123456789abcdef012", "what another program has published"] {
            assert_eq!(Stamp::of(other.as_bytes()), None, "{other}");
        }
    }
}
