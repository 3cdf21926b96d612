//! Rates of publications and commands. A client above the rate is read later; it is not refused, and
//! not closed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sockeye::internals::Network;
use tokio::time::{Instant, sleep_until};

use super::debts::Debts;
use crate::rate::Rate;

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

    /// Counts one event.
    pub(crate) fn count(&mut self) {
        self.until = Some(self.rate.count(self.until, Instant::now()).0);
    }

    /// When the next event may be read, if that is not now.
    pub(crate) fn pause(&self) -> Option<Instant> {
        let now = Instant::now();
        let (_, early) = self.rate.count(self.until, now);
        (!early.is_zero()).then(|| now + early)
    }
}

/// The pace of each publisher by requests: a limit per connection limits nothing where every request
/// may have a connection of its own.
#[derive(Debug)]
pub(crate) struct Paces {
    rate: Rate,
    until: Mutex<Debts<Publisher>>,
}

/// A publisher, as the pace counts it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Publisher {
    /// The subject of the token, or the name where there are no tokens.
    Subject(String),
    /// The address of a publisher without a name.
    Network(Network),
    /// All publishers without name and address together.
    Unknown,
}

impl Paces {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, until: Mutex::new(Debts::none()) }
    }

    /// Waits for the next turn of the publisher. A wait that is dropped gives it back: clients that give up
    /// before their turn, and come again, would never have one.
    pub(crate) async fn wait(&self, publisher: Publisher) {
        let turn = self.turn(publisher.clone());
        let mut waiting = Waiting { paces: self, publisher: Some(publisher) };
        sleep_until(turn).await;
        waiting.publisher = None;
    }

    /// Takes the next turn of the publisher, and returns its time.
    fn turn(&self, publisher: Publisher) -> Instant {
        let mut until = self.until();
        let now = Instant::now();
        let (next, early) = self.rate.count(until.of(&publisher), now);
        until.owe(publisher, next, now);
        now + early
    }

    /// How many publishers are kept.
    pub(crate) fn len(&self) -> usize {
        self.until().len()
    }

    fn until(&self) -> MutexGuard<'_, Debts<Publisher>> {
        // Each change is complete before anything in it can panic.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A publisher that has not had its turn.
struct Waiting<'a> {
    paces: &'a Paces,
    publisher: Option<Publisher>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(publisher) = self.publisher.take() else { return };
        self.paces.until().change(&publisher, |until| self.paces.rate.without_one(until));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use tokio::time::{advance, timeout};

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
        // A long pause earns no more than a burst.
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
    async fn a_wait_that_is_dropped_gives_its_turn_back() {
        let (paces, begun) = (Paces::new(Rate::per_second(10)), Instant::now());
        let ann = || Publisher::Subject("ann".to_owned());
        for _ in 0..20 {
            paces.wait(ann()).await;
        }
        for _ in 0..30 {
            assert!(timeout(Duration::from_millis(1), paces.wait(ann())).await.is_err());
        }
        paces.wait(ann()).await;
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_millis(100), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(110), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_publishers_are_forgotten() {
        let paces = Paces::new(Rate::per_second(100));
        for number in 0..100_000_u32 {
            let network = Network::from(IpAddr::V4(number.into()));
            paces.turn(Publisher::Network(network));
            advance(Duration::from_micros(100)).await;
        }
        assert!(paces.len() <= 1024, "{}", paces.len());
    }
}
