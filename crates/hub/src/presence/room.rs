//! Who is present on one channel. No lock, no clock and no waiting here:
//! [`Rooms`](super::Rooms) adds those.

use std::collections::BTreeMap;
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
    pollers: BTreeMap<Box<str>, Renewal>,
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
    pub(super) fn leave(&mut self, id: Option<&str>, now: u64, ledger: &Ledger) {
        let Some(id) = id else {
            self.nameless -= 1;
            return;
        };
        if let Some(stay) = self.members.get_mut(id) {
            stay.leases -= 1;
            self.dismiss_if_gone(id, now, ledger);
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
        if let Some((_, stay)) = id.and_then(|id| self.member(id, now, ledger)) {
            // A short poll does not cut short what a long one was promised.
            stay.renewal = Some(stay.renewal.map_or(renewal, |before| before.or(renewal)));
        } else if let Some(before) = self.pollers.get_mut(key) {
            *before = before.or(renewal);
        } else if self.is_open(key, ledger) && ledger.admit(key) {
            self.pollers.insert(key.into(), renewal);
        }
    }

    /// The member of that id, who joins now if he was not there. `None` if there is no room.
    fn member(&mut self, id: &str, now: u64, ledger: &Ledger) -> Option<(Arc<str>, &mut Stay)> {
        // One whose time is over has left, even if nobody has looked since.
        self.dismiss_if_gone(id, now, ledger);
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

    /// Lets those go who have not polled again in time.
    pub(super) fn expire(&mut self, now: u64, ledger: &Ledger) {
        self.pollers.retain(|key, renewal| {
            let stays = renewal.holds(now);
            if !stays {
                ledger.dismiss(key);
            }
            stays
        });
        let gone: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|(_, stay)| stay.is_over(now))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        for id in gone {
            self.dismiss_if_gone(&id, now, ledger);
        }
    }

    fn dismiss_if_gone(&mut self, id: &str, now: u64, ledger: &Ledger) {
        if self.members.get(id).is_some_and(|stay| stay.is_over(now))
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

    pub(super) fn presence(&self) -> Presence {
        let member =
            |(id, stay): (&Arc<str>, &Stay)| Member { id: Arc::clone(id), since: stay.since };
        let members: Vec<Member> = self.members.iter().map(member).collect();
        let count = (members.len() + self.pollers.len()) as u64 + self.nameless;
        Presence { count, members }
    }
}

impl Stay {
    fn is_over(&self, now: u64) -> bool {
        self.leases == 0 && !self.renewal.is_some_and(|renewal| renewal.holds(now))
    }
}

impl Renewal {
    /// Whether it is still good. A clock that was set back by more than the time it was good for
    /// ends it, too: else the absent would stay until the clock has caught up.
    fn holds(self, now: u64) -> bool {
        self.at.abs_diff(now) < self.ttl
    }

    /// The one that is good for longer.
    fn or(self, later: Self) -> Self {
        let holds_longer = self.holds(later.at)
            && self.at.saturating_add(self.ttl) > later.at.saturating_add(later.ttl);
        if holds_longer { self } else { later }
    }
}
