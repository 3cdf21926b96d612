//! Fan-out by groups: the readers of a channel that have everything are data of one task, which writes each run of
//! messages to all of them, one behind the other.
//!
//! A member of a [`Group`] stands where its group does. Whatever concerns it alone is done by the task of its
//! connection, as without groups: what arrives, its close, the end of its token. To that task a member comes back
//! with its position
//!
//! - when its socket does not take all at once: it catches up by itself, and joins again;
//! - when it is told something else than messages, a gap or the end of the channel;
//! - when it asks for it, and when it is dropped.
//!
//! So order, gaps, policies and what is counted are those of the task's own reading, and a client that does not read
//! holds what it would hold then: one run.

mod group;
mod membership;
mod news;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sockeye::{Delivery, SendRings, Writer};
use sockeye_hub::{Budget, ChannelName, Entry, Outlook, Page, Reader, Run, RunForm, Unchanged};
use tokio::runtime::{self, Handle};

pub(crate) use self::group::Group;
use self::group::Member;
pub(crate) use self::membership::Membership;
use crate::metrics::connections::{ChannelRead, ConnectionRegister};
use crate::net::io::Io;
use crate::net::shared_io::BodyIo;
use crate::transport::Transport;

/// With fewer readers on its channel a reader has no use for a group, which is a task and an allocation more.
pub(crate) const WORTHWHILE: usize = 16;

/// With fewer members than this a group has room for one more; with more of them the next worker of the runtime gets
/// a group of its own.
const ROOMY: usize = 64;

/// The groups of one server.
#[derive(Debug)]
pub(crate) struct Groups {
    register: Arc<ConnectionRegister>,
    /// By which they write to many members at once.
    rings: Option<SendRings>,
    /// Those with the same members but for their number: one for each worker at most.
    open: Mutex<HashMap<Key, Vec<Arc<Group>>>>,
}

/// What the members of a group have in common. A group is run by their runtime, and ends with it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    outlook: Outlook,
    runtime: runtime::Id,
    wire: &'static Wire,
}

/// How runs of messages are written: a `static`, by which members of one group are known.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) transport: Transport,
    /// What a connection takes at once.
    pub(crate) at_once: Budget,
    pub(crate) form: &'static RunForm,
    pub(crate) encode: fn(&ChannelName, &[Arc<Entry>]) -> Bytes,
    /// How many bytes are counted for a page, whose wire form this is.
    pub(crate) counted: fn(&Page, &Bytes) -> usize,
}

/// Where the bytes of a member go.
pub(crate) enum Outlet {
    /// A WebSocket.
    Frames(Writer),
    /// A WebSocket that other groups write to as well, and its task: none does while the connection is
    /// [busy](crate::metrics::connections::ConnectionRecord::set_busy).
    SharedFrames(Writer),
    /// The same, where members of the channel are to be told first. Boxed, as all are as large as the largest.
    WatchedFrames(Box<(Writer, Unchanged)>),
    /// The connection below the body of a response, once that is known.
    Body(Arc<BodyIo>),
}

impl Groups {
    pub(crate) fn new(register: Arc<ConnectionRegister>, rings: Option<SendRings>) -> Arc<Self> {
        Arc::new(Self { register, rings, open: Mutex::default() })
    }

    /// Whether the reader has enough companions for a group.
    pub(crate) fn are_worthwhile(reader: &Reader) -> bool {
        reader.readers() >= WORTHWHILE
    }

