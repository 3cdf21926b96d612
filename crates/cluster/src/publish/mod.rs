//! Publishing: one task for a shard sends its messages in the order in which they came.
//!
//! What surely was not taken (no server answers for the stream, no connection) is kept in order and sent
//! again until [`PATIENCE`] is over: an election in NATS takes up to nine seconds. What may have been
//! taken is sent again only if it has an id by which JetStream recognises it: one made of its key, or one of
//! the node's own. With another connection that is done at once. Neither is sent again where a later message of
//! the same source on the same subject has been taken meanwhile: it would come behind that.

pub(crate) mod ack;
pub(crate) mod own_ids;
mod queue;
mod trim;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{HeaderMap, Message, Request, RequestError};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use self::ack::{Ack, Failure, NOBODY};
use self::queue::{PublishQueue, Sequenced};
use self::trim::Trim;
use crate::api::Api;
use crate::shard::Shard;
use sockeye_hub::Source;
use sockeye_hub::backplane::Reply;

/// How long a message is kept that is not taken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long the answer to a message is waited for.
const ACK: Duration = Duration::from_secs(5);
/// How long nothing is sent while another server is taken, at a time.
const LEAVING: Duration = Duration::from_millis(20);
/// What may wait in all shards together, in bytes.
pub(crate) const QUEUE: u64 = 64 << 20;

/// A message to be published.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    /// Whether sending it twice stores it once, or does no harm.
    pub(crate) repeatable: bool,
    /// What sends it, if its messages on the subject have to keep their order.
    pub(crate) source: Option<Source>,
    /// What the entry made of it is charged for; 0 if none is.
    pub(crate) charge: u64,
    /// What is told the outcome.
    pub(crate) done: Done,
}

/// What a shard takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// What is shown of a channel.
    pub(crate) history: u64,
    /// The largest message.
    pub(crate) message: u64,
}

/// What waits for the outcome.
#[derive(Debug)]
pub(crate) enum Done {
    /// The hub.
    Hub(Reply),
    /// A part of this crate.
    Task(oneshot::Sender<Result<u64, Failure>>),
}

impl Done {
    fn stored(self, seq: u64) {
        match self {
            Self::Hub(reply) => reply.taken(seq),
            Self::Task(waiting) => {
                let _ = waiting.send(Ok(seq));
            }
        }
    }

    /// `charge` is what the message would have been charged for, `limit` the most that is taken.
    fn failed(self, failure: Failure, charge: u64, limit: u64) {
        match self {
            Self::Hub(reply) => reply.refused(failure.error(charge, limit)),
            Self::Task(waiting) => {
                let _ = waiting.send(Err(failure));
            }
        }
    }
}

impl Outgoing {
    /// What it takes while it waits, in bytes.
    fn size(&self) -> u64 {
        (self.subject.len() + self.payload.len() + 256) as u64
    }
}

/// The way into a shard.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    queue: mpsc::UnboundedSender<Outgoing>,
    /// The bytes that wait, of all shards.
    queued: Arc<AtomicU64>,
    counts: Arc<PublishCounts>,
}

/// What became of messages, for operators.
#[derive(Debug, Default)]
pub(crate) struct PublishCounts {
    pub(crate) stored: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    pub(crate) unknown: AtomicU64,
}

impl Publisher {
    /// Begins to publish into a shard, until the last clone of the publisher is gone and everything
    /// has its answer.
    pub(crate) fn start(
        api: Api,
        connections: watch::Receiver<u64>,
        shard: Arc<Shard>,
        limits: Limits,
        queued: Arc<AtomicU64>,
        counts: Arc<PublishCounts>,
    ) -> Self {
        let (queue, outgoing) = mpsc::unbounded_channel();
        let sender = Sender {
            api,
            shard,
            trim: Trim::new(limits.history),
            max_message: limits.message,
            queued: Arc::clone(&queued),
            counts: Arc::clone(&counts),
            queue: PublishQueue::default(),
        };
        tokio::spawn(sender.run(outgoing, connections));
        Self { queue, queued, counts }
    }

