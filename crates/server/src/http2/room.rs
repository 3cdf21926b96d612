//! What the streams of one connection of HTTP/2 may hold together of what their client has not taken.
//!
//! A page of messages or members, of a poll, a stream or a WebSocket, is made only while all streams
//! hold less than the most; else the stream waits until another's was taken or given up. One page is
//! made at a time, so the most is passed by the last one and by nothing else. What a stream holds
//! already it may always hand on: streams never wait for one another in a circle. Other answers are
//! short, or files that exist once.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use sockeye_hub::{Budget, Page, Reader};
use tokio::sync::Notify;
use tokio::task::consume_budget;

use crate::metrics::Metrics;

/// The room of one connection.
#[derive(Debug)]
pub(super) struct Room {
    used: Mutex<usize>,
    max: usize,
    freed: Notify,
    metrics: Arc<Metrics>,
}

/// What one stream holds of the room of its connection. Where a connection is not shared there is no
/// such limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share(Option<Arc<Held>>);

/// Freed when the last clone of the share is gone.
#[derive(Debug)]
struct Held {
    room: Arc<Room>,
    /// Changed while `used` is locked.
    bytes: AtomicUsize,
}

impl Room {
    pub(super) fn new(max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { used: Mutex::default(), max: max.max(1), freed: Notify::new(), metrics })
    }

    /// For one more stream.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share(Some(Arc::new(Held { room: Arc::clone(self), bytes: AtomicUsize::new(0) })))
    }

    fn used(&self) -> MutexGuard<'_, usize> {
        // Each change is complete before anything can panic.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn set(&self, used: &mut usize, bytes: usize) {
        let was_full = *used >= self.room.max;
        let before = self.bytes.swap(bytes, Relaxed);
        *used = *used - before + bytes;
        self.room.metrics.http2_buffered(bytes as i64 - before as i64);
        if was_full && *used < self.room.max {
            self.room.freed.notify_waiters();
        }
    }

    /// Makes something if there is room.
    fn try_make<T>(
        &self,
        make: impl FnOnce() -> T,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<T, impl Future<Output = ()>> {
        let mut used = self.room.used();
        if *used < self.room.max {
            let made = make();
            self.set(&mut used, size(&made));
            return Ok(made);
        }
        // It counts from here on: what is freed after the look is heard of.
        Err(self.room.freed.notified())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(&mut self.room.used(), 0);
    }
}

impl Share {
    /// That of the stream on which a request came.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until there is room.
    pub(crate) async fn freed(&self) {
        let Some(held) = &self.0 else { return };
        let bytes = held.bytes.load(Relaxed);
        while let Err(freed) = held.try_make(|| (), |()| bytes) {
            freed.await;
        }
    }

    /// Makes something as soon as there is room; from then on the stream holds as much as that.
    pub(crate) async fn make<T>(
        &self,
        mut make: impl FnMut() -> T,
        size: impl Fn(&T) -> usize,
    ) -> T {
        let Some(held) = &self.0 else { return make() };
        let mut waits = false;
        loop {
            let freed = match held.try_make(&mut make, &size) {
                Ok(made) => return made,
                Err(freed) => freed,
            };
            if !std::mem::replace(&mut waits, true) {
                held.room.metrics.http2_waited();
            }
            freed.await;
        }
    }

    /// The same, if there is room now.
    pub(crate) fn try_make<T>(
        &self,
        make: impl FnOnce() -> T,
        size: impl FnOnce(&T) -> usize,
    ) -> Option<T> {
        match &self.0 {
            Some(held) => {
                let made = held.try_make(make, size).ok();
                if made.is_none() {
                    held.room.metrics.http2_waited();
                }
                made
            }
            None => Some(make()),
        }
    }

    /// Says how much the stream holds now.
    pub(crate) fn set(&self, bytes: usize) {
        if let Some(held) = &self.0 {
            held.set(&mut held.room.used(), bytes);
        }
    }

    /// The reader's next page and what is made of it, as soon as there is a page, and room. Cancel-safe,
    /// as waiting for a reader is.
    pub(crate) async fn next_page<T>(
        &self,
        reader: &mut Reader,
        budget: Budget,
        make: impl Fn(&Page) -> T,
        size: impl Fn(&Page, &T) -> usize,
    ) -> (Page, T) {
        if self.0.is_none() {
            let page = reader.next_page(budget).await;
            let made = make(&page);
            return (page, made);
        }
        // In a box: most connections are not shared, and all would have room for it.
        Box::pin(async move {
            loop {
                consume_budget().await;
                reader.readable().await;
                let next = || {
                    let page = reader.try_next_page(budget)?;
                    let made = make(&page);
                    Some((page, made))
                };
                let size = |next: &Option<(Page, T)>| {
                    next.as_ref().map_or(0, |(page, made)| size(page, made))
                };
                if let Some(next) = self.make(next, size).await {
                    return next;
                }
            }
        })
        .await
    }
}
