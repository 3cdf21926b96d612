//! When to connect again.

use std::time::Duration;

use crate::random;

/// The longest that a server's own wish to be left alone is heeded.
const LONGEST_HINT: Duration = Duration::from_secs(300);

/// How long to wait before each attempt: a random time between nothing and a bound that doubles with
/// each failure ("full jitter"), so that clients which a server has lost in one instant do not come back
/// in one (RFC 6455 §7.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The bound after the first failure. Default 0.5 s.
    pub base: Duration,
    /// The highest bound. Default 20 s.
    pub cap: Duration,
    /// A connection that was open for this long makes the failures before it forgotten. Default 60 s.
    pub stable_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
            stable_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// Sets [`base`](Self::base).
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets [`cap`](Self::cap).
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets [`stable_after`](Self::stable_after).
    pub fn stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time;
        self
    }

    /// How long to wait after that many failures in a row, the last one counted: at least as long as the
    /// server asked for.
    pub fn delay(&self, failures: u32, hint: Duration) -> Duration {
        let doubled = self.base.saturating_mul(1 << failures.saturating_sub(1).min(30));
        hint.min(LONGEST_HINT) + random::up_to(doubled.min(self.cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest of many delays.
    fn longest(failures: u32, hint: Duration) -> Duration {
        let delays = (0..1000).map(|_| Backoff::default().delay(failures, hint));
        delays.max().unwrap_or_default()
    }

    /// Rule: WS6.
    #[test]
    fn delays_are_random_below_a_bound_that_doubles_up_to_the_cap() {
        for (failures, bound) in
            [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 20.0), (u32::MAX, 20.0)]
        {
            let longest = longest(failures, Duration::ZERO).as_secs_f64();
            // That none of a thousand comes near has a chance of 10⁻⁴⁶.
            assert!((bound * 0.9..=bound).contains(&longest), "{failures}: {longest}");
        }
    }

    /// Rule: WS6.
    #[test]
    fn what_the_server_asks_for_comes_before_the_random_part() {
        let delay = Backoff::default().delay(1, Duration::from_secs(30));
        assert!((30.0..=30.5).contains(&delay.as_secs_f64()), "{delay:?}");
        let delay = Backoff::default().delay(1, Duration::from_secs(1_000_000));
        assert!((300.0..=300.5).contains(&delay.as_secs_f64()), "{delay:?}");
    }
}
