//! The background driver: one task per runtime that serves connections while no application task polls
//! them. It answers pings and closes, writes what is queued, and keeps all deadlines in one timer wheel.

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
    timer_wheel::{Clock, Wheel},
};
use crate::clock;

/// How long a woken reader may take to poll again before the background driver reads in its place.
const READER_GRACE: Duration = Duration::from_millis(100);
/// The capacity that the inbox keeps for connections that ask for service.
const KEPT: usize = 64;
/// The longest sleep: tokio's timer reaches a few years. A later deadline is looked up again then.
const FARTHEST: Duration = Duration::from_hours(24);

/// The handle of a runtime's background task.
pub(super) struct BackgroundDriver {
    pub(super) clock: Clock,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    /// Whether the runtime has ended: the inbox is not read again, and a connection put here would keep
    /// itself alive.
    closed: bool,
    connections: Vec<Arc<Shared>>,
    /// Connections whose readers were woken and have not polled yet.
    expecting: Vec<Arc<Shared>>,
    waker: Option<Waker>,
}

/// The runtime of a connection has ended: nothing reads, writes or watches its deadlines any more.
#[derive(Debug)]
pub(super) struct RuntimeEnded;

static DRIVERS: LazyLock<Mutex<HashMap<runtime::Id, Weak<BackgroundDriver>>>> =
    LazyLock::new(Mutex::default);

impl BackgroundDriver {
    /// The driver of the current runtime; starts its task on first use.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn of_this_runtime() -> Arc<Self> {
        let runtime = Handle::current();
        let mut drivers = DRIVERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = drivers.get(&runtime.id()).and_then(Weak::upgrade) {
            return driver;
        }
        drivers.retain(|_, driver| driver.strong_count() > 0);
        let driver = Arc::new(Self { clock: Clock::new(), inbox: Mutex::default() });
        // Made before the task runs: a runtime that is ending drops the task unpolled.
        let task = BackgroundTask::new(driver.clone());
        runtime.spawn(run(task));
        drivers.insert(runtime.id(), Arc::downgrade(&driver));
        driver
    }

    /// Schedules a connection for service at the task's next poll.
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

    /// Schedules a connection for service after [`READER_GRACE`], unless its reader is parked by then.
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

    /// Adds to `called` the connections to serve now: those that asked for it and, when `grace` has
    /// elapsed, those whose readers are not parked again.
    fn poll_inbox(
        &self,
        cx: &mut Context<'_>,
        grace: &mut Option<Pin<Box<Sleep>>>,
        called: &mut Vec<Arc<Shared>>,
    ) -> Poll<()> {
        let mut inbox = self.inbox();
        if grace.is_none() && !inbox.expecting.is_empty() {
            *grace = Some(Box::pin(sleep(READER_GRACE)));
        }
        if let Some(timer) = grace
            && timer.as_mut().poll(cx).is_ready()
        {
            *grace = None;
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

/// What the background task owns. When the runtime ends it is dropped, and abandons the connections that
/// are still open.
struct BackgroundTask {
    driver: Arc<BackgroundDriver>,
    wheel: Wheel<Shared>,
}

impl BackgroundTask {
    fn new(driver: Arc<BackgroundDriver>) -> Self {
        let wheel = Wheel::new(driver.clock);
        Self { driver, wheel }
    }
}

impl Drop for BackgroundTask {
    fn drop(&mut self) {
        let inbox = std::mem::replace(
            &mut *self.driver.inbox(),
            Inbox { closed: true, ..Inbox::default() },
        );
        let called = inbox.connections.into_iter().chain(inbox.expecting);
        for connection in called.chain(self.wheel.take_all()) {
            connection.abandon();
        }
    }
}

/// The background task: it ends with its runtime.
async fn run(mut task: BackgroundTask) {
    let BackgroundTask { driver, wheel } = &mut task;
    let mut alarm = pin!(sleep(Duration::ZERO));
    let mut grace = None;
    let mut called = Vec::new();
    loop {
        let deadline_passed = poll_fn(|cx| {
            // Deadlines first, so that a stream of calls cannot delay them.
            if let Poll::Ready(expired) = poll_expired(wheel, alarm.as_mut(), cx) {
                called = expired;
                return Poll::Ready(true);
            }
            driver.poll_inbox(cx, &mut grace, &mut called).map(|()| false)
        })
        .await;
        for connection in called.drain(..) {
            let tick = connection.attend(deadline_passed);
            wheel.set(connection, tick);
        }
        called.shrink_to(KEPT);
        // Connections that keep asking for service must not starve other tasks.
        tokio::task::yield_now().await;
    }
}

/// The connections whose deadline has passed, as soon as there are any.
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