    /// Publishes. The order of the calls is the order in the shard, as long as its leader stays; that of
    /// one source on one subject always.
    pub(crate) fn publish(&self, outgoing: Outgoing) {
        if self.queued.load(Relaxed) >= QUEUE {
            self.counts.refused.fetch_add(1, Relaxed);
            outgoing.done.failed(Failure::Busy, 0, QUEUE);
            return;
        }
        self.queued.fetch_add(outgoing.size(), Relaxed);
        // If the task is gone, the publication learns it from the channel that is dropped.
        let _ = self.queue.send(outgoing);
    }
}

/// A message that was sent, or waits to be.
struct Pending {
    outgoing: Outgoing,
    /// Whether it was sent once without an answer.
    unanswered: bool,
    /// How often it was sent.
    sent: u32,
    /// Up to where this node had the shard when it was sent.
    before: u64,
}

impl Pending {
    /// It was sent without an answer. Whether it can be sent again.
    fn is_repeatable(&mut self) -> bool {
        self.unanswered |= self.outgoing.repeatable;
        self.outgoing.repeatable
    }
}

impl Sequenced for Pending {
    fn is_of(&self, other: &Self) -> bool {
        let [this, other] = [self, other].map(|pending| &pending.outgoing);
        this.source.is_some() && this.source == other.source && this.subject == other.subject
    }
}

/// The number of a message, how often it had been sent, and what has come of it.
type Landing = (u64, u32, Result<Message, RequestError>);
type Flight = Pin<Box<dyn Future<Output = Landing> + Send>>;

/// The task from inside.
struct Sender {
    api: Api,
    shard: Arc<Shard>,
    trim: Trim,
    max_message: u64,
    queued: Arc<AtomicU64>,
    counts: Arc<PublishCounts>,
    queue: PublishQueue<Pending>,
}

