//! Who is present on one channel. No lock, no clock and no waiting here:
//! [`Rooms`](super::Rooms) adds those.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::mem;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
use super::watch::Changes;
use super::{Change, Member, Presence};
use crate::Hub;

#[derive(Debug, Default)]
pub(super) struct Room {
    members: BTreeMap<Arc<str>, Stay>,
    /// Connections without an id.
    nameless: u64,
    /// Those without an id who poll, by their keys.
    pollers: BTreeMap<Arc<str>, Renewal>,
    /// Every renewal once, by a time before which it does not end.
    renewals: BinaryHeap<Reverse<(u64, Renewed)>>,
    /// The time of the last look at the clock.
    now: u64,
    /// What those who watch are told.
    pub(super) changes: Option<Changes>,
}

/// How a member is present: by so many connections, by polling, or both.
#[derive(Debug)]
struct Stay {
    since: u64,
    leases: usize,
    renewal: Option<Renewal>,
}

/// Whose renewal it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Renewed {
    Member(Arc<str>),
    Poller(Arc<str>),
}

/// When one who polls came last, and for how long that is good; in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Renewal {
    at: u64,
    ttl: u64,
}

impl Room {
    /// Whether nobody is here and nobody watches: then nothing about the room need be kept.
    pub(super) fn is_deserted(&self) -> bool {
        self.members.is_empty()
            && self.nameless == 0
            && self.pollers.is_empty()
            && self.changes.is_none()
    }

    /// Enters a connection. Gives the id under which it was.
    pub(super) fn join(&mut self, id: Option<&str>, now: u64, ledger: &Ledger) -> Option<Arc<str>> {
        match id.and_then(|id| self.member(id, now, ledger)) {
            Some((id, stay)) => {
                stay.leases += 1;
                Some(id)
            }
            None => {
                self.nameless += 1;
                None
            }
        }
    }

    /// Undoes one [`join`](Self::join), which gave `id`.
    pub(super) fn leave(&mut self, id: Option<&str>, ledger: &Ledger) {
        let Some(id) = id else {
            self.nameless -= 1;
            return;
        };
        if let Some(stay) = self.members.get_mut(id) {
            stay.leases -= 1;
            self.dismiss_if_gone(id, ledger);
        }
    }

    /// Lets one who polls stay for `ttl` from now, if there is room for him.
    pub(super) fn renew(
        &mut self,
        key: &str,
        id: Option<&str>,
        ttl: Duration,
        now: u64,
        ledger: &Ledger,
    ) {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let renewal = Renewal { at: now, ttl };
        if let Some((id, stay)) = id.and_then(|id| self.member(id, now, ledger)) {
            // A short poll does not cut short what a long one was promised.
            match &mut stay.renewal {
                Some(before) => *before = before.or(renewal),
                none => {
                    *none = Some(renewal);
                    self.renewals.push(Reverse((renewal.end(), Renewed::Member(id))));
                }
            }
        } else if let Some(before) = self.pollers.get_mut(key) {
            *before = before.or(renewal);
        } else if self.is_open(key, ledger) && ledger.admit(key) {
            let key: Arc<str> = key.into();
            self.pollers.insert(Arc::clone(&key), renewal);
            self.renewals.push(Reverse((renewal.end(), Renewed::Poller(key))));
        }
    }

    /// The member of that id, who joins now if he was not there. `None` if there is no room.
    fn member(&mut self, id: &str, now: u64, ledger: &Ledger) -> Option<(Arc<str>, &mut Stay)> {
        if !self.members.contains_key(id) {
            if !self.is_open(id, ledger) || !ledger.admit(id) {
                return None;
            }
            let member = Member { id: id.into(), since: now };
            let stay = Stay { since: now, leases: 0, renewal: None };
            self.members.insert(Arc::clone(&member.id), stay);
            self.tell(Change::Join(member));
        }
        // The tree's own key, so that every lease shares it.
        let id = self.members.get_key_value(id).map(|(id, _)| Arc::clone(id))?;
        let stay = self.members.get_mut(&id)?;
        Some((id, stay))
    }

    /// Whether one more who goes by that name may be remembered.
    fn is_open(&self, name: &str, ledger: &Ledger) -> bool {
        let remembered = self.members.len() + self.pollers.len();
        name.len() <= Hub::MAX_ID_LEN && remembered < ledger.max_members
    }

    /// Ends the renewals whose time is over, and with them the presence of those who have nothing
    /// else. Everything else here relies on this having been done at the current time.
    ///
    /// It looks at those that are due alone, unless the clock was set back.
    pub(super) fn expire(&mut self, now: u64, ledger: &Ledger) {
        let was_set_back = now < self.now;
        self.now = now;
        if was_set_back {
            // Any of them may be over now, or end sooner than was known.
            for Reverse((_, renewed)) in mem::take(&mut self.renewals) {
                self.check(renewed, ledger);
            }
        }
        while self.renewals.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            if let Some(Reverse((_, renewed))) = self.renewals.pop() {
                self.check(renewed, ledger);
            }
        }
    }

    /// Ends this renewal, or puts it back in its place if it goes on.
    fn check(&mut self, renewed: Renewed, ledger: &Ledger) {
        let now = self.now;
        let renewal = match &renewed {
            Renewed::Member(id) => self.members.get(id).and_then(|stay| stay.renewal),
            Renewed::Poller(key) => self.pollers.get(key).copied(),
        };
        if let Some(renewal) = renewal.filter(|renewal| renewal.holds(now)) {
            self.renewals.push(Reverse((renewal.end(), renewed)));
            return;
        }
        match renewed {
            Renewed::Member(id) => {
                if let Some(stay) = self.members.get_mut(&id) {
                    stay.renewal = None;
                }
                self.dismiss_if_gone(&id, ledger);
            }
            Renewed::Poller(key) => {
                self.pollers.remove(&key);
                ledger.dismiss(&key);
            }
        }
    }

    fn dismiss_if_gone(&mut self, id: &str, ledger: &Ledger) {
        if self.members.get(id).is_some_and(|stay| stay.leases == 0 && stay.renewal.is_none())
            && let Some((id, Stay { since, .. })) = self.members.remove_entry(id)
        {
            ledger.dismiss(&id);
            self.tell(Change::Leave(Member { id, since }));
        }
    }

    fn tell(&mut self, change: Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change);
        }
    }

    /// The first `limit` members after that id, and how many there are in all.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> Presence {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.members.range::<str, _>((start, Bound::Unbounded));
        let member =
            |(id, stay): (&Arc<str>, &Stay)| Member { id: Arc::clone(id), since: stay.since };
        let members: Vec<Member> = rest.by_ref().take(limit).map(member).collect();
        let next = rest.next().and(members.last()).map(|last| Arc::clone(&last.id));
        let count = (self.members.len() + self.pollers.len()) as u64 + self.nameless;
        Presence { count, members, next }
    }
}

impl Renewal {
    /// Whether it is still good. A clock that was set back by more than the time it was good for
    /// ends it, too: else the absent would stay until the clock has caught up.
    fn holds(self, now: u64) -> bool {
        self.at.abs_diff(now) < self.ttl
    }

    /// When it is over, as long as the clock is not set back.
    fn end(self) -> u64 {
        self.at.saturating_add(self.ttl)
    }

    /// The one that is good for longer.
    fn or(self, later: Self) -> Self {
        let holds_longer = self.holds(later.at) && self.end() > later.end();
        if holds_longer { self } else { later }
    }
}
