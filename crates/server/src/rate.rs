//! The one rate limit: that of requests and invalid tokens ([`rate`](crate::limits::rate)), of
//! publications and commands ([`pace`](crate::limits::pace)), and of log lines ([`log`](crate::log)).
//!
//! It is the generic cell rate algorithm (ITU-T I.371). What is limited keeps one time: when all that
//! was counted is paid for. `docs/internals/dependencies.md` says why it is not the crate `governor`.

use std::time::Duration;

use tokio::time::Instant;

/// How often events may come, and how many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    each: Duration,
    /// How far ahead of the rate one may be.
    burst: Duration,
}

impl Rate {
    /// An event each `each`, and `burst` of them at once.
    pub(crate) const fn new(each: Duration, burst: u32) -> Self {
        Self { each, burst: each.saturating_mul(burst) }
    }

    /// That many per second, at least one, and twice as many at once.
    pub(crate) fn per_second(count: u32) -> Self {
        let count = count.max(1);
        let each = Duration::from_secs(1) / count;
        Self { each, burst: each * count * 2 }
    }

    /// When all are paid for that were at `until`, without one of them.
    pub(crate) fn without_one(self, until: Instant) -> Instant {
        until.checked_sub(self.each).unwrap_or(until)
    }

    /// Counts an event that comes `now`, after those that are paid for at `until`. Returns when all of them
    /// are, and for how long this one is too early: nothing within the rate and its burst.
    pub(crate) fn count(self, until: Option<Instant>, now: Instant) -> (Instant, Duration) {
        let until = until.map_or(now, |until| until.max(now)) + self.each;
        (until, (until - now).saturating_sub(self.burst))
    }
}