impl Sender {
    async fn run(
        mut self,
        mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
        mut connections: watch::Receiver<u64>,
    ) {
        connections.mark_unchanged();
        let mut flights = FuturesUnordered::<Flight>::new();
        let mut open = true;
        while open || !self.queue.is_empty() {
            self.send(&flights);
            let wake = self.queue.wake_at(Instant::now());
            tokio::select! {
                came = outgoing.recv(), if open => match came {
                    Some(outgoing) => {
                        let pending = Pending { outgoing, unanswered: false, sent: 0, before: 0 };
                        self.queue.push(pending, Instant::now());
                    }
                    None => open = false,
                },
                Some(landing) = flights.next(), if !flights.is_empty() => self.landed(landing),
                Ok(()) = connections.changed() => self.resend(),
                // What has waited for too long is given up before the next is sent.
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Sends what may be sent now. What has waited for too long is not sent once more.
    fn send(&mut self, flights: &FuturesUnordered<Flight>) {
        self.expire();
        let overtaken = self.queue.overtaken();
        self.give_up(overtaken);
        while self.queue.has_next(Instant::now()) {
            if self.api.client().connection_state() != State::Connected {
                // What async-nats takes now it would send some time later, when all of it is given up.
                return self.queue.hold(Instant::now() + NOBODY);
            }
            let Some(under_way) = self.api.traffic().begin() else {
                // This server is about to be left for another one.
                return self.queue.hold(Instant::now() + LEAVING);
            };
            let before = self.shard.place().upto;
            let Some((number, pending)) = self.queue.next(Instant::now()) else { return };
            (pending.before, pending.sent) = (before, pending.sent + 1);
            let sent = pending.sent;
            let Outgoing { subject, headers, payload, .. } = &pending.outgoing;
            let mut request = Request::new().payload(payload.clone()).timeout(Some(ACK));
            if !headers.is_empty() {
                request = request.headers(headers.clone());
            }
            let (client, subject) = (self.api.client().clone(), subject.clone());
            let mut flight: Flight = Box::pin(unconstrained(async move {
                let _under_way = under_way;
                (number, sent, client.send_request(subject, request).await)
            }));
            // The first poll puts it into the queue of the connection, which keeps the order: whatever
            // this task has done before (`unconstrained`), and if the queue is full, too.
            let waker = std::task::Waker::noop();
            match flight.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
                std::task::Poll::Pending => flights.push(flight),
                std::task::Poll::Ready(landing) => {
                    self.landed(landing);
                    // The connection has ended while it was said to be there: not again at once.
                    if self.queue.is_waiting(number) {
                        self.queue.hold(Instant::now() + NOBODY);
                    }
                }
            }
        }
    }

    /// An answer has come, or its time is over.
    fn landed(&mut self, (number, sent, answer): Landing) {
        if self.queue.flying(number).is_none_or(|pending| pending.sent != sent) {
            // It was sent again since.
            return;
        }
        let ack = ack::read(answer);
        match ack {
            Ack::Again => {
                self.queue.again(number);
                return self.queue.hold(Instant::now() + NOBODY);
            }
            Ack::InProgress(pause) => return self.queue.later(number, Instant::now() + pause),
            Ack::Unknown if self.queue.flying(number).is_some_and(Pending::is_repeatable) => {
                return self.queue.again(number);
            }
            Ack::Stored { .. } | Ack::Refused(_) | Ack::Unknown => {}
        }
        let may_be_stored = !matches!(ack, Ack::Refused(_));
        let Some(pending) = self.queue.take(number, may_be_stored) else { return };
        match ack {
            Ack::Stored { seq, duplicate } if duplicate || seq > pending.before => {
                self.queue.release();
                self.stored(seq, duplicate, pending);
            }
            Ack::Stored { .. } => {
                // Every message up to there is known, and this is not one of them: the position is one of
                // the epoch that comes next.
                self.shard.suspect();
                self.fail(pending, Failure::Unknown);
            }
            Ack::Refused(failure) => self.fail(pending, failure),
            Ack::Unknown | Ack::Again | Ack::InProgress(_) => self.fail(pending, Failure::Unknown),
        }
    }

    /// There is another connection: answers to what was sent before do not come any more.
    fn resend(&mut self) {
        for number in self.queue.all_flying() {
            if self.queue.flying(number).is_some_and(Pending::is_repeatable) {
                self.queue.again(number);
            }
        }
    }

    fn stored(&mut self, seq: u64, duplicate: bool, pending: Pending) {
        let count = if duplicate { &self.counts.repeated } else { &self.counts.stored };
        count.fetch_add(1, Relaxed);
        self.queued.fetch_sub(pending.outgoing.size(), Relaxed);
        let Outgoing { subject, charge, done, .. } = pending.outgoing;
        done.stored(seq);
        if charge > 0
            && let Some(before) = self.trim.stored(&subject, seq, charge)
        {
            let (api, shard) = (self.api.clone(), self.shard.number);
            tokio::spawn(async move {
                if let Err(error) = api.purge(shard, &subject, Some(before)).await {
                    tracing::debug!(shard, subject, %error, "more is kept of a channel than is shown");
                }
            });
        }
    }

    fn fail(&self, pending: Pending, failure: Failure) {
        let count = match failure {
            Failure::Unavailable => &self.counts.unavailable,
            Failure::Unknown => &self.counts.unknown,
            _ => &self.counts.refused,
        };
        count.fetch_add(1, Relaxed);
        self.queued.fetch_sub(pending.outgoing.size(), Relaxed);
        let Outgoing { charge, done, .. } = pending.outgoing;
        done.failed(failure, charge, self.max_message);
    }

    /// Gives up what was not taken in time.
    fn expire(&mut self) {
        let expired = self.queue.expired(Instant::now());
        self.give_up(expired);
    }

    fn give_up(&self, all: Vec<Pending>) {
        for pending in all {
            let failure = if pending.unanswered { Failure::Unknown } else { Failure::Unavailable };
            self.fail(pending, failure);
        }
    }
}