    /// Joins a group of readers that stand where this one does. `None` where it is better served by its own task:
    /// when it has few companions, when it is behind them, or when there is something for it alone.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn join(
        self: &Arc<Self>,
        (reader, read): (&Reader, &ChannelRead),
        wire: &'static Wire,
        outlet: impl FnOnce() -> Outlet,
    ) -> Option<Membership> {
        if !Self::are_worthwhile(reader) {
            return None;
        }
        let runtime = Handle::current();
        let key = Key { outlook: reader.outlook()?, runtime: runtime.id(), wire };
        let shared = reader.shared()?;
        let offset = reader.position().offset;
        let member = Member::new(outlet(), read.deliveries(), offset);
        let (group, is_new) = self.group_for(key, offset, runtime.metrics().num_workers());
        // The first member is there before the task, which ends when there is none any more.
        let is_admitted = group.admit(member);
        if is_new {
            // Without the lock: on a runtime that is ending the task is dropped here, and takes it.
            runtime.spawn(group::run(Arc::clone(self), Arc::clone(&group), shared));
        }
        is_admitted.then(|| Membership::new(group, read.deliveries()))
    }

    /// The group for one member more, and whether it is a new one, which begins at this offset.
    fn group_for(&self, key: Key, offset: u64, workers: usize) -> (Arc<Group>, bool) {
        let mut open = self.open();
        let groups = open.entry(key.clone()).or_default();
        let smallest = groups.iter().min_by_key(|group| group.len());
        if let Some(group) = smallest
            && (group.len() < ROOMY || groups.len() >= workers)
        {
            return (Arc::clone(group), false);
        }
        let group = Group::new(key, offset);
        groups.push(Arc::clone(&group));
        (group, true)
    }

    /// How they write to their members.
    pub(crate) fn io(&self) -> Io {
        if self.rings.is_some() { Io::Uring } else { Io::Epoll }
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.open().values().map(Vec::len).sum()
    }

    /// How many members they have together.
    #[cfg(test)]
    pub(crate) fn members(&self) -> usize {
        self.open().values().flatten().map(|group| group.len()).sum()
    }

    /// The group has ended.
    fn remove(&self, group: &Arc<Group>) {
        let mut open = self.open();
        if let Some(groups) = open.get_mut(group.key()) {
            groups.retain(|other| !Arc::ptr_eq(other, group));
            if groups.is_empty() {
                open.remove(group.key());
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Group>>>> {
        // Consistent between any two statements, so a panic elsewhere does not matter.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    /// The bytes of a run of a channel, made once for all that read it.
    pub(crate) fn of(&self, channel: &ChannelName, run: &Run) -> Bytes {
        run.form(self.form, |entries| (self.encode)(channel, entries))
    }
}

impl Outlet {
    /// Writes the bytes to each that there is, as much as is taken at once: plain WebSockets by rings, if there are
    /// any. This is where the bytes of a group go to sockets.
    fn try_write_each<'a>(
        outlets: impl Iterator<Item = Option<&'a Self>> + Clone,
        bytes: &Bytes,
        rings: Option<&SendRings>,
    ) -> Vec<Delivery> {
        if let Some(rings) = rings
            && let Some(writers) =
                outlets.clone().map(|outlet| outlet?.writer()).collect::<Option<Vec<_>>>()
        {
            return rings.try_send_frames(writers, bytes);
        }
        let write =
            |outlet: Option<&Self>| outlet.map_or(Delivery::Refused, |it| it.try_write(bytes));
        outlets.map(write).collect()
    }

    /// What writes to a WebSocket that nothing else writes to.
    fn writer(&self) -> Option<&Writer> {
        match self {
            Self::Frames(writer) => Some(writer),
            Self::SharedFrames(_) | Self::WatchedFrames(_) | Self::Body(_) => None,
        }
    }

    /// Whether others write there, too.
    fn is_shared(&self) -> bool {
        matches!(self, Self::SharedFrames(_) | Self::WatchedFrames(_))
    }

    fn try_write(&self, bytes: &Bytes) -> Delivery {
        match self {
            Self::Frames(writer) | Self::SharedFrames(writer) => writer.try_send_frames(bytes),
            Self::WatchedFrames(watched) => watched.0.try_send_frames(bytes),
            Self::Body(io) => {
                io.below().map_or(Delivery::Refused, |(below, _)| below.try_write(bytes))
            }
        }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frames(_) => "Frames",
            Self::SharedFrames(_) => "SharedFrames",
            Self::WatchedFrames(_) => "WatchedFrames",
            Self::Body(_) => "Body",
        })
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let Self { outlook, runtime, wire } = self;
        *outlook == other.outlook && *runtime == other.runtime && std::ptr::eq(*wire, other.wire)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.outlook.hash(state);
        self.runtime.hash(state);
    }
}
