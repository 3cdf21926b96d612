//! Watching who comes and goes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Member, Presence};
use crate::{ChannelName, Hub};

/// Changes kept for those who watch. Who falls behind by more is told the state instead.
const KEPT: usize = 256;

/// Members in [`Change::Anew`] at most.
const ANEW: usize = 100;

/// What one who watches is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A member has come: by its first connection or poll.
    Join(Member),
    /// A member has left: its last connection is gone, and it does not poll any more.
    Leave(Member),
    /// There were more changes than are kept for one who does not listen: this is what they came
    /// to, the first 100 members of it. What was known before does not count any more; where there
    /// are [more](Presence::next), [`Hub::presence_page`] gives them.
    Anew(Presence),
}

/// Tells who joins a channel and leaves it. Members only: of those without an id nobody knows
/// whether the one who comes is the one who left.
///
/// Like a [`Reader`](crate::Reader) it has no queue but a place in a short log of changes that all
/// who watch the channel share. Waiting is cancel-safe.
///
/// To know who is there from the beginning, watch first and ask for the
/// [`presence`](Hub::presence) then: who joins in between is told twice, and nobody is missed.
#[derive(Debug)]
pub struct Watch {
    hub: Hub,
    channel: ChannelName,
    /// The number of the change to be told next.
    next: u64,
    grown: Arc<Notify>,
}

/// The last changes in a room, as long as somebody watches.
#[derive(Debug, Default)]
pub(super) struct Changes {
    kept: VecDeque<Change>,
    /// How many there were in all.
    count: u64,
    watchers: usize,
    grown: Arc<Notify>,
}

impl Changes {
    pub(super) fn push(&mut self, change: Change) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(change);
        self.count += 1;
        self.grown.notify_waiters();
    }

    /// The change with that number; an error if it is not kept any more.
    fn at(&self, number: u64) -> Result<Option<&Change>, ()> {
        let first = self.count - self.kept.len() as u64;
        let index = number.checked_sub(first).ok_or(())?;
        Ok(self.kept.get(index as usize))
    }
}

impl Watch {
    pub(super) fn new(hub: Hub, channel: ChannelName) -> Self {
        let (next, grown) = hub.rooms().enter(&channel, |room, _| {
            let changes = room.changes.get_or_insert_default();
            changes.watchers += 1;
            (changes.count, Arc::clone(&changes.grown))
        });
        Self { hub, channel, next, grown }
    }

    /// The next change, as soon as there is one.
    pub async fn next(&mut self) -> Change {
        let grown = Arc::clone(&self.grown);
        loop {
            // It counts from here on, so a change between the look and the wait wakes it.
            let wait = grown.notified();
            if let Some(change) = self.try_next() {
                return change;
            }
            wait.await;
        }
    }

    /// The next change, if there is one now.
    pub fn try_next(&mut self) -> Option<Change> {
        let (change, next) = self.hub.rooms().enter(&self.channel, |room, _| {
            let changes = room.changes.as_ref()?;
            match changes.at(self.next) {
                Ok(change) => change.map(|change| (change.clone(), self.next + 1)),
                Err(()) => Some((Change::Anew(room.page(None, ANEW)), changes.count)),
            }
        })?;
        self.next = next;
        Some(change)
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.rooms().enter(&self.channel, |room, _| {
            if let Some(changes) = &mut room.changes {
                changes.watchers -= 1;
                if changes.watchers == 0 {
                    room.changes = None;
                }
            }
        });
    }
}
