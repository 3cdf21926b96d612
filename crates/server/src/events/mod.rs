//! Telling a program who comes to channels and goes: `channel.occupied`, `member.left` and so on.
//!
//! - this file: what is told, and the [`EventSink`] that takes it.
//! - [`queue`]: what waits for the sink, within bounds, and the time for which a channel may be without readers before
//!   it is vacated. The hub calls it, and it never waits.
//! - [`delivery`]: the task that hands batches to the sink, one after the other, until they are taken.

mod delivery;
mod queue;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sockeye_hub::ChannelName;
use sockeye_hub::backplane::NodeId;

pub(crate) use self::delivery::{Delivery, FINISH};
#[cfg(feature = "prometheus")]
pub(crate) use self::queue::EventFigures;

/// Takes the events of a server: who comes to channels and goes, in order, each at least once.
///
/// There is one batch at a time. One that is not taken, because of an error, a panic or 10 s without an answer, is
/// offered again, at first within half a second and at last within 20 s, until it is taken or
/// [refused](EventError::Refused). What happens meanwhile waits: 65,536 events and 16 MiB at most, beyond which the oldest are
/// dropped and counted in [`EventBatch::lost`]. Neither publishing nor delivery ever waits for it.
///
/// ```
/// use sockeye_server::{ChannelOptions, EventBatch, EventError, EventKind, EventSink};
///
/// /// Prints who comes to the lobby.
/// struct Printer;
///
/// impl EventSink for Printer {
///     async fn take(&self, batch: &EventBatch) -> Result<(), EventError> {
///         for event in &batch.events {
///             if let EventKind::MemberJoined { channel, member } = &event.kind
///                 && channel.as_str() == "lobby"
///             {
///                 println!("{member} has come");
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let options = ChannelOptions::default().events(Printer);
/// ```
pub trait EventSink: Send + Sync + 'static {
    /// Takes these events. They may have been offered before: [`EventId`] says which.
    ///
    /// # Errors
    ///
    /// [`EventError::Unavailable`] to be offered them again, [`EventError::Later`] to be so after some time,
    /// [`EventError::Refused`] to never be.
    fn take(&self, batch: &EventBatch) -> impl Future<Output = Result<(), EventError>> + Send;
}

/// Why an [`EventSink`] has not taken a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// It cannot take them now.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// It cannot take them now, and asks not to be offered any for this time, of which 5 minutes at most are waited.
    #[error("{0}")]
    Later(#[source] Box<dyn Error + Send + Sync>, Duration),
    /// It will never take them: they are dropped, and counted in the next batch as lost.
    #[error("{0}")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}

impl EventError {
    /// It cannot take them now, for this reason.
    pub fn unavailable(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(why.into())
    }

    /// It cannot take them before this time is over, for this reason.
    pub fn later(why: impl Into<Box<dyn Error + Send + Sync>>, pause: Duration) -> Self {
        Self::Later(why.into(), pause)
    }

    /// It will never take them, for this reason.
    pub fn refused(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused(why.into())
    }
}

/// Events that are offered together, 500 at most, in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventBatch {
    /// The events: at least one.
    pub events: Vec<Event>,
    /// How many events before these were dropped, since there was no room for them or they were refused. If there are
    /// any, what is known of who is present may be wrong until it is asked for again.
    pub lost: u64,
    /// Which server of a cluster they are of. `None` without a cluster.
    pub node: Option<NodeId>,
}

impl EventBatch {
    /// What it is recognised by when it is offered again: the id of its first event.
    pub fn id(&self) -> EventId {
        self.events.first().map_or(EventId { run: 0, number: 0 }, |event| event.id)
    }

