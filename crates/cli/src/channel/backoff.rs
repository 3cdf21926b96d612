//! When to try again.

use std::time::Duration;

/// Counts what failed since something worked.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next attempt: what the server asks for, and a random time up to a
    /// bound that doubles with each failure, so that clients that were cut off together do not
    /// reconnect together.
    pub(crate) fn delay(&mut self, worked: bool, retry: Duration) -> Duration {
        self.failures = if worked { 0 } else { self.failures + 1 };
        sockeye::reconnect::Backoff::default().delay(self.failures.saturating_add(1), retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_random_below_a_bound_that_doubles_and_comes_after_the_servers_wish() {
        let longest = |failures: u32, retry| {
            let delays = (0..1000).map(|_| Backoff { failures }.delay(false, retry));
            delays.max().unwrap_or_default().as_secs_f64()
        };
        for (failures, bound) in [(0, 1.0), (1, 2.0), (4, 16.0), (5, 20.0), (1000, 20.0)] {
            let longest = longest(failures, Duration::ZERO);
            assert!((bound * 0.9..=bound).contains(&longest), "{failures}: {longest}");
        }
        assert!((30.0..31.0).contains(&longest(0, Duration::from_secs(30))));
        assert!(Backoff { failures: 9 }.delay(true, Duration::ZERO) <= Duration::from_millis(500));
    }
}
