//! Ending a connection for an operator: what asks for it, and what waits for it.

use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Whether an operator has ended a connection. One task serves it, and waits for this.
///
/// A flag and a waker, not a channel: every connection has one, and nearly none is ever ended so.
#[derive(Debug, Default)]
pub(super) struct Disconnect {
    is_asked: AtomicBool,
    task: AtomicWaker,
}

impl Disconnect {
    /// Asks the task to end the connection. Whether nothing had asked before.
    pub(super) fn ask(&self) -> bool {
        let is_first = !self.is_asked.swap(true, AcqRel);
        self.task.wake();
        is_first
    }

    /// Wakes the task, which looks at everything that may concern it.
    pub(super) fn wake(&self) {
        self.task.wake();
    }

    /// Ready when the connection is to end.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        // Register before checking the flag, so no wake is lost.
        self.task.register(cx.waker());
        if self.is_asked.load(Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}
