//! Watching the members that join and leave.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};

use tokio::sync::Notify;

use super::{Member, Presence, PresenceRegistry};
use crate::ChannelName;

/// Changes kept for watches. One that falls behind by more is told the state instead.
const KEPT: usize = 256;

/// Members in [`PresenceChange::Anew`] at most.
const ANEW: usize = 100;

/// What a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// A member has come: by its first connection or poll.
    Join(Member),
    /// A member has left: its last connection is gone, and it does not poll any more.
    Leave(Member),
    /// There were more changes than are kept for a slow watch: this is what they came
    /// to, the first 100 members of it. What was known before does not count any more; where there
    /// are [more](Presence::next), [`Hub::presence_page`](crate::Hub::presence_page) gives them.
    Anew(Presence),
}

/// Reports the members that join a channel and leave it. Members only: of clients without an id it is not known
/// whether a join and a leave are of the same one.
///
/// Like a [`Reader`](crate::Reader) it has no queue but a place in a short log of changes that all
/// watches of the channel share. Waiting is cancel-safe.
///
/// With a backplane that connects hubs it tells of members at all nodes, each once. Those at a node
/// that has gone, or is cut off, leave within seconds, and join again when it is back.
///
/// To know the members from the beginning, watch first and ask for the
/// [`presence`](crate::Hub::presence_of_all) then: a member that joins in between is told twice, and none is missed.
#[derive(Debug)]
pub struct Watch {
    presence: Arc<PresenceRegistry>,
    channel: ChannelName,
    /// The number of the change to be told next.
    next: u64,
    grown: Arc<Grown>,
}

/// Knows of the next change of a [`Watch`]: for what sends a client something in the place of the watch, and has to
/// stop when there is something to tell before. See [`Watch::unchanged`].
#[derive(Clone, Debug)]
pub struct Unchanged {
    grown: Arc<Grown>,
    next: u64,
}

/// What the watches of a set look at without its lock.
#[derive(Debug, Default)]
struct Grown {
    notify: Notify,
    /// How many changes there were in all.
    count: AtomicU64,
}

/// The last changes in a set, as long as it is watched.
#[derive(Debug, Default)]
pub(super) struct Changes {
    kept: VecDeque<PresenceChange>,
    /// How many there were in all.
    count: u64,
    watchers: usize,
    grown: Arc<Grown>,
}

impl Changes {
    pub(super) fn push(&mut self, change: PresenceChange) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(change);
        self.count += 1;
        self.grown.count.store(self.count, Release);
        self.grown.notify.notify_waiters();
    }

    /// The change with that number; an error if it is not kept any more.
    fn at(&self, number: u64) -> Result<Option<&PresenceChange>, ()> {
        let first = self.count - self.kept.len() as u64;
        let index = number.checked_sub(first).ok_or(())?;
        Ok(self.kept.get(index as usize))
    }
}

impl Watch {
    pub(crate) fn new(presence: &Arc<PresenceRegistry>, channel: &ChannelName) -> Self {
        let (next, grown) = presence.enter(channel, |set, _| {
            if let Some(peers) = presence.peers.get()
                && set.changes.is_none()
            {
                peers.follow(channel, set);
            }
            let changes = set.changes.get_or_insert_default();
            changes.watchers += 1;
            (changes.count, Arc::clone(&changes.grown))
        });
        if let Some(peers) = presence.peers.get() {
            peers.ask_due();
        }
        Self { presence: Arc::clone(presence), channel: channel.clone(), next, grown }
    }

    /// The next change, as soon as there is one.
    pub async fn next(&mut self) -> PresenceChange {
        let grown = Arc::clone(&self.grown);
        loop {
            // It counts from here on, so a change between the look and the wait wakes it.
            let wait = grown.notify.notified();
            if let Some(change) = self.try_next() {
                return change;
            }
            wait.await;
        }
    }

    /// The next change, if there is one now.
    pub fn try_next(&mut self) -> Option<PresenceChange> {
        let (change, next) = self.presence.enter(&self.channel, |set, _| {
            let changes = set.changes.as_ref()?;
            match changes.at(self.next) {
                Ok(change) => change.map(|change| (change.clone(), self.next + 1)),
                Err(()) => Some((PresenceChange::Anew(set.view(ANEW)), changes.count)),
            }
        })?;
        self.next = next;
        Some(change)
    }

    /// What knows whether there is a change that this has not told yet: it does once a message is read that was
    /// published after the change.
    pub fn unchanged(&self) -> Unchanged {
        Unchanged { grown: Arc::clone(&self.grown), next: self.next }
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }
}

impl Unchanged {
    /// Whether there was no change since.
    pub fn holds(&self) -> bool {
        self.grown.count.load(Acquire) == self.next
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.presence.enter(&self.channel, |set, _| {
            if let Some(changes) = &mut set.changes {
                changes.watchers -= 1;
                if changes.watchers == 0 {
                    set.changes = None;
                    if let Some(peers) = self.presence.peers.get() {
                        peers.unfollow(&self.channel, set);
                    }
                }
            }
        });
    }
}
