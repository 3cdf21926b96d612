//! How often something may be done from one address, per second, with bursts of twice as many.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sockeye::internals::Network;
use tokio::time::Instant;

use super::debts::Debts;
use crate::rate::Rate;

/// A rate limit per address.
///
/// All that is kept of an address is the time at which its debt is paid; after that, nothing is kept.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// 0 where there is no limit.
    per_second: AtomicU32,
    busy: Mutex<Debts<Network>>,
}

impl RateLimiter {
    /// That many per second, at least one; `None` for no limit.
    pub(crate) fn new(per_second: impl Into<Option<u32>>) -> Self {
        let limiter = Self { per_second: AtomicU32::new(0), busy: Mutex::new(Debts::none()) };
        limiter.set(per_second.into());
        limiter
    }

    /// Sets the rate from now on. What was counted stays counted.
    pub(crate) fn set(&self, per_second: Option<u32>) {
        self.per_second.store(per_second.map_or(0, |count| count.max(1)), Relaxed);
    }

    /// Counts one for this address; an error says after which time there is one again.
    pub(crate) fn take(&self, network: Network) -> Result<(), Duration> {
        let per_second = self.per_second.load(Relaxed);
        if per_second == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut busy = self.busy();
        let (until, early) = Rate::per_second(per_second).count(busy.of(&network), now);
        if !early.is_zero() {
            return Err(early);
        }
        busy.owe(network, until, now);
        Ok(())
    }

    /// How many addresses are kept.
    pub(super) fn len(&self) -> usize {
        self.busy().len()
    }

    fn busy(&self) -> MutexGuard<'_, Debts<Network>> {
        // Each change is complete before anything in it can panic.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::advance;

    use super::super::debts::MOST;
    use super::*;

    fn network(address: &str) -> Network {
        Network::from(address.parse::<IpAddr>().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn twice_a_seconds_worth_at_once_and_then_one_after_the_other() {
        let limiter = RateLimiter::new(10);
        let ann = network("192.0.2.1");
        assert_eq!((0..30).filter(|_| limiter.take(ann).is_ok()).count(), 20);
        assert_eq!(limiter.take(ann), Err(Duration::from_millis(100)));
        // A refused request consumes no tokens.
        advance(Duration::from_millis(100)).await;
        assert_eq!(limiter.take(ann), Ok(()));
        assert!(limiter.take(ann).is_err());
        advance(Duration::from_secs(10)).await;
        assert_eq!((0..30).filter(|_| limiter.take(ann).is_ok()).count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_do_not_use_up_each_others() {
        let limiter = RateLimiter::new(1);
        for _ in 0..2 {
            limiter.take(network("192.0.2.1")).unwrap();
        }
        assert!(limiter.take(network("192.0.2.1")).is_err());
        assert!(limiter.take(network("::ffff:192.0.2.1")).is_err());
        assert_eq!(limiter.take(network("192.0.2.2")), Ok(()));
        // One customer has a whole /64.
        for host in ["2001:db8::1", "2001:db8::2"] {
            limiter.take(network(host)).unwrap();
        }
        assert!(limiter.take(network("2001:db8::3:4")).is_err());
        assert_eq!(limiter.take(network("2001:db8:0:1::1")), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_that_are_kept_are_few_whatever_their_number() {
        let limiter = RateLimiter::new(1);
        for number in 0..200_000_u32 {
            limiter.take(Network::Ip(IpAddr::V4(number.into()))).unwrap();
        }
        assert!(limiter.len() < MOST, "{}", limiter.len());
        advance(Duration::from_secs(10)).await;
        for number in 0..200_000_u32 {
            limiter.take(Network::Ip(IpAddr::V4(number.into()))).unwrap();
            advance(Duration::from_millis(2)).await;
        }
        assert!(limiter.len() <= 1024, "{}", limiter.len());
    }
}
