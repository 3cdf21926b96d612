//! How many channels are read from an engine at once: each read may bring a whole history into memory, and
//! a client can ask for many. Each shard has places of its own: reads of one that does not answer hold
//! none that others wait for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Amount, Figure};

/// The reads of a hub.
#[derive(Debug)]
pub(crate) struct Reads {
    /// Those of each shard, given in the order in which they were asked for.
    places: Box<[OnceLock<Semaphore>]>,
    waiting: AtomicU64,
    begun: AtomicU64,
    late: AtomicU64,
}

/// One that waits for a place.
struct WaitingRead<'a>(&'a AtomicU64);

impl Reads {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            places: (0..shards).map(|_| OnceLock::new()).collect(),
            waiting: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    /// A place among those of the shard, of which there are `at_once`, when one is free. One that is not
    /// waited for any more is given to the next.
    pub(crate) async fn place(&self, shard: u16, at_once: usize) -> SemaphorePermit<'_> {
        self.waiting.fetch_add(1, Relaxed);
        let _waiting = WaitingRead(&self.waiting);
        let places = self.places[usize::from(shard)]
            .get_or_init(|| Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)));
        let place = places.acquire().await;
        place.unwrap_or_else(|_| unreachable!("the semaphore is never closed"))
    }

    /// One has begun.
    pub(crate) fn count(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// One has waited for too long.
    pub(crate) fn count_late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    /// What operators see of it.
    pub(crate) fn figures(&self) -> [Figure; 3] {
        let count = |amount: &AtomicU64| Amount::Count(amount.load(Relaxed));
        [
            Figure { name: "reads", help: "Channels read", amount: count(&self.begun) },
            Figure {
                name: "reads_late",
                help: "Reads that did not get their turn in 10 s",
                amount: count(&self.late),
            },
            Figure {
                name: "reads_waiting",
                help: "Reads that wait for their turn",
                amount: Amount::Level(self.waiting.load(Relaxed) as f64),
            },
        ]
    }
}

impl Drop for WaitingRead<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
