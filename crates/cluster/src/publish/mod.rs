//! Publishing: one task for a shard sends its messages in the order in which they came.
//!
//! What surely was not taken (no server answers for the stream, no connection) is kept in order and sent
//! again until [`PUBLISH_TIMEOUT`] is over: an election in NATS takes up to nine seconds. What may have been
//! taken is sent again only if it has an id by which JetStream recognises it: one made of its key, or one of
//! the node's own. With another connection that is done at once. Neither is sent again where a later message of
//! the same source on the same subject has been taken meanwhile: it would come behind that.

pub(crate) mod ack;
mod answers;
pub(crate) mod clock;
mod queue;
mod sender;
mod slots;
mod trim;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use self::ack::Failure;
use self::sender::{Pending, Sender};
use crate::message::Headers;
use crate::nats::api::Api;
use crate::shard::Shard;
use sockeye_hub::Source;
use sockeye_hub::backplane::Reply;

/// How long a message is kept that is not taken.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// What may wait in all shards together, in bytes.
pub(crate) const QUEUE: u64 = 64 << 20;

/// A message to be published.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: Subject,
    pub(crate) headers: Headers,
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
    /// How many answers the connection has room for.
    pub(crate) answers: usize,
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
    queue: mpsc::UnboundedSender<Box<Pending>>,
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
        let sender = Sender::new(api, shard, limits, Arc::clone(&queued), Arc::clone(&counts));
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
        let _ = self.queue.send(Pending::new(outgoing));
    }
}
