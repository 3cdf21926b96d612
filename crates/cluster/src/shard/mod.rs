//! Where a shard is, shared by its tasks.

pub(crate) mod ends;
pub(crate) mod epoch;
pub(crate) mod feed;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sockeye_hub::Epoch;
use tokio::sync::Notify;

/// The epoch of a shard, and up to which sequence this node has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) epoch: Epoch,
    pub(crate) upto: u64,
    /// The time of the message there, if it came while this node has followed.
    pub(crate) ts: u64,
}

/// What a node knows of a shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) number: u16,
    reached: Mutex<Reached>,
    /// Whether the feed has begun.
    live: AtomicBool,
    /// When it was last known that nothing is missing.
    fresh: Mutex<Instant>,
    /// The newest message of the clock that this node knows of: its sequence, and when it came.
    clock: Mutex<Option<(u64, Instant)>>,
    /// How often what JetStream said did not fit to what was there before.
    suspicions: AtomicU64,
    /// Rung at each of them.
    suspected: Notify,
    pub(crate) counts: Counts,
}

/// What a feed has met, for operators.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages that came.
    pub(crate) messages: AtomicU64,
    /// Holes that were found.
    pub(crate) holes: AtomicU64,
    /// Messages that were fetched to fill them.
    pub(crate) filled: AtomicU64,
    /// What the feed holds back at present, in bytes.
    pub(crate) held: AtomicU64,
    /// How often the feed was too far behind.
    pub(crate) skips: AtomicU64,
    /// How often the epoch has changed.
    pub(crate) resets: AtomicU64,
}

impl Shard {
    pub(crate) fn new(number: u16, epoch: Epoch) -> Self {
        Self {
            number,
            reached: Mutex::new(Reached { epoch, upto: 0, ts: 0 }),
            live: AtomicBool::new(false),
            fresh: Mutex::new(Instant::now()),
            clock: Mutex::new(None),
            suspicions: AtomicU64::new(0),
            suspected: Notify::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn place(&self) -> Reached {
        *lock(&self.reached)
    }

    pub(crate) fn advance(&self, to: Reached) {
        *lock(&self.reached) = to;
    }

    /// Whether the feed has begun.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.refresh();
        self.live.store(true, Relaxed);
    }

    /// Nothing is missing just now.
    pub(crate) fn refresh(&self) {
        *lock(&self.fresh) = Instant::now();
    }

    /// For how long it has not been known whether something is missing.
    pub(crate) fn staleness(&self) -> Duration {
        lock(&self.fresh).elapsed()
    }

    /// Has the stream examined; gives the number of the suspicion.
    pub(crate) fn suspect(&self) -> u64 {
        let number = self.suspicions.fetch_add(1, Relaxed) + 1;
        self.suspected.notify_one();
        number
    }

    /// The number of the last suspicion.
    pub(crate) fn suspicions(&self) -> u64 {
        self.suspicions.load(Relaxed)
    }

    /// Waits for a suspicion.
    pub(crate) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    pub(crate) fn clock(&self) -> Option<(u64, Instant)> {
        *lock(&self.clock)
    }

    pub(crate) fn clock_came(&self, seq: u64) {
        *lock(&self.clock) = Some((seq, Instant::now()));
    }
}

/// Values that are whole whenever they are changed.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