    /// It as JSON, as `--events-url` sends it: `{"events":[{"id":…,"event":"member.joined","channel":…,"member":…,"at":…}]}`,
    /// with `"node"` in each event of a cluster and `"lost"` if there are any.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Batch<'a> {
            #[serde(skip_serializing_if = "is_zero")]
            lost: u64,
            events: Vec<Line<'a>>,
        }
        fn is_zero(lost: &u64) -> bool {
            *lost == 0
        }
        let events = self.events.iter().map(|event| Line::of(event, self.node)).collect();
        // Text and numbers are always JSON.
        serde_json::to_vec(&Batch { lost: self.lost, events }).unwrap_or_default()
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What it is recognised by when it is offered again.
    pub id: EventId,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What an event is recognised by, as text `RUN-NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EventId {
    /// The life of the server, a random number.
    pub run: u64,
    /// The number of the event in it, from 1 on. A number that is left out was dropped.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}-{}", self.run, self.number)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What happened. Clients count from when they subscribe, by any transport, and clients that poll for as long as their
/// presence lasts; in a cluster each server tells of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// `channel.occupied`: a client reads the channel, which had none.
    ChannelOccupied {
        /// The channel.
        channel: ChannelName,
    },
    /// `channel.vacated`: no client has read the channel for 5 s. The time of the event is when the last one left.
    ChannelVacated {
        /// The channel.
        channel: ChannelName,
    },
    /// `member.joined`: a client with an id is present, by its first connection or poll.
    MemberJoined {
        /// The channel.
        channel: ChannelName,
        /// The id.
        member: Arc<str>,
    },
    /// `member.left`: it is present no more, by none of its connections, and does not poll.
    MemberLeft {
        /// The channel.
        channel: ChannelName,
        /// The id.
        member: Arc<str>,
    },
    /// `server.started`: the first event of each life of a server. No client is present at it.
    ServerStarted,
    /// `server.stopped`: the last event of a server that ends in order. No client is present at it any more.
    ServerStopped,
    /// `node.found`: another server of the cluster is there, for the first time or after it was lost.
    NodeFound {
        /// That server.
        node: NodeId,
    },
    /// `node.lost`: another server of the cluster has left, or does not answer. Its members count as gone.
    NodeLost {
        /// That server.
        node: NodeId,
    },
}

impl EventKind {
    /// The word for it, such as `member.joined`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ChannelOccupied { .. } => "channel.occupied",
            Self::ChannelVacated { .. } => "channel.vacated",
            Self::MemberJoined { .. } => "member.joined",
            Self::MemberLeft { .. } => "member.left",
            Self::ServerStarted => "server.started",
            Self::ServerStopped => "server.stopped",
            Self::NodeFound { .. } => "node.found",
            Self::NodeLost { .. } => "node.lost",
        }
    }

    /// The channel, if it is about one.
    pub fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::ChannelOccupied { channel }
            | Self::ChannelVacated { channel }
            | Self::MemberJoined { channel, .. }
            | Self::MemberLeft { channel, .. } => Some(channel),
            Self::ServerStarted
            | Self::ServerStopped
            | Self::NodeFound { .. }
            | Self::NodeLost { .. } => None,
        }
    }

    /// The id of the member, if it is about one.
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::MemberJoined { member, .. } | Self::MemberLeft { member, .. } => Some(member),
            _ => None,
        }
    }
}

/// An event as JSON.
#[derive(Serialize)]
struct Line<'a> {
    id: EventId,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// The other server that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<String>,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event, node: Option<NodeId>) -> Self {
        let kind = &event.kind;
        let other = match kind {
            EventKind::NodeFound { node } | EventKind::NodeLost { node } => Some(node.to_string()),
            _ => None,
        };
        let channel = kind.channel().map(ChannelName::as_str);
        let node = node.map(|node| node.to_string());
        let (id, event, at) = (event.id, kind.name(), event.at);
        Self { id, event, channel, member: kind.member(), at, node, other }
    }
}

/// An [`EventSink`] of any type. Clones are the same one.
#[derive(Clone)]
pub struct AnyEventSink(Arc<dyn Erased>);

impl AnyEventSink {
    /// The same without its type.
    pub fn new(sink: impl EventSink) -> Self {
        Self(Arc::new(sink))
    }
}

impl fmt::Debug for AnyEventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyEventSink")
    }
}

/// What a sink says, in its time.
type Taking<'a> = Pin<Box<dyn Future<Output = Result<(), EventError>> + Send + 'a>>;

/// An [`EventSink`] without its type.
trait Erased: Send + Sync {
    fn take<'a>(&'a self, batch: &'a EventBatch) -> Taking<'a>;
}

impl<S: EventSink> Erased for S {
    fn take<'a>(&'a self, batch: &'a EventBatch) -> Taking<'a> {
        Box::pin(EventSink::take(self, batch))
    }
}
