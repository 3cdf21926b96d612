//! Limits what the streams of one HTTP/2 connection hold together and their client has not read.
//!
//! A page of messages or members, for a poll, a stream or a WebSocket, is made only while all streams
//! hold less than the limit; otherwise the stream waits until another's was read or given up. One page
//! is made at a time, so only the last one exceeds the limit. What a stream holds already it may always
//! send, so streams never wait for one another in a circle. Other responses are short, or files that
//! exist once.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use sockeye_hub::{Budget, Page, Reader};
use tokio::sync::Notify;
use tokio::task::consume_budget;

use crate::metrics::Metrics;

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct SendBudget {
    used: Mutex<usize>,
    max: usize,
    freed: Notify,
    metrics: Arc<Metrics>,
}

/// What one stream holds of the budget. A connection that is not shared has no such limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamBudget(Option<Arc<Held>>);

/// Freed when the last clone of the stream budget is dropped.
#[derive(Debug)]
struct Held {
    budget: Arc<SendBudget>,
    /// Changed while `used` is locked.
    bytes: AtomicUsize,
}

impl SendBudget {
    pub(super) fn new(max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { used: Mutex::default(), max: max.max(1), freed: Notify::new(), metrics })
    }

    /// A budget for one more stream.
    pub(super) fn stream_budget(self: &Arc<Self>) -> StreamBudget {
        StreamBudget(Some(Arc::new(Held { budget: Arc::clone(self), bytes: AtomicUsize::new(0) })))
    }

    fn used(&self) -> MutexGuard<'_, usize> {
        // Each change is complete before anything can panic.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn set(&self, used: &mut usize, bytes: usize) {
        let was_full = *used >= self.budget.max;
        let before = self.bytes.swap(bytes, Relaxed);
        *used = *used - before + bytes;
        self.budget.metrics.http2_buffered(bytes as i64 - before as i64);
        if was_full && *used < self.budget.max {
            self.budget.freed.notify_waiters();
        }
    }

    /// Makes something if the budget allows it.
    fn try_make<T>(
        &self,
        make: impl FnOnce() -> T,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<T, impl Future<Output = ()>> {
        let mut used = self.budget.used();
        if *used < self.budget.max {
            let made = make();
            self.set(&mut used, size(&made));
            return Ok(made);
        }
        // Registered before the lock is released, so no notification is lost.
        Err(self.budget.freed.notified())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(&mut self.budget.used(), 0);
    }
}

impl StreamBudget {
    /// That of the stream of a request.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the budget allows more.
    pub(crate) async fn freed(&self) {
        let Some(held) = &self.0 else { return };
        let bytes = held.bytes.load(Relaxed);
        while let Err(freed) = held.try_make(|| (), |()| bytes) {
            freed.await;
        }
    }

    /// Makes something as soon as the budget allows it; from then on the stream holds that much.
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
                held.budget.metrics.http2_waited();
            }
            freed.await;
        }
    }

    /// The same, if the budget allows it now.
    pub(crate) fn try_make<T>(
        &self,
        make: impl FnOnce() -> T,
        size: impl FnOnce(&T) -> usize,
    ) -> Option<T> {
        match &self.0 {
            Some(held) => {
                let made = held.try_make(make, size).ok();
                if made.is_none() {
                    held.budget.metrics.http2_waited();
                }
                made
            }
            None => Some(make()),
        }
    }

    /// Sets how much the stream holds now.
    pub(crate) fn set(&self, bytes: usize) {
        if let Some(held) = &self.0 {
            held.set(&mut held.budget.used(), bytes);
        }
    }

    /// The reader's next page and what is made of it, as soon as there is a page, and budget.
    /// Cancel-safe, as waiting for a reader is.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    pub(crate) fn next_page<'a, T: 'a>(
        &'a self,
        reader: &'a mut Reader,
        budget: Budget,
        make: impl Fn(&Page) -> T + 'a,
        size: impl Fn(&Page, &T) -> usize + 'a,
    ) -> impl Future<Output = (Page, T)> + 'a {
        async move {
            if self.0.is_none() {
                let page = reader.next_page(budget).await;
                let made = make(&page);
                return (page, made);
            }
            // Boxed: most connections are not shared, and all would have memory for it.
            Box::pin(self.next_page_within(reader, budget, make, size)).await
        }
    }

    async fn next_page_within<T>(
        &self,
        reader: &mut Reader,
        budget: Budget,
        make: impl Fn(&Page) -> T,
        size: impl Fn(&Page, &T) -> usize,
    ) -> (Page, T) {
        loop {
            consume_budget().await;
            reader.readable().await;
            let next = || {
                let page = reader.try_next_page(budget)?;
                let made = make(&page);
                Some((page, made))
            };
            let size =
                |next: &Option<(Page, T)>| next.as_ref().map_or(0, |(page, made)| size(page, made));
            if let Some(next) = self.make(next, size).await {
                return next;
            }
        }
    }
}
