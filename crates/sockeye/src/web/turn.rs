//! The turn of the code that makes a socket: nothing happens on the socket before it is over.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake},
};

use tokio::sync::Notify;

/// The turn of the task that made a socket: from then to the end of its current poll.
///
/// A page's script has the event loop for itself until it returns, so that listeners are there before
/// anything can happen. The same holds for a task and its worker thread: a waker that is
/// [deferred](tokio::task::yield_now) on a worker is called when the task that runs there has returned.
pub(super) struct Turn {
    over: Notify,
    called: AtomicBool,
}

impl Turn {
    /// The turn of the task that calls this; `None` on a thread that runs no tasks, such as the one
    /// that blocks on `main` beside a multi-threaded runtime: nothing there tells when a turn ends.
    pub(super) fn of_this_task() -> Option<Arc<Self>> {
        let turn = Arc::new(Self { over: Notify::new(), called: AtomicBool::new(false) });
        let waker = turn.clone().into();
        let deferred = pin!(tokio::task::yield_now());
        let _ = deferred.poll(&mut Context::from_waker(&waker));
        // Where nothing can be deferred, the waker is called at once.
        (!turn.called.load(Ordering::Acquire)).then_some(turn)
    }

    /// Ready when it is over.
    pub(super) async fn over(&self) {
        self.over.notified().await;
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.called.store(true, Ordering::Release);
        self.over.notify_one();
    }
}
