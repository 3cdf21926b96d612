//! Channels that live in an engine which several hubs share: what a hub asks of it, and what it is told.
//!
//! The engine keeps the channels in shards, and gives each message its sequence in the shard: that is
//! its offset. So offsets of a channel rise with holes, and a position means the same to every hub. A
//! hub follows every shard whole, and holds the logs of the channels that are used there.
//!
//! - `ends`: which channels have ended, and what was stored behind their ends
//! - `feed`: every message of a shard once and in order, made of what comes live and what is fetched
//! - `progress`: how far each shard is known, and the publishers that wait for it
//! - `reads`: how many channels are read at once
//! - `stored`: what an engine holds of a channel, and what of it is shown
//! - `nodes`: what hubs tell each other of their members, without storing it
//! - `records`: small records that all share for a time
//! - `fake`: an engine in this process that fails on demand, for tests

mod ends;
#[cfg(feature = "test-util")]
pub mod fake;
mod feed;
#[cfg(test)]
mod feed_tests;
mod nodes;
mod progress;
mod reads;
mod records;
mod stored;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

pub(crate) use self::ends::{EndTimes, Ends};
pub use self::feed::Feed;
pub use self::nodes::{MAX_NODE_MESSAGE, NodeId, NodeLink, NodeSink};
pub use self::progress::Reply;
pub(crate) use self::progress::{FeedProgress, Known};
pub(crate) use self::reads::Reads;
pub use self::records::{Record, Records};
pub use self::stored::Stored;
use crate::store::StoreError;
use crate::{ChannelName, Epoch, EventName, IdempotencyKey, Options, Payload, Position, Source};

/// What an engine is asked for that answers later.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// A report for operators, which takes a moment.
pub type Report = Pin<Box<dyn Future<Output = String> + Send>>;

/// A backplane, and how far its shards are known here.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) backplane: Arc<dyn Backplane>,
    /// How long ends of channels hold.
    pub(crate) times: EndTimes,
    pub(crate) progress: Arc<FeedProgress>,
    pub(crate) reads: Arc<Reads>,
}

impl Cluster {
    pub(crate) fn new(backplane: Arc<dyn Backplane>, options: &Options) -> Self {
        let times = EndTimes::new(options.history_age, backplane.slack());
        let progress = Arc::new(FeedProgress::new(backplane.shards(), times));
        let reads = Arc::new(Reads::new(backplane.shards()));
        Self { backplane, times, progress, reads }
    }

    /// Up to where the channel's shard is known; before it begins, in an epoch of which nothing is
    /// kept.
    pub(crate) fn place(&self, channel: &ChannelName) -> Position {
        self.hold(channel).place()
    }

    /// What is known of the channel's shard, held.
    pub(crate) fn hold(&self, channel: &ChannelName) -> MutexGuard<'_, Known> {
        self.progress.hold(self.backplane.shard(channel))
    }
}

/// An engine that keeps channels for several hubs: see
/// [`Hub::with_backplane`](crate::Hub::with_backplane).
///
/// Nothing here waits: what takes time is an [`Answer`] or comes by the [`Sink`].
pub trait Backplane: fmt::Debug + Send + Sync + 'static {
    /// How many shards there may be. It never changes.
    fn shards(&self) -> u16;

    /// The shard of a channel, from 0 on. It never changes once one has [begun](Sink::begin).
    fn shard(&self, channel: &ChannelName) -> u16;

    /// From now on the sink is told of everything in every shard. Called once. Until a shard
    /// [begins](Sink::begin) its channels cannot be loaded.
    fn attach(&self, sink: Arc<dyn Sink>);

    /// The name by which the engine knows a publication with that key again.
    fn message_id(&self, channel: &ChannelName, key: &IdempotencyKey) -> String;

    /// Publishes, in the order of the calls as far as the engine keeps it. It comes to the hub by the
    /// [`Sink`] like every other message, and the [reply](Outgoing::reply) says that it was taken.
    fn publish(&self, outgoing: Outgoing);

    /// Ends a channel by a message that says so, of which the reply gives the offset: of a channel that has
    /// ended, that of its end. Its place among what is published is that of the call, as far as the engine
    /// keeps it.
    fn end(&self, channel: ChannelName, reply: Reply);

    /// How much longer the engine holds what is stored than a history: an end holds for half of it after
    /// [`Options::history_age`]. Default: an hour.
    fn slack(&self) -> Duration {
        Duration::from_hours(1)
    }

    /// Drops a channel's history by a message that says so, of which the reply gives the offset. Before that
    /// comes one that [opens](What::Open) the channel again, if it has ended.
    fn forget(&self, channel: ChannelName, reply: Reply);

    /// Reads what is stored of a channel, once and from any copy: the hub sees whether it is as new as
    /// what it knows, and asks again.
    fn read(&self, channel: ChannelName) -> Answer<Stored>;

    /// How many channels of one shard it [reads](Self::read) at once; requests beyond it wait in turn, those
    /// for other shards do not. Asked once a shard has [begun](Sink::begin). Default 32.
    fn reads(&self) -> usize {
        32
    }

    /// The last offset of a shard, from the server that knows for certain.
    fn last(&self, shard: u16) -> Answer<u64>;

    /// Why nothing is taken at present, if so.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] as long as the engine cannot be reached or has no quorum.
    fn health(&self) -> Result<(), StoreError>;

    /// Connects the hub, which goes by that id from now on, to the others. Called once. Without a link,
    /// which is the default, presence is each hub's own.
    fn link(&self, node: NodeId, sink: Arc<dyn NodeSink>) -> Option<Arc<dyn NodeLink>> {
        let _ = (node, sink);
        None
    }

    /// Waits until what was sent by the [link](Self::link) has gone out. Default: it has.
    fn flush(&self) -> Answer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The records that all hubs share. Default: none.
    fn records(&self) -> Option<Arc<dyn Records>> {
        None
    }

    /// Why [`health`](Self::health) fails, in one line for operators. Default: nothing more than that.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What the engine says of itself to operators: JSON, in a form of its own. Default: nothing.
    fn report(&self) -> Option<Report> {
        None
    }

    /// What the engine counts for operators, as it is now: always the same figures in the same order.
    /// Default: none.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

