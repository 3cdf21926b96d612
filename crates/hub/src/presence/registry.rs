//! The sets of all channels on which a client is present, in stripes like the channels.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::budget::PresenceBudget;
use super::peers::Peers;
use super::set::PresenceSet;
use super::{Observer, Presence, PresenceChange};
use crate::{ChannelName, Clock, Options};

const STRIPES: usize = 64;

type Stripe = HashMap<ChannelName, PresenceSet>;

#[derive(Debug)]
pub(crate) struct PresenceRegistry {
    stripes: [Mutex<Stripe>; STRIPES],
    /// Names come from peers, and those must not be able to choose where they fall.
    hasher: RandomState,
    pub(super) budget: PresenceBudget,
    clock: Clock,
    /// The other nodes, if there can be any.
    pub(super) peers: OnceLock<Peers>,
    /// What is told who comes and goes, if anything.
    pub(crate) observer: OnceLock<Arc<dyn Observer>>,
}

impl PresenceRegistry {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            stripes: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            budget: PresenceBudget::new(options),
            clock: options.clock.clone(),
            peers: OnceLock::new(),
            observer: OnceLock::new(),
        }
    }

    pub(super) fn join(&self, channel: &ChannelName, id: Option<&str>) -> Option<Arc<str>> {
        self.enter(channel, |set, now| set.join(id, now, &self.budget))
    }

    pub(super) fn leave(&self, channel: &ChannelName, id: Option<&str>) {
        self.enter(channel, |set, _| set.leave(id, &self.budget));
    }

    pub(crate) fn renew(&self, channel: &ChannelName, key: &str, id: Option<&str>, ttl: Duration) {
        self.enter(channel, |set, now| set.renew(key, id, ttl, now, &self.budget));
    }

    pub(crate) fn page(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Presence {
        self.enter(channel, |set, _| set.page(after, limit))
    }

    /// Whether a client is present on the channel, or something watches it.
    pub(crate) fn has_presence(&self, channel: &ChannelName) -> bool {
        lock(self.stripe(channel)).contains_key(channel)
    }

    /// Removes the clients that have not polled again in time, in one stripe. Whether there is a stripe of
    /// that number.
    pub(crate) fn sweep(&self, stripe: usize) -> bool {
        let Some(stripe) = self.stripes.get(stripe) else { return false };
        let now = self.clock.now();
        let mut stripe = lock(stripe);
        stripe.retain(|channel, set| {
            set.expire(now, &self.budget);
            self.tell(channel, set);
            if set.is_unused() {
                self.budget.close(channel);
            }
            !set.is_unused()
        });
        // Shrink the map after many removals.
        if stripe.capacity() > 64 + 4 * stripe.len() {
            stripe.shrink_to_fit();
        }
        true
    }

    /// What presence is charged for, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.budget.bytes()
    }

    /// Does something in the channel's set at this time, once it is without those whose time is
    /// over. The set is there as long as it has members or watches.
    pub(super) fn enter<T>(
        &self,
        channel: &ChannelName,
        act: impl FnOnce(&mut PresenceSet, u64) -> T,
    ) -> T {
        let now = self.clock.now();
        let mut stripe = lock(self.stripe(channel));
        let set = stripe.entry(channel.clone()).or_insert_with(|| {
            self.budget.open(channel);
            let is_told = self.peers.get().is_some() || self.observer.get().is_some();
            PresenceSet::telling(is_told)
        });
        set.expire(now, &self.budget);
        self.tell(channel, set);
        let outcome = act(set, now);
        self.tell(channel, set);
        if set.is_unused() {
            stripe.remove(channel);
            self.budget.close(channel);
        }
        outcome
    }

    /// Does something with the channel's set, if it has a member or a watcher, at this time.
    pub(super) fn look<T>(
        &self,
        channel: &ChannelName,
        act: impl FnOnce(Option<&mut PresenceSet>) -> T,
    ) -> T {
        let mut stripe = lock(self.stripe(channel));
        let mut set = stripe.get_mut(channel);
        if let Some(set) = &mut set {
            set.expire(self.clock.now(), &self.budget);
            self.tell(channel, set);
        }
        act(set)
    }

    /// Tells the observer and other nodes what has changed in the set, in its order: with its stripe locked.
    fn tell(&self, channel: &ChannelName, set: &mut PresenceSet) {
        let Some(outgoing) = &mut set.outgoing else { return };
        let changes = std::mem::take(outgoing);
        if let Some(observer) = self.observer.get() {
            let is_occupied = set.is_occupied();
            let was_occupied = std::mem::replace(&mut set.was_occupied, is_occupied);
            observe(&**observer, (channel, set.now()), (was_occupied, is_occupied), &changes);
        }
        if let Some(peers) = self.peers.get()
            && !changes.is_empty()
        {
            peers.tell(channel, changes);
        }
    }

    fn stripe(&self, channel: &ChannelName) -> &Mutex<Stripe> {
        &self.stripes[self.hasher.hash_one(channel) as usize % STRIPES]
    }
}

/// Tells an observer what has changed on a channel: it is occupied before members come, and vacated after they left.
fn observe(
    observer: &dyn Observer,
    (channel, at): (&ChannelName, u64),
    (was_occupied, is_occupied): (bool, bool),
    changes: &[PresenceChange],
) {
    if is_occupied && !was_occupied {
        observer.occupied(channel, at);
    }
    for change in changes {
        match change {
            PresenceChange::Join(member) => observer.joined(channel, member, at),
            PresenceChange::Leave(member) => observer.left(channel, member, at),
            // That is told to watches alone.
            PresenceChange::Anew(_) => {}
        }
    }
    if was_occupied && !is_occupied {
        observer.vacated(channel, at);
    }
}

fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    // A set is whole between any two statements, so a panic elsewhere is no reason to stop.
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}
