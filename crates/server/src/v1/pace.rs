//! How fast a client may talk.

use std::time::Instant;

/// A bucket of tokens, one for each command: it holds so many, and is filled at a steady rate.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    burst: f64,
    tokens: f64,
    looked: Instant,
}

impl Pace {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let (per_second, burst) = (f64::from(per_second), f64::from(burst));
        Self { per_second, burst, tokens: burst, looked: Instant::now() }
    }

    /// Whether one more is in time.
    pub(super) fn allows_one(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        self.looked = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_the_rate_holds() {
        let (mut pace, start) = (Pace::new(100, 200), Instant::now());
        let allowed =
            |pace: &mut Pace, now, count| (0..count).filter(|_| pace.allows_one(now)).count();
        assert_eq!(allowed(&mut pace, start, 1000), 200);
        assert_eq!(allowed(&mut pace, start + Duration::from_millis(505), 1000), 50);
        // A long silence earns no more than a burst.
        assert_eq!(allowed(&mut pace, start + Duration::from_secs(3600), 1000), 200);
    }
}
