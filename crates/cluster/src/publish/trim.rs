//! Keeps what a channel has in its stream near the bytes that are shown of it: JetStream bounds a
//! subject by count and age alone.

use std::collections::HashMap;

/// How many channels are counted; beyond it counting begins anew, and they keep more for once.
const MAX_COUNTED: usize = 10_000;

/// What this node has published on each subject.
#[derive(Debug)]
pub(crate) struct Trim {
    limit: u64,
    counted: HashMap<String, Counted>,
}

/// The bytes of a subject from a message on.
#[derive(Debug)]
struct Counted {
    since: u64,
    bytes: u64,
}

impl Trim {
    /// Of each channel more than `limit` bytes stay.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, counted: HashMap::new() }
    }

    /// A message is stored. Gives the sequence before which its subject can be purged, if there is
    /// enough behind it: strictly more than is shown, so that a message that is not shown still tells
    /// that others have gone.
    pub(crate) fn stored(&mut self, subject: &str, seq: u64, charge: u64) -> Option<u64> {
        if !self.counted.contains_key(subject) {
            if self.counted.len() >= MAX_COUNTED {
                self.counted.clear();
            }
            self.counted.insert(subject.to_owned(), Counted { since: seq, bytes: 0 });
        }
        let counted = self.counted.get_mut(subject)?;
        counted.bytes = counted.bytes.saturating_add(charge);
        if counted.bytes <= self.limit {
            return None;
        }
        let before = counted.since;
        (counted.since, counted.bytes) = (seq + 1, 0);
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_is_shown_always_stays() {
        let mut trim = Trim::new(100);
        let mut kept = Vec::new();
        for seq in 1..=200 {
            kept.push(seq);
            if let Some(before) = trim.stored("a", seq, 9) {
                kept.retain(|seq| *seq >= before);
                assert!(kept.len() * 9 > 100, "{} stay", kept.len());
            }
            assert!(kept.len() * 9 <= 220, "{} are kept", kept.len());
        }
    }

    #[test]
    fn channels_are_counted_apart_and_boundedly() {
        let mut trim = Trim::new(10);
        for channel in 0..3 * MAX_COUNTED as u64 {
            assert_eq!(trim.stored(&channel.to_string(), channel, 1), None);
            assert!(trim.counted.len() <= MAX_COUNTED);
        }
    }
}