/// Something that an engine counts for operators.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Its name: ASCII letters, digits and `_`. A level that has a unit ends with it.
    pub name: &'static str,
    /// What it is, in a few words.
    pub help: &'static str,
    /// How much.
    pub amount: Amount,
}

/// How much a [`Figure`] says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// How often something has happened since the start.
    Count(u64),
    /// What there is now.
    Level(f64),
}

/// What an engine tells a hub. It may be called from any thread, for one shard from one at a time.
pub trait Sink: fmt::Debug + Send + Sync {
    /// The shard is known up to `upto` and goes on from there. With another epoch than before every
    /// reader of the shard is told [`GapReason::Reset`](crate::GapReason::Reset). `ends` are those that the
    /// engine holds up to there, in their order; later ones do no harm.
    fn begin(&self, shard: u16, epoch: Epoch, upto: u64, ends: Vec<ChannelEnd>);

    /// These came, in the order of their offsets, and nothing else up to `upto`: what
    /// [`Feed::take`] gives.
    fn arrived(&self, shard: u16, arrivals: Vec<Arrival>, upto: u64);

    /// What there was up to `upto` was passed over: more than is fetched at once, or so long ago that
    /// it is not known what was dropped meanwhile. Readers before it are told
    /// [`GapReason::Expired`](crate::GapReason::Expired). `ends` are as for [`begin`](Self::begin).
    fn skipped(&self, shard: u16, upto: u64, ends: Vec<ChannelEnd>);
}

/// A publication on its way to the engine.
#[derive(Debug)]
pub struct Outgoing {
    /// The channel.
    pub channel: ChannelName,
    /// Its shard.
    pub shard: u16,
    /// What it says.
    pub payload: Payload,
    /// The name of its event, if it has one.
    pub event: Option<EventName>,
    /// By what the engine knows a repetition, if it has a key: see [`Backplane::message_id`].
    pub id: Option<Arc<str>>,
    /// What sends it: those of one source on a channel are never stored in another order than that of
    /// the calls.
    pub source: Option<Source>,
    /// Whether the channel has ended, as the hub knows it: then it is only asked whether the engine knows the
    /// [id](Self::id). One that is new is not stored, and refused with
    /// [`Ended`](crate::PublishError::Ended).
    pub is_behind_end: bool,
    /// Where its outcome is told.
    pub reply: Reply,
}

/// A channel that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEnd {
    /// The channel.
    pub channel: ChannelName,
    /// The offset of its end.
    pub offset: u64,
    /// When it was stored, by the engine's clock, in milliseconds since the Unix epoch.
    pub ts: u64,
}

/// Something that was stored in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its sequence in the shard.
    pub offset: u64,
    /// When it was stored, by the engine's clock, in milliseconds since the Unix epoch.
    pub ts: u64,
    /// What it is.
    pub what: What,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message.
    Message {
        /// Its channel.
        channel: ChannelName,
        /// What it says.
        payload: Payload,
        /// The name of its event, if it has one.
        event: Option<EventName>,
        /// What [`Outgoing::id`] was.
        id: Option<Arc<str>>,
    },
    /// The history of the channel was dropped.
    Forget(ChannelName),
    /// The channel has ended. It is kept apart from the messages of the channel: neither counts for the bounds
    /// of the other.
    End(ChannelName),
    /// The channel is open again. It takes the place of the end.
    Open {
        /// The channel.
        channel: ChannelName,
        /// The offset of the end. What was stored on the channel between the two is void.
        ended: u64,
        /// When the end was stored, in milliseconds since the Unix epoch.
        since: u64,
    },
    /// The clock of the shard: see [`Stored::clock`].
    Clock,
    /// Something else, which takes up an offset.
    Other,
}

impl What {
    /// The channel that it is of.
    pub(crate) fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Message { channel, .. }
            | Self::Forget(channel)
            | Self::End(channel)
            | Self::Open { channel, .. } => Some(channel),
            Self::Clock | Self::Other => None,
        }
    }
}
