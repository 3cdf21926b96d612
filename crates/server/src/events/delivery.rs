//! The task that hands batches to the sink, one after the other, until they are taken.
//!
//! It ends with the channels. One that has ended with its runtime is started again by the next request, and offers
//! first what was not taken.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use sockeye::reconnect::Backoff;
use sockeye_hub::{ChannelName, Hub};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::queue::{EventFigures, EventQueue};
use super::{AnyEventSink, EventBatch, EventError};
use crate::background::BackgroundTask;
use crate::channel_rule::ChannelRules;
use crate::log::{Class, limited};

/// How long a sink may take for a batch.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server that ends waits for what is left to be taken.
pub(crate) const FINISH: Duration = Duration::from_secs(5);
/// How long it waits at most to offer a batch again that was not taken.
const AGAIN_AT_THE_END: Duration = Duration::from_millis(200);

/// The events of one server, and the task that tells of them, aborted when this is dropped.
#[derive(Debug)]
pub(crate) struct Delivery {
    shared: Arc<Shared>,
    task: BackgroundTask,
}

/// What the task has, too.
#[derive(Debug)]
struct Shared {
    queue: Arc<EventQueue>,
    sink: AnyEventSink,
    rules: Arc<ChannelRules>,
    outage: Mutex<Option<Outage>>,
    /// Told when the server ends.
    ending: Notify,
    is_ending: AtomicBool,
}

/// Since when nothing was taken.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    failures: u32,
}

impl Delivery {
    /// Has the hub's events handed to a sink.
    pub(crate) fn of(hub: &Hub, sink: AnyEventSink, rules: Arc<ChannelRules>) -> Self {
        let clock = hub.options().clock.clone();
        let queue = Arc::new(EventQueue::new(Arc::clone(&rules), clock, hub.node()));
        hub.observe(queue.clone());
        let shared = Shared {
            queue,
            sink,
            rules,
            outage: Mutex::default(),
            ending: Notify::new(),
            is_ending: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), task: BackgroundTask::default() }
    }

    /// Whether there are events of this channel.
    pub(crate) fn tells_of(&self, channel: &ChannelName) -> bool {
        self.shared.rules.has_events(channel)
    }

    pub(crate) fn figures(&self) -> EventFigures {
        self.shared.queue.figures()
    }

    /// Starts to deliver if nothing delivers yet, and there is a runtime to do it on.
    pub(crate) fn keep(&self) {
        self.task.keep(|| {
            let shared = Arc::clone(&self.shared);
            async move {
                loop {
                    let batch = shared.queue.next().await;
                    shared.deliver(&batch).await;
                }
            }
        });
    }

    /// The server ends: nothing more happens, and what has happened is to be taken within that time.
    pub(crate) async fn finish(&self, within: Duration) {
        let Shared { queue, ending, is_ending, .. } = &*self.shared;
        queue.close();
        is_ending.store(true, Ordering::Release);
        ending.notify_waiters();
        self.keep();
        let emptied = async {
            loop {
                let emptied = queue.emptied.notified();
                if queue.len() == 0 {
                    return;
                }
                emptied.await;
            }
        };
        if timeout(within, emptied).await.is_err() {
            tracing::warn!(
                events = queue.len(),
                "the server ends, and these events were not taken: they are lost"
            );
        }
    }
}

impl Shared {
    /// Offers a batch until it is taken, or refused.
    async fn deliver(&self, batch: &EventBatch) {
        loop {
            match self.offer(batch).await {
                Ok(()) => {
                    self.queue.taken();
                    return self.worked();
                }
                Err(EventError::Refused(why)) => {
                    let events = batch.events.len();
                    limited!(WARN, Class::Events, events, %why, "events are refused, and dropped");
                    self.queue.refused();
                    return self.worked();
                }
                Err(EventError::Unavailable(why)) => self.again(&*why, Duration::ZERO).await,
                Err(EventError::Later(why, pause)) => self.again(&*why, pause).await,
            }
        }
    }

    /// A batch was not taken: waits until it is to be offered again, not before `pause` is over.
    async fn again(&self, why: &(dyn std::error::Error + Send + Sync), pause: Duration) {
        let failures = self.failed(why);
        self.queue.retried.fetch_add(1, Ordering::Relaxed);
        self.pause(Backoff::default().delay(failures, pause)).await;
    }

    /// Offers a batch once. Whatever is no answer is an error.
    async fn offer(&self, batch: &EventBatch) -> Result<(), EventError> {
        let taking = AssertUnwindSafe(async { self.sink.0.take(batch).await }).catch_unwind();
        match timeout(TIMEOUT, taking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(EventError::unavailable("it panicked")),
            Err(_) => {
                let why = format!("it did not answer within {} s", TIMEOUT.as_secs());
                Err(EventError::unavailable(why))
            }
        }
    }

    /// Waits to offer a batch again, and not for long if the server ends.
    async fn pause(&self, time: Duration) {
        let ending = self.ending.notified();
        let time = match self.is_ending.load(Ordering::Acquire) {
            true => time.min(AGAIN_AT_THE_END),
            false => time,
        };
        tokio::select! {
            () = sleep(time) => {}
            () = ending => {}
        }
    }

    /// Something was taken: an outage, if there was one, is over.
    fn worked(&self) {
        if let Some(Outage { since, failures }) = self.outage().take() {
            let seconds = since.elapsed().as_secs();
            limited!(INFO, Class::Events, seconds, failures, "events are taken again");
        }
    }

    /// A batch was not taken. How many times in a row that is.
    fn failed(&self, why: &(dyn std::error::Error + Send + Sync)) -> u32 {
        let mut outage = self.outage();
        if outage.is_none() {
            limited!(WARN, Class::Events, %why, "events are not taken: they wait, and are offered again");
        }
        let outage = outage.get_or_insert(Outage { since: Instant::now(), failures: 0 });
        outage.failures = outage.failures.saturating_add(1);
        outage.failures
    }

    fn outage(&self) -> std::sync::MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
