//! Ids of the node's own, by which JetStream recognises a publication without a key that is sent again.
//!
//! JetStream keeps each id for six minutes, in the memory of all servers that have the stream: some 120
//! bytes. So they are given to a bounded number of publications a second; what is beyond it is not sent
//! again when its answer is missing.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many a node gives in a second: with the six minutes some 20 MB on each server.
const A_SECOND: u32 = 500;
/// What they begin with. No other id does: those are digits of Base64.
const MARK: char = '.';

/// Gives ids of which no node gives the same.
#[derive(Debug)]
pub(crate) struct OwnIds {
    node: u64,
    given: Mutex<IdsGiven>,
}

#[derive(Debug)]
struct IdsGiven {
    next: u64,
    /// When this second has begun, and how many were given in it.
    second: Instant,
    count: u32,
}

impl OwnIds {
    pub(crate) fn random() -> Self {
        let given = IdsGiven { next: 0, second: Instant::now(), count: 0 };
        Self { node: sockeye_hub::backplane::NodeId::random().0, given: Mutex::new(given) }
    }

    /// One more, if this second has not had all.
    pub(crate) fn give(&self) -> Option<String> {
        self.give_at(Instant::now())
    }

    fn give_at(&self, now: Instant) -> Option<String> {
        // It is whole between any two statements.
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(given.second) >= Duration::from_secs(1) {
            (given.second, given.count) = (now, 0);
        }
        if given.count == A_SECOND {
            return None;
        }
        given.count += 1;
        given.next += 1;
        let mut id = String::with_capacity(28);
        // Writing to a string does not fail.
        let _ = write!(id, "{MARK}{:x}{MARK}{:x}", self.node, given.next);
        Some(id)
    }
}

/// Whether it is one of these, and not a publisher's key.
pub(crate) fn is_own(id: &str) -> bool {
    id.starts_with(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_and_no_second_gives_more_than_it_has() {
        let (ids, begin) = (OwnIds::random(), Instant::now());
        let mut given = std::collections::HashSet::new();
        for (after, count) in [(0, 500), (900, 0), (1_000, 500), (5_000, 500)] {
            let now = begin + Duration::from_millis(after);
            let before = given.len();
            given.extend((0..600).filter_map(|_| ids.give_at(now)));
            assert_eq!(given.len() - before, count, "after {after} ms");
        }
        assert!(given.iter().all(|id| is_own(id)));
        assert!(!is_own("Zq3-_kY"));
        assert_ne!(OwnIds::random().give(), OwnIds::random().give());
    }
}
