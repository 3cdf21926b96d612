//! The members present on one channel. No lock, no clock and no waiting here:
//! [`PresenceRegistry`](super::PresenceRegistry) adds those.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::mem;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::budget::PresenceBudget;
use super::remote::Remote;
use super::watch::Changes;
use super::{MAX_ID_LEN, Member, Presence, PresenceChange};

#[derive(Debug, Default)]
pub(super) struct PresenceSet {
    pub(super) members: BTreeMap<Arc<str>, MemberState>,
    /// Connections without an id.
    pub(super) nameless: u64,
    /// Clients without an id that poll, by their keys.
    pub(super) pollers: BTreeMap<Arc<str>, Renewal>,
    /// Every renewal once, by a time before which it does not end.
    renewals: BinaryHeap<Reverse<(u64, Renewed)>>,
    /// The time of the last look at the clock.
    now: u64,
    /// What watches are told.
    pub(super) changes: Option<Changes>,
    /// What other nodes and the observer are to be told, if there are any.
    pub(super) outgoing: Option<Vec<PresenceChange>>,
    /// Whether a client was present when the observer was told last.
    pub(super) was_occupied: bool,
    /// The members at other nodes, while a client watches.
    pub(super) remote: Option<Box<Remote>>,
}

/// How a member is present: by that many connections, by polling, or both.
#[derive(Debug)]
pub(super) struct MemberState {
    pub(super) since: u64,
    leases: usize,
    renewal: Option<Renewal>,
}

/// What the renewal belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Renewed {
    Member(Arc<str>),
    Poller(Arc<str>),
}

/// When a polling client came last, and for how long that is good; in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    at: u64,
    ttl: u64,
}

impl PresenceSet {
    /// No member is there yet. What changes is kept if it is to be told to other nodes or an observer.
    pub(super) fn telling(is_told: bool) -> Self {
        Self { outgoing: is_told.then(Vec::new), ..Self::default() }
    }

    /// The time of the last look at the clock.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Whether a client is present.
    pub(super) fn is_occupied(&self) -> bool {
        !self.members.is_empty() || self.nameless > 0 || !self.pollers.is_empty()
    }

    /// Whether it has neither members nor watches: then nothing of it need be kept.
    pub(super) fn is_unused(&self) -> bool {
        !self.is_occupied() && self.changes.is_none()
    }

    /// Enters a connection. Gives the id under which it was.
    pub(super) fn join(
        &mut self,
        id: Option<&str>,
        now: u64,
        budget: &PresenceBudget,
    ) -> Option<Arc<str>> {
        match id.and_then(|id| self.member(id, now, budget)) {
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
    pub(super) fn leave(&mut self, id: Option<&str>, budget: &PresenceBudget) {
        let Some(id) = id else {
            self.nameless -= 1;
            return;
        };
        if let Some(stay) = self.members.get_mut(id) {
            stay.leases -= 1;
            self.dismiss_if_gone(id, budget);
        }
    }

    /// Extends the stay of a polling client to `ttl` from now, if there is room for it.
    pub(super) fn renew(
        &mut self,
        key: &str,
        id: Option<&str>,
        ttl: Duration,
        now: u64,
        budget: &PresenceBudget,
    ) {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let renewal = Renewal { at: now, ttl };
        if let Some((id, stay)) = id.and_then(|id| self.member(id, now, budget)) {
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
        } else if self.is_open(key, budget) && budget.admit(key) {
            let key: Arc<str> = key.into();
            self.pollers.insert(Arc::clone(&key), renewal);
            self.renewals.push(Reverse((renewal.end(), Renewed::Poller(key))));
        }
    }

    /// The member of that id, which joins now if it was not present. `None` if there is no room.
    fn member(
        &mut self,
        id: &str,
        now: u64,
        budget: &PresenceBudget,
    ) -> Option<(Arc<str>, &mut MemberState)> {
        if !self.members.contains_key(id) {
            if !self.is_open(id, budget) || !budget.admit(id) {
                return None;
            }
            let member = Member { id: id.into(), since: now };
            let stay = MemberState { since: now, leases: 0, renewal: None };
            self.members.insert(Arc::clone(&member.id), stay);
            self.tell_all(PresenceChange::Join(member));
        }
        // The tree's own key, so that every lease shares it.
        let id = self.members.get_key_value(id).map(|(id, _)| Arc::clone(id))?;
        let stay = self.members.get_mut(&id)?;
        Some((id, stay))
    }

    /// Whether one more member of that name may be remembered.
    fn is_open(&self, name: &str, budget: &PresenceBudget) -> bool {
        let remembered = self.members.len() + self.pollers.len();
        name.len() <= MAX_ID_LEN && remembered < budget.max_members
    }

    /// Ends the renewals whose time is over, and with them the presence of members that have nothing
    /// else. Everything else here relies on this having been done at the current time.
    ///
    /// It looks at those that are due alone, unless the clock was set back.
    pub(super) fn expire(&mut self, now: u64, budget: &PresenceBudget) {
        let was_set_back = now < self.now;
        self.now = now;
        if was_set_back {
            // Any of them may be over now, or end sooner than was known.
            for Reverse((_, renewed)) in mem::take(&mut self.renewals) {
                self.check(renewed, budget);
            }
        }
        while self.renewals.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            if let Some(Reverse((_, renewed))) = self.renewals.pop() {
                self.check(renewed, budget);
            }
        }
    }

    /// Ends this renewal, or puts it back in its place if it goes on.
    fn check(&mut self, renewed: Renewed, budget: &PresenceBudget) {
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
                self.dismiss_if_gone(&id, budget);
            }
            Renewed::Poller(key) => {
                self.pollers.remove(&key);
                budget.dismiss(&key);
            }
        }
    }

    fn dismiss_if_gone(&mut self, id: &str, budget: &PresenceBudget) {
        if self.members.get(id).is_some_and(|stay| stay.leases == 0 && stay.renewal.is_none())
            && let Some((id, MemberState { since, .. })) = self.members.remove_entry(id)
        {
            budget.dismiss(&id);
            self.tell_all(PresenceChange::Leave(Member { id, since }));
        }
    }

    /// A member has come here or left.
    fn tell_all(&mut self, change: PresenceChange) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.push(change.clone());
        }
        // A member that is at another node, too, was there before and stays.
        let (PresenceChange::Join(member) | PresenceChange::Leave(member)) = &change else {
            return;
        };
        if !self.remote.as_ref().is_some_and(|remote| remote.has(&member.id)) {
            self.tell(change);
        }
    }

    pub(super) fn tell(&mut self, change: PresenceChange) {
        if let (PresenceChange::Leave(_), Some(remote)) = (&change, &mut self.remote) {
            remote.tell_of_all();
        }
        if let Some(changes) = &mut self.changes {
            changes.push(change);
        }
    }

    /// The first `limit` members after that id, and how many there are in all; of this node.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> Presence {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.members.range::<str, _>((start, Bound::Unbounded));
        let member = |(id, stay): (&Arc<str>, &MemberState)| Member {
            id: Arc::clone(id),
            since: stay.since,
        };
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
