//! What the answers on one connection of HTTP/2 may hold together: while they hold more, the next
//! request waits until some of it was taken or given up.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire},
};

use tokio::sync::Notify;

use crate::metrics::Metrics;

/// The room of one connection.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicUsize,
    max: usize,
    freed: Notify,
    metrics: Arc<Metrics>,
}

impl Room {
    pub(super) fn new(max: usize, metrics: Arc<Metrics>) -> Self {
        Self { used: AtomicUsize::new(0), max, freed: Notify::new(), metrics }
    }

    /// Waits until there is room for another answer.
    pub(super) async fn freed(&self) {
        loop {
            // It counts from here on: what is freed after the look is heard of.
            let freed = self.freed.notified();
            if self.used.load(Acquire) < self.max.max(1) {
                return;
            }
            freed.await;
        }
    }

    /// Counts an answer of that many bytes until it is dropped.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.used.fetch_add(bytes, AcqRel);
        self.metrics.http2_buffered(bytes as i64);
        Held { room: Arc::clone(self), bytes }
    }
}

/// An answer that is counted.
#[derive(Debug)]
pub(super) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, AcqRel);
        self.room.metrics.http2_buffered(-(self.bytes as i64));
        self.room.freed.notify_waiters();
    }
}
