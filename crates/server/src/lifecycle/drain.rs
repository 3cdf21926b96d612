//! Counting connections, and draining them when the server stops.
//!
//! Every connection holds a [`ConnectionGuard`]. Draining notifies all of them at once: HTTP
//! connections finish their current request; WebSockets, streams and long polls close one after the
//! other, so that their clients do not reconnect elsewhere in the same instant.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::lifecycle::activity::ActivityGuard;

/// The interval of two closings, where there is time: three connections are closed in a moment, and a
/// thousand or more are spread over the time there is.
const CLOSE_INTERVAL: Duration = Duration::from_millis(50);

/// The shortest delay before a client is to reconnect, and the time over which reconnecting is spread
/// even for a few clients.
const RETRY_AT_LEAST: Duration = Duration::from_millis(500);
const RETRY_SPREAD: Duration = Duration::from_secs(2);

/// The drain of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(Arc<DrainState>);

/// What the server and the guards share.
#[derive(Debug, Default)]
struct DrainState {
    /// Empty until the drain begins.
    schedule: OnceLock<DrainSchedule>,
    /// Notifies the guards of the schedule. Each connection waits in its own task.
    begun: Notify,
    open: AtomicUsize,
    /// Notified when the last connection has ended.
    emptied: Notify,
    next_number: AtomicU64,
}

/// The times of a drain.
#[derive(Clone, Copy, Debug)]
struct DrainSchedule {
    begun: Instant,
    /// The time over which WebSockets close.
    spread: Duration,
    /// When the last of them close, at the latest.
    last_close: Instant,
    /// When connections that are still open are cut off.
    deadline: Instant,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Counts one more connection. One that comes during the drain is closed like the others.
    pub(crate) fn guard(&self) -> ConnectionGuard {
        let number = self.0.next_number.fetch_add(1, Relaxed);
        self.0.open.fetch_add(1, Relaxed);
        ConnectionGuard { state: Arc::clone(&self.0), number, _activity: ActivityGuard::current() }
    }

    /// The guard of a connection that [was at rest](ConnectionGuard::rest).
    pub(crate) fn resume(&self, number: u64) -> ConnectionGuard {
        ConnectionGuard { state: Arc::clone(&self.0), number, _activity: None }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.schedule.get().is_some()
    }

    /// Waits until the drain begins, without being counted: for what does not hold it up.
    pub(crate) async fn begun(&self) {
        self.0.schedule().await;
    }

    /// Begins to drain within that time. A second call changes nothing.
    pub(crate) fn begin(&self, within: Duration) {
        let begun = Instant::now();
        let connected = u32::try_from(self.0.open.load(Acquire)).unwrap_or(u32::MAX);
        // A fifth of the time is left for the closing handshakes of the last ones.
        let time = within * 4 / 5;
        let spread = (CLOSE_INTERVAL * connected).min(time);
        let (last_close, deadline) = (begun + time, begun + within);
        let schedule = DrainSchedule { begun, spread, last_close, deadline };
        if self.0.schedule.set(schedule).is_ok() {
            self.0.begun.notify_waiters();
        }
    }

    /// Waits until all connections have ended or the time is over; not at all without connections.
    /// Returns how many are still open.
    pub(crate) async fn drained(&self) -> usize {
        if let Some(schedule) = self.0.schedule.get() {
            let _ = timeout_at(schedule.deadline, self.0.is_empty()).await;
        }
        self.0.open.load(Acquire)
    }
}

