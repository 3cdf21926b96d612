//! Who is connected, and how they are sent away when the server stops.
//!
//! Every connection holds a [`Guest`]. Draining tells them all at once: HTTP connections finish
//! the request they are at, WebSockets, streams and parked polls leave one after the other, so that
//! those who reconnect somewhere else do not arrive there in the same instant.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::http2::Stay;

/// The time between one guest and the next, as far as there is time for all: three are gone in a
/// moment, and of a thousand or more each has his place in the whole time there is.
const LEAVING_APART: Duration = Duration::from_millis(50);

/// The least time that a client is asked to wait before it comes back, and the time over which
/// even a few of them are spread.
const RETRY_AT_LEAST: Duration = Duration::from_millis(500);
const RETRY_SPREAD: Duration = Duration::from_secs(2);

/// The door of the server.
#[derive(Debug, Default)]
pub(crate) struct Drain(Arc<Door>);

/// What the server and its guests share.
#[derive(Debug, Default)]
struct Door {
    /// Empty while the server is open.
    plan: OnceLock<Plan>,
    /// Tells the guests that there is a plan. Who waits for it is a node in his own future.
    begun: Notify,
    guests: AtomicUsize,
    /// Tells that the last guest has left.
    deserted: Notify,
    next_guest: AtomicU64,
}

/// How a drain goes.
#[derive(Clone, Copy, Debug)]
struct Plan {
    begun: Instant,
    /// The time over which WebSockets leave.
    spread: Duration,
    /// When whoever is still there is cut off.
    deadline: Instant,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets one more in. Whoever comes while the server drains is sent away like the others.
    pub(crate) fn admit(&self) -> Guest {
        let number = self.0.next_guest.fetch_add(1, Relaxed);
        self.0.guests.fetch_add(1, Relaxed);
        Guest { door: Arc::clone(&self.0), number, _stay: Stay::current() }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.plan.get().is_some()
    }

    /// Tells everybody to leave within that time. Who is told a second time goes by the first.
    pub(crate) fn begin(&self, within: Duration) {
        let begun = Instant::now();
        let connected = u32::try_from(self.0.guests.load(Acquire)).unwrap_or(u32::MAX);
        // A fifth of the time stays for the closing handshakes of the last ones.
        let spread = (LEAVING_APART * connected).min(within * 4 / 5);
        let plan = Plan { begun, spread, deadline: begun + within };
        if self.0.plan.set(plan).is_ok() {
            self.0.begun.notify_waiters();
        }
    }

    /// Waits until the last has left, or their time is over; not at all when nobody is there. Gives
    /// how many are still there.
    pub(crate) async fn everybody_left(&self) -> usize {
        if let Some(plan) = self.0.plan.get() {
            let _ = timeout_at(plan.deadline, self.0.is_deserted()).await;
        }
        self.0.guests.load(Acquire)
    }
}

impl Door {
    /// Waits until no guest is there.
    async fn is_deserted(&self) {
        loop {
            // It counts from here on: who leaves after the look is heard of.
            let deserted = self.deserted.notified();
            if self.guests.load(Acquire) == 0 {
                return;
            }
            deserted.await;
        }
    }
}

/// One connection's place; dropped when it ends.
#[derive(Debug)]
pub(crate) struct Guest {
    door: Arc<Door>,
    number: u64,
    /// Keeps the connection open that this guest shares with others.
    _stay: Option<Stay>,
}

impl Guest {
    /// Waits until the server drains. Gives the time by which the connection must have ended.
    pub(crate) async fn told_to_leave(&self) -> Instant {
        self.plan().await.deadline
    }

    /// Waits until the server drains and it is this guest's turn.
    pub(crate) async fn turn_to_leave(&self) {
        let Plan { begun, spread, .. } = self.plan().await;
        // In a box: while the server is open there is no timer, and no room for one.
        Box::pin(sleep_until(begun + spread.mul_f64(self.share()))).await;
    }

    /// When this guest is to come back after it was sent away: its own time within the spread of
    /// all, so that they do not come together either.
    pub(crate) fn retry(&self) -> Duration {
        let spread = self.door.plan.get().map_or(Duration::ZERO, |plan| plan.spread);
        RETRY_AT_LEAST + (RETRY_SPREAD + spread).mul_f64(self.share())
    }

    /// Waits until there is one; for ever, if the server goes without a word.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn plan(&self) -> impl Future<Output = Plan> {
        async {
            loop {
                // It counts from here on, as above.
                let begun = self.door.begun.notified();
                if let Some(plan) = self.door.plan.get() {
                    return *plan;
                }
                begun.await;
            }
        }
    }

    /// This guest's place in the spread, from 0 to 1: multiples of the golden ratio lie evenly,
    /// however many of the guests are still there, and not in the order in which they came.
    fn share(&self) -> f64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        self.number.wrapping_mul(GOLDEN) as f64 / u64::MAX as f64
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.door.guests.fetch_sub(1, AcqRel) == 1 {
            self.door.deserted.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(drain: &Drain, within: Duration) -> usize {
        drain.begin(within);
        drain.everybody_left().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_with_nobody_there_is_over_at_once() {
        let started = Instant::now();
        assert_eq!(run(&Drain::new(), Duration::from_secs(30)).await, 0);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn guests_leave_one_after_the_other() {
        // The time after which so many have left, in ten equal parts of all.
        let tenths = async |count: u64| {
            let drain = Drain::new();
            let started = Instant::now();
            let leaving = (0..count).map(|_| {
                let guest = drain.admit();
                tokio::spawn(async move {
                    guest.turn_to_leave().await;
                    started.elapsed()
                })
            });
            let leaving: Vec<_> = leaving.collect();
            assert_eq!(run(&drain, Duration::from_secs(30)).await, 0);
            let mut left = Vec::new();
            for guest in leaving {
                left.push(guest.await.unwrap());
            }
            left.sort();
            (1..=10).map(|tenth| left[left.len() * tenth / 10 - 1]).collect::<Vec<_>>()
        };
        // As many as there is no time for at the usual distance share what there is.
        for (tenth, left) in tenths(2000).await.into_iter().enumerate() {
            let due = Duration::from_secs(24) * (tenth as u32 + 1) / 10;
            assert!(left.abs_diff(due) < Duration::from_millis(200), "{left:?} and not {due:?}");
        }
        // A few are gone in a moment, and not at once either.
        let left = tenths(10).await;
        assert!(left[9] <= Duration::from_millis(501) && left[9] > left[0] * 2, "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_guest_is_told_a_time_of_its_own_to_come_back() {
        let drain = Drain::new();
        let guests: Vec<Guest> = (0..1000).map(|_| drain.admit()).collect();
        drain.begin(Duration::from_secs(30));
        let mut retries: Vec<Duration> = guests.iter().map(Guest::retry).collect();
        retries.sort();
        retries.dedup();
        assert_eq!(retries.len(), 1000);
        let widest = retries.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        assert!(widest < Duration::from_millis(100), "they lie evenly: {widest:?}");
        assert!(retries[0] >= RETRY_AT_LEAST && retries[999] <= Duration::from_secs(27));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_leave_does_not_hold_the_server() {
        let drain = Drain::new();
        let _guest = drain.admit();
        let started = Instant::now();
        assert_eq!(run(&drain, Duration::from_secs(3)).await, 1);
        assert_eq!(started.elapsed(), Duration::from_secs(3));
    }
}
