//! What is in progress on an HTTP/2 connection, which several requests share: an idle connection may be
//! closed, one in use may not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::net::write_deadline::PeerMarks;

/// Counts the requests and WebSockets in progress on one connection.
#[derive(Debug)]
pub(crate) struct Activity(watch::Sender<usize>);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(0)))
    }

    pub(crate) fn begin(self: &Arc<Self>) -> ActivityCount {
        self.0.send_modify(|count| *count += 1);
        ActivityCount(Arc::clone(self))
    }

    /// Whether nothing is in progress.
    pub(crate) fn has_ceased(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Waits until nothing has been in progress for this long.
    pub(crate) async fn ceased(&self, limit: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender is `self`, so it is not gone.
            if *count.borrow_and_update() > 0 {
                let _ = count.changed().await;
            } else if timeout(limit, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

tokio::task_local! {
    /// The guard of the request that is being answered.
    static GUARD: ActivityGuard;
}

/// Counts for a connection as something in progress.
#[derive(Debug)]
pub(crate) struct ActivityCount(Arc<Activity>);

impl Clone for ActivityCount {
    fn clone(&self) -> Self {
        self.0.begin()
    }
}

impl Drop for ActivityCount {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Keeps a shared connection open, and the stream on which something is in progress.
#[derive(Debug)]
pub(crate) struct ActivityGuard {
    count: ActivityCount,
    progress: Arc<StreamProgress>,
}

impl ActivityGuard {
    /// For the stream whose future is polled.
    pub(crate) fn new(count: ActivityCount) -> Self {
        Self::on(StreamProgress::current(), count)
    }

    /// Answers a request, for which this is the current guard.
    pub(crate) async fn scope<F: Future>(self, answering: F) -> F::Output {
        GUARD.scope(self, answering).await
    }

    /// Tells whether the stream was given up.
    pub(crate) fn marks(&self) -> PeerMarks {
        self.progress.marks.clone()
    }

    fn on(progress: Arc<StreamProgress>, count: ActivityCount) -> Self {
        progress.hold();
        Self { count, progress }
    }

    /// A guard for the connection of the request that is being answered; `None` where a connection is
    /// not shared.
    pub(crate) fn current() -> Option<Self> {
        GUARD.try_with(Self::clone).ok()
    }
}

impl Clone for ActivityGuard {
    fn clone(&self) -> Self {
        Self::on(Arc::clone(&self.progress), self.count.clone())
    }
}

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.progress.release();
    }
}

tokio::task_local! {
    /// The stream whose future is polled.
    static CURRENT: Arc<StreamProgress>;
}

/// The progress of one stream, shared by its future and by what answers on it.
#[derive(Debug, Default)]
pub(crate) struct StreamProgress {
    /// Since when the stream waits for the client.
    stalled: Mutex<Option<Instant>>,
    /// Requests, bodies and WebSockets on the stream.
    holders: AtomicUsize,
    /// The task of the stream's future.
    task: AtomicWaker,
    marks: PeerMarks,
}

impl StreamProgress {
    /// That of the stream whose future is polled.
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }

    /// Polls the stream's future, for which this is the current progress.
    pub(crate) fn poll<T>(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.task.register(cx.waker());
        CURRENT.sync_scope(Arc::clone(self), || poll(cx))
    }

    /// Marks the stream as given up.
    pub(crate) fn give_up(&self) {
        self.marks.give_up();
    }

    fn hold(&self) {
        self.holders.fetch_add(1, AcqRel);
    }

    /// Without holders nothing more is written; what was written may still be read by the client.
    fn release(&self) {
        if self.holders.fetch_sub(1, AcqRel) == 1 {
            self.stalled().get_or_insert_with(Instant::now);
            self.task.wake();
        }
    }

    /// Since when the stream waits for the client.
    pub(crate) fn stalled(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
