//! The transports that may be used, and when.

use std::time::Duration;

use crate::{Transport, platform::Instant};

/// An attempt that is cut this soon after it first delivered shows that its transport does not work here.
pub(super) const FLAPPING: Duration = Duration::from_secs(5);
/// How long a transport that failed is left alone: at first, if it has worked before, at most.
const FIRST_AGAIN_AFTER: Duration = Duration::from_secs(60);
const KNOWN_AGAIN_AFTER: Duration = Duration::from_secs(3);
const LAST_AGAIN_AFTER: Duration = Duration::from_secs(900);

/// The transports that may be used, the best first.
#[derive(Debug)]
pub(super) struct Candidates(Vec<Candidate>);

#[derive(Debug)]
struct Candidate {
    transport: Transport,
    /// When it may be tried again, if it has failed.
    blocked_until: Option<Instant>,
    /// For how long it is left alone when it fails next.
    penalty: Duration,
}

impl Candidates {
    pub(super) fn new(transports: &[Transport]) -> Self {
        let candidate = |transport: &Transport| Candidate {
            transport: *transport,
            blocked_until: None,
            penalty: FIRST_AGAIN_AFTER,
        };
        Self(transports.iter().map(candidate).collect())
    }

    pub(super) fn transport(&self, rank: usize) -> Transport {
        self.0[rank].transport
    }

    /// The best one that may be tried.
    pub(super) fn best(&self, now: Instant) -> Option<usize> {
        self.0.iter().position(|candidate| candidate.blocked_until.is_none_or(|until| until <= now))
    }

    /// When a better one than this may be tried.
    pub(super) fn better_at(&self, rank: usize, now: Instant) -> Option<Instant> {
        self.0[..rank].iter().map(|candidate| candidate.blocked_until.unwrap_or(now)).min()
    }

    /// It has lasted: it may be tried again soon after it fails.
    pub(super) fn known(&mut self, rank: usize) {
        self.0[rank].penalty = KNOWN_AGAIN_AFTER;
    }

    /// It does not work: it is left alone for a while.
    pub(super) fn block(&mut self, rank: usize, now: Instant) {
        let candidate = &mut self.0[rank];
        let half = candidate.penalty / 2;
        candidate.blocked_until = Some(now + half + crate::random::up_to(half));
        candidate.penalty = (candidate.penalty * 2).min(LAST_AGAIN_AFTER);
    }

    /// None works, so it is not the transports: all may be tried.
    pub(super) fn unblock(&mut self) {
        for candidate in &mut self.0 {
            candidate.blocked_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_transport_that_failed_is_left_alone_longer_each_time_unless_it_is_known_to_work() {
        let mut candidates = Candidates::new(&Transport::DEFAULT);
        let now = Instant::now();
        assert_eq!((candidates.best(now), candidates.better_at(0, now)), (Some(0), None));
        let mut bounds = Vec::new();
        for _ in 0..6 {
            candidates.block(0, now);
            assert_eq!(candidates.best(now), Some(1));
            bounds.push((candidates.better_at(1, now).unwrap() - now).as_secs_f64());
        }
        for (bound, most) in bounds.iter().zip([60.0, 120.0, 240.0, 480.0, 900.0, 900.0]) {
            assert!((most / 2.0..=most).contains(bound), "{bounds:?}");
        }
        candidates.known(0);
        candidates.block(0, now);
        assert!(candidates.better_at(1, now).unwrap() - now <= KNOWN_AGAIN_AFTER);
        candidates.unblock();
        assert_eq!(candidates.best(now), Some(0));
    }
}
