//! The sets of all channels on which a client is present, in shards like the channels.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::Presence;
use super::budget::PresenceBudget;
use super::peers::Peers;
use super::set::PresenceSet;
use crate::{ChannelName, Clock, Options};

const SHARDS: usize = 64;

type Shard = HashMap<ChannelName, PresenceSet>;

#[derive(Debug)]
pub(crate) struct PresenceRegistry {
    shards: [Mutex<Shard>; SHARDS],
    /// Names come from peers, and those must not be able to choose where they fall.
    hasher: RandomState,
    pub(super) budget: PresenceBudget,
    clock: Clock,
    /// The other nodes, if there can be any.
    pub(super) peers: OnceLock<Peers>,
}

impl PresenceRegistry {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            budget: PresenceBudget::new(options),
            clock: options.clock.clone(),
            peers: OnceLock::new(),
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
        lock(self.shard(channel)).contains_key(channel)
    }

    /// Removes the clients that have not polled again in time, in one shard. Whether there is a shard of
    /// that number.
    pub(crate) fn sweep(&self, shard: usize) -> bool {
        let Some(shard) = self.shards.get(shard) else { return false };
        let now = self.clock.now();
        let mut shard = lock(shard);
        shard.retain(|channel, set| {
            set.expire(now, &self.budget);
            self.tell(channel, set);
            if set.is_unused() {
                self.budget.close(channel);
            }
            !set.is_unused()
        });
        // Shrink the map after many removals.
        if shard.capacity() > 64 + 4 * shard.len() {
            shard.shrink_to_fit();
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
        let mut shard = lock(self.shard(channel));
        let set = shard.entry(channel.clone()).or_insert_with(|| {
            self.budget.open(channel);
            let outgoing = self.peers.get().map(|_| Vec::new());
            PresenceSet::sharing(outgoing)
        });
        set.expire(now, &self.budget);
        self.tell(channel, set);
        let outcome = act(set, now);
        self.tell(channel, set);
        if set.is_unused() {
            shard.remove(channel);
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
        let mut shard = lock(self.shard(channel));
        let mut set = shard.get_mut(channel);
        if let Some(set) = &mut set {
            set.expire(self.clock.now(), &self.budget);
            self.tell(channel, set);
        }
        act(set)
    }

    /// Tells other nodes what has changed in the set, in its order: with its shard locked.
    fn tell(&self, channel: &ChannelName, set: &mut PresenceSet) {
        if let Some(outgoing) = &mut set.outgoing
            && !outgoing.is_empty()
            && let Some(peers) = self.peers.get()
        {
            peers.tell(channel, std::mem::take(outgoing));
        }
    }

    fn shard(&self, channel: &ChannelName) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(channel) as usize % SHARDS]
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A set is whole between any two statements, so a panic elsewhere is no reason to stop.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