impl DrainState {
    /// Waits for the schedule; for ever, if there is never a drain.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn schedule(&self) -> impl Future<Output = DrainSchedule> {
        async {
            loop {
                // Register before checking, as below.
                let begun = self.begun.notified();
                if let Some(schedule) = self.schedule.get() {
                    return *schedule;
                }
                begun.await;
            }
        }
    }

    /// Waits until there are no connections.
    async fn is_empty(&self) {
        loop {
            // Register before checking the count, so no notification is lost.
            let emptied = self.emptied.notified();
            if self.open.load(Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// Counts one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    state: Arc<DrainState>,
    number: u64,
    /// Keeps an HTTP/2 connection open, which several guards share.
    _activity: Option<ActivityGuard>,
}

impl ConnectionGuard {
    /// Gives up the guard, and still counts, until one with this number [goes on](Drain::resume). The connection is not
    /// a stream of HTTP/2.
    pub(crate) fn rest(self) -> u64 {
        self.state.open.fetch_add(1, Relaxed);
        self.number
    }

    /// Waits until the server drains. Returns the time by which the connection must have ended.
    pub(crate) async fn draining(&self) -> Instant {
        self.schedule().await.deadline
    }

    /// Waits until the server drains and this connection is to close.
    pub(crate) async fn close_at(&self) {
        let DrainSchedule { begun, spread, .. } = self.schedule().await;
        // Boxed: until the drain begins there is no timer, and no memory for one.
        Box::pin(sleep_until(begun + spread.mul_f64(self.share()))).await;
    }

    /// Waits until the server drains. Returns the time by which the connection is to begin to close.
    pub(crate) async fn last_close(&self) -> Instant {
        self.schedule().await.last_close
    }

    /// The delay after which the client is to reconnect: its own time within the spread, so that
    /// clients do not reconnect together either.
    pub(crate) fn retry(&self) -> Duration {
        let spread = self.state.schedule.get().map_or(Duration::ZERO, |schedule| schedule.spread);
        RETRY_AT_LEAST + (RETRY_SPREAD + spread).mul_f64(self.share())
    }

    fn schedule(&self) -> impl Future<Output = DrainSchedule> {
        self.state.schedule()
    }

    /// The position in the spread, from 0 to 1: multiples of the golden ratio are evenly distributed,
    /// however many connections are still open, and independent of the order in which they came.
    fn share(&self) -> f64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        self.number.wrapping_mul(GOLDEN) as f64 / u64::MAX as f64
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.state.open.fetch_sub(1, AcqRel) == 1 {
            self.state.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(drain: &Drain, within: Duration) -> usize {
        drain.begin(within);
        drain.drained().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_without_connections_is_over_at_once() {
        let started = Instant::now();
        assert_eq!(run(&Drain::new(), Duration::from_secs(30)).await, 0);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_close_one_after_the_other() {
        // The time after which that many have closed, in ten equal parts of all.
        let tenths = async |count: u64| {
            let drain = Drain::new();
            let started = Instant::now();
            let leaving = (0..count).map(|_| {
                let guard = drain.guard();
                tokio::spawn(async move {
                    guard.close_at().await;
                    started.elapsed()
                })
            });
            let leaving: Vec<_> = leaving.collect();
            assert_eq!(run(&drain, Duration::from_secs(30)).await, 0);
            let mut left = Vec::new();
            for guard in leaving {
                left.push(guard.await.unwrap());
            }
            left.sort();
            (1..=10).map(|tenth| left[left.len() * tenth / 10 - 1]).collect::<Vec<_>>()
        };
        // More than there is time for at the usual interval share the time there is.
        for (tenth, left) in tenths(2000).await.into_iter().enumerate() {
            let due = Duration::from_secs(24) * (tenth as u32 + 1) / 10;
            assert!(left.abs_diff(due) < Duration::from_millis(200), "{left:?} and not {due:?}");
        }
        // A few close within a moment, and not at once either.
        let left = tenths(10).await;
        assert!(left[9] <= Duration::from_millis(501) && left[9] > left[0] * 2, "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_has_a_delay_of_its_own_to_reconnect() {
        let drain = Drain::new();
        let open: Vec<ConnectionGuard> = (0..1000).map(|_| drain.guard()).collect();
        drain.begin(Duration::from_secs(30));
        let mut retries: Vec<Duration> = open.iter().map(ConnectionGuard::retry).collect();
        retries.sort();
        retries.dedup();
        assert_eq!(retries.len(), 1000);
        let widest = retries.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        assert!(widest < Duration::from_millis(100), "they lie evenly: {widest:?}");
        assert!(retries[0] >= RETRY_AT_LEAST && retries[999] <= Duration::from_secs(27));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_close_does_not_hold_the_server() {
        let drain = Drain::new();
        let _guest = drain.guard();
        let started = Instant::now();
        assert_eq!(run(&drain, Duration::from_secs(3)).await, 1);
        assert_eq!(started.elapsed(), Duration::from_secs(3));
    }
}
