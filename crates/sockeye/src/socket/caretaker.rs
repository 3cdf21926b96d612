//! The one task per runtime that looks after connections while their applications do not: it answers
//! pings and closes, writes what was left queued, and keeps all deadlines in one timer wheel.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::runtime::{self, Handle};
use tokio_util::time::{DelayQueue, delay_queue::Key};

use super::shared::Shared;

/// The way to reach a runtime's caretaker.
pub(super) struct Caretaker {
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    connections: Vec<Arc<Shared>>,
    waker: Option<Waker>,
}

static CARETAKERS: LazyLock<Mutex<HashMap<runtime::Id, Weak<Caretaker>>>> =
    LazyLock::new(Mutex::default);

impl Caretaker {
    /// The caretaker of the runtime that this is called on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn of_this_runtime() -> Arc<Self> {
        let runtime = Handle::current();
        let mut caretakers = CARETAKERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caretaker) = caretakers.get(&runtime.id()).and_then(Weak::upgrade) {
            return caretaker;
        }
        caretakers.retain(|_, caretaker| caretaker.strong_count() > 0);
        let caretaker = Arc::new(Self { inbox: Mutex::default() });
        runtime.spawn(make_rounds(caretaker.clone()));
        caretakers.insert(runtime.id(), Arc::downgrade(&caretaker));
        caretaker
    }

    /// Has a connection looked at as soon as the runtime comes to it.
    pub(super) fn attend(&self, connection: Arc<Shared>) {
        let mut inbox = self.inbox();
        inbox.connections.push(connection);
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_inbox(&self, cx: &Context<'_>) -> Poll<Vec<Arc<Shared>>> {
        let mut inbox = self.inbox();
        if inbox.connections.is_empty() {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut inbox.connections))
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caretaker's task: it ends with its runtime.
async fn make_rounds(caretaker: Arc<Caretaker>) {
    let mut wheel = DelayQueue::new();
    loop {
        let (called, deadline_passed) = poll_fn(|cx| {
            // Deadlines first: no stream of calls can put them off.
            if let Poll::Ready(Some(expired)) = wheel.poll_expired(cx) {
                let connection: Arc<Shared> = expired.into_inner();
                *connection.timer() = None;
                return Poll::Ready((vec![connection], true));
            }
            caretaker.poll_inbox(cx).map(|connections| (connections, false))
        })
        .await;
        for connection in called {
            let deadline = connection.attend(deadline_passed);
            set_timer(&mut wheel, connection, deadline);
        }
        // Connections that keep calling do not keep others from being served.
        tokio::task::yield_now().await;
    }
}

/// A connection's place in the wheel.
pub(super) struct Timer {
    key: Key,
    at: Instant,
}

/// Sees to it that the wheel knows the connection's deadline. One that has moved back stays where it
/// is: when it comes, the new one is looked up. So traffic costs the wheel nothing.
fn set_timer(
    wheel: &mut DelayQueue<Arc<Shared>>,
    connection: Arc<Shared>,
    deadline: Option<Instant>,
) {
    let mut timer = connection.timer();
    match (&mut *timer, deadline) {
        (None, None) => {}
        (Some(timer), Some(at)) if timer.at <= at => {}
        (Some(timer), Some(at)) => {
            wheel.reset_at(&timer.key, at.into());
            timer.at = at;
        }
        (Some(Timer { key, .. }), None) => {
            wheel.remove(key);
            *timer = None;
        }
        (empty @ None, Some(at)) => {
            let key = wheel.insert_at(connection.clone(), at.into());
            *empty = Some(Timer { key, at });
        }
    }
}
