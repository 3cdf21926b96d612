//! How fast a client may publish, or send commands. A client that is faster is read more slowly; it is
//! not refused, and not closed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::throttle::Network;

/// A rate, as the generic cell rate algorithm has it (ITU-T I.371): the time that each one takes, and
/// how far ahead of that time a client may be. That is twice a second's worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    each: Duration,
    burst: Duration,
}

impl Rate {
    /// At least one in a second.
    pub(crate) fn per_second(count: u32) -> Self {
        Self { each: Duration::from_secs(1) / count.max(1), burst: Duration::from_secs(2) }
    }

    /// Takes one after those that are taken up to `until`. Gives up to when they are taken with it, and
    /// when it is due.
    fn take(self, until: Option<Instant>) -> (Instant, Instant) {
        let now = Instant::now();
        let until = until.map_or(now, |until| until.max(now)) + self.each;
        (until, until.checked_sub(self.burst).unwrap_or(now))
    }
}

/// The pace of one connection.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    until: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, until: None }
    }

    /// Counts one that has come.
    pub(crate) fn count(&mut self) {
        self.until = Some(self.rate.take(self.until).0);
    }

    /// When the next one may be read, if that is not now.
    pub(crate) fn pause(&self) -> Option<Instant> {
        let (_, due) = self.rate.take(self.until);
        (due > Instant::now()).then_some(due)
    }
}

/// The pace of each who publishes by requests: a connection is no bound where every request may have
/// one of its own.
#[derive(Debug)]
pub(crate) struct Paces {
    rate: Rate,
    until: Mutex<HashMap<Publisher, Instant>>,
}

/// Who publishes, as the pace counts it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Publisher {
    /// The subject of the token, or the name where there are none.
    Subject(String),
    /// The address of one without a name.
    Network(Network),
    /// All of whom nothing is known together.
    Unknown,
}

/// Publishers that are remembered before those are dropped that have nothing to wait for.
const FEW: usize = 1024;

impl Paces {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, until: Mutex::default() }
    }

    /// Takes the next turn of this publisher, and gives the time at which it comes.
    pub(crate) fn turn(&self, publisher: Publisher) -> Instant {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= FEW && until.len().is_power_of_two() {
            let now = Instant::now();
            until.retain(|_, until| *until > now);
        }
        let (next, due) = self.rate.take(until.get(&publisher).copied());
        until.insert(publisher, next);
        due
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::{advance, sleep_until};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_comes_at_once_and_then_the_rate_holds() {
        let (mut pace, begun) = (Pace::new(Rate::per_second(100)), Instant::now());
        for number in 0..1000_u32 {
            if let Some(until) = pace.pause() {
                sleep_until(until).await;
            }
            pace.count();
            let due = Duration::from_millis(10) * number.saturating_sub(199);
            let late = begun.elapsed().abs_diff(due);
            assert!(late <= Duration::from_millis(2), "{number}: {:?}", begun.elapsed());
        }
        // A long silence earns no more than a burst.
        advance(Duration::from_hours(1)).await;
        for _ in 0..200 {
            assert_eq!(pace.pause(), None);
            pace.count();
        }
        assert!(pace.pause().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn publishers_do_not_use_up_each_others() {
        let (paces, begun) = (Paces::new(Rate::per_second(10)), Instant::now());
        let late = |publisher: Publisher| paces.turn(publisher).saturating_duration_since(begun);
        let (ann, ben) =
            (Publisher::Subject("ann".to_owned()), Publisher::Subject("ben".to_owned()));
        for _ in 0..20 {
            assert_eq!(late(ann.clone()), Duration::ZERO);
        }
        assert_eq!(late(ann.clone()), Duration::from_millis(100));
        assert_eq!(late(ann), Duration::from_millis(200));
        assert_eq!(late(ben), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_publisher_that_is_quiet_is_forgotten() {
        let paces = Paces::new(Rate::per_second(100));
        for number in 0..100_000_u32 {
            let network = Network::from(IpAddr::V4(number.into()));
            paces.turn(Publisher::Network(network));
            advance(Duration::from_micros(100)).await;
        }
        let kept = paces.until.lock().unwrap().len();
        assert!(kept <= 2 * FEW, "{kept}");
    }
}
