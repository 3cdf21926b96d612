//! A part of a task that is polled only when it was woken itself: what waits for input is not polled
//! whenever there is output.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Release},
};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future with a waker of its own.
#[derive(Debug)]
pub(crate) struct WokenOnly<F> {
    future: Pin<F>,
    flag: Arc<WakeFlag>,
}

#[derive(Debug)]
struct WakeFlag {
    is_set: AtomicBool,
    /// The task that the future is part of.
    task: AtomicWaker,
}

/// Polls the future at first, and then when it was woken.
pub(crate) fn woken_only<P>(future: Pin<P>) -> WokenOnly<P> {
    let flag = WakeFlag { is_set: AtomicBool::new(true), task: AtomicWaker::new() };
    WokenOnly { future, flag: Arc::new(flag) }
}

impl<F: Future> Future for WokenOnly<&mut F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Register before checking the flag, so no wake is lost.
        self.flag.task.register(cx.waker());
        if !self.flag.is_set.swap(false, AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::sync::Notify;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_when_others_were() {
        let (polls, call) = (Cell::new(0), Notify::new());
        let mut called = pin!(call.notified());
        let counted = pin!(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            called.as_mut().poll(cx)
        }));
        let others = async {
            for _ in 0..10 {
                yield_now().await;
            }
            call.notify_one();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = woken_only(counted) => {}
            () = others => unreachable!("it waits for ever"),
        }
        assert_eq!(polls.get(), 2, "once to begin, and once when it was called");
    }
}
