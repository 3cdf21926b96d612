//! The one task per runtime that looks after connections while their applications do not: it answers
//! pings and closes, writes what was left queued, and keeps all deadlines in one timer wheel.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    time::{Sleep, sleep},
};

use super::{
    shared::Shared,
    wheel::{Clock, Wheel},
};
use crate::clock;

/// How long a reader who was told of something may stay away before the caretaker does his work.
const PATIENCE: Duration = Duration::from_millis(100);
/// For how many connections that call there is room without an allocation.
const KEPT: usize = 64;
/// A sleep does not reach farther than some years. A deadline beyond this is looked up again then.
const FARTHEST: Duration = Duration::from_hours(24);

/// The way to reach a runtime's caretaker.
pub(super) struct Caretaker {
    pub(super) clock: Clock,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    /// Whether the runtime has ended: nobody will look into this inbox again. A connection that is put
    /// here would keep itself alive.
    closed: bool,
    connections: Vec<Arc<Shared>>,
    /// Those whose readers were told of something, and may not look.
    expecting: Vec<Arc<Shared>>,
    waker: Option<Waker>,
}

/// The runtime of a connection has ended: nothing reads, writes or keeps its deadlines any more.
#[derive(Debug)]
pub(super) struct RuntimeEnded;

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
        let caretaker = Arc::new(Self { clock: Clock::new(), inbox: Mutex::default() });
        // Made here: a runtime that is ending drops the task before it is polled.
        let driver = Driver::new(caretaker.clone());
        runtime.spawn(make_rounds(driver));
        caretakers.insert(runtime.id(), Arc::downgrade(&caretaker));
        caretaker
    }

    /// Has a connection looked at as soon as the runtime comes to it.
    ///
    /// # Errors
    ///
    /// When the runtime has ended.
    pub(super) fn attend(&self, connection: Arc<Shared>) -> Result<(), RuntimeEnded> {
        let mut inbox = self.open_inbox()?;
        inbox.connections.push(connection);
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Has a connection looked at in a while, unless its reader has come back by then.
    ///
    /// # Errors
    ///
    /// When the runtime has ended.
    pub(super) fn expect_reader(&self, connection: Arc<Shared>) -> Result<(), RuntimeEnded> {
        let mut inbox = self.open_inbox()?;
        inbox.expecting.push(connection);
        let first = (inbox.expecting.len() == 1).then(|| inbox.waker.take()).flatten();
        drop(inbox);
        if let Some(waker) = first {
            waker.wake();
        }
        Ok(())
    }

    /// Adds to `called` the connections to look at now: those that called and, when `patience` is at
    /// its end, those whose readers have not come back.
    fn poll_inbox(
        &self,
        cx: &mut Context<'_>,
        patience: &mut Option<Pin<Box<Sleep>>>,
        called: &mut Vec<Arc<Shared>>,
    ) -> Poll<()> {
        let mut inbox = self.inbox();
        if patience.is_none() && !inbox.expecting.is_empty() {
            *patience = Some(Box::pin(sleep(PATIENCE)));
        }
        if let Some(timer) = patience
            && timer.as_mut().poll(cx).is_ready()
        {
            *patience = None;
            let mut late = std::mem::take(&mut inbox.expecting);
            late.retain(|connection| !connection.has_reader_returned());
            inbox.connections.append(&mut late);
        }
        if inbox.connections.is_empty() {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        called.append(&mut inbox.connections);
        if inbox.connections.capacity() > KEPT {
            inbox.connections = Vec::new();
        }
        Poll::Ready(())
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_inbox(&self) -> Result<MutexGuard<'_, Inbox>, RuntimeEnded> {
        let inbox = self.inbox();
        if inbox.closed { Err(RuntimeEnded) } else { Ok(inbox) }
    }
}

/// What the caretaker's task owns: with it go the connections that are open when the runtime ends.
struct Driver {
    caretaker: Arc<Caretaker>,
    wheel: Wheel<Shared>,
}

impl Driver {
    fn new(caretaker: Arc<Caretaker>) -> Self {
        let wheel = Wheel::new(caretaker.clock);
        Self { caretaker, wheel }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let inbox = std::mem::replace(
            &mut *self.caretaker.inbox(),
            Inbox { closed: true, ..Inbox::default() },
        );
        let called = inbox.connections.into_iter().chain(inbox.expecting);
        for connection in called.chain(self.wheel.take_all()) {
            connection.abandon();
        }
    }
}

/// The caretaker's task: it ends with its runtime.
async fn make_rounds(mut driver: Driver) {
    let Driver { caretaker, wheel } = &mut driver;
    let mut alarm = pin!(sleep(Duration::ZERO));
    let mut patience = None;
    let mut called = Vec::new();
    loop {
        let deadline_passed = poll_fn(|cx| {
            // Deadlines first: no stream of calls can put them off.
            if let Poll::Ready(expired) = poll_expired(wheel, alarm.as_mut(), cx) {
                called = expired;
                return Poll::Ready(true);
            }
            caretaker.poll_inbox(cx, &mut patience, &mut called).map(|()| false)
        })
        .await;
        for connection in called.drain(..) {
            let tick = connection.attend(deadline_passed);
            wheel.set(connection, tick);
        }
        called.shrink_to(KEPT);
        // Connections that keep calling do not keep others from being served.
        tokio::task::yield_now().await;
    }
}

/// Those whose deadline has passed, as soon as there are any.
fn poll_expired(
    wheel: &mut Wheel<Shared>,
    mut alarm: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Vec<Arc<Shared>>> {
    while let Some(next) = wheel.next() {
        let next = next.min(clock::now() + FARTHEST).into();
        if alarm.deadline() != next {
            alarm.as_mut().reset(next);
        }
        ready!(alarm.as_mut().poll(cx));
        let expired = wheel.take_expired(clock::now());
        if !expired.is_empty() {
            return Poll::Ready(expired);
        }
    }
    Poll::Pending
}
