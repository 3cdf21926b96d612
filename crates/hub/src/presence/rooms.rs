//! The rooms of all channels on which somebody is present, in shards like the channels.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Presence;
use super::ledger::Ledger;
use super::room::Room;
use crate::{ChannelName, Clock, Options};

const SHARDS: usize = 64;

type Shard = HashMap<ChannelName, Room>;

#[derive(Debug)]
pub(crate) struct Rooms {
    shards: [Mutex<Shard>; SHARDS],
    /// Names come from peers, who shall not be able to choose where they fall.
    hasher: RandomState,
    ledger: Ledger,
    clock: Clock,
}

impl Rooms {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            ledger: Ledger::new(options),
            clock: options.clock.clone(),
        }
    }

    pub(super) fn join(&self, channel: &ChannelName, id: Option<&str>) -> Option<Arc<str>> {
        self.enter(channel, |room, now| room.join(id, now, &self.ledger))
    }

    pub(super) fn leave(&self, channel: &ChannelName, id: Option<&str>) {
        self.enter(channel, |room, _| room.leave(id, &self.ledger));
    }

    pub(super) fn renew(&self, channel: &ChannelName, key: &str, id: Option<&str>, ttl: Duration) {
        self.enter(channel, |room, now| room.renew(key, id, ttl, now, &self.ledger));
    }

    pub(super) fn page(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Presence {
        self.enter(channel, |room, _| room.page(after, limit))
    }

    /// Whether somebody is present on the channel, or watches who is.
    pub(crate) fn is_anybody_on(&self, channel: &ChannelName) -> bool {
        lock(self.shard(channel)).contains_key(channel)
    }

    /// Lets those go who have not polled again in time, in one shard. Whether there is a shard of
    /// that number.
    pub(crate) fn sweep(&self, shard: usize) -> bool {
        let Some(shard) = self.shards.get(shard) else { return false };
        let now = self.clock.now();
        let mut shard = lock(shard);
        shard.retain(|channel, room| {
            room.expire(now, &self.ledger);
            if room.is_deserted() {
                self.ledger.close(channel);
            }
            !room.is_deserted()
        });
        // A crowd that has left leaves no room standing empty.
        if shard.capacity() > 64 + 4 * shard.len() {
            shard.shrink_to_fit();
        }
        true
    }

    /// What presence is charged for, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.ledger.bytes()
    }

    /// Does something in the channel's room at this time, when those have left it whose time is
    /// over. The room is there as long as somebody is in it or watches.
    pub(super) fn enter<T>(
        &self,
        channel: &ChannelName,
        act: impl FnOnce(&mut Room, u64) -> T,
    ) -> T {
        let now = self.clock.now();
        let mut shard = lock(self.shard(channel));
        let room = shard.entry(channel.clone()).or_insert_with(|| {
            self.ledger.open(channel);
            Room::default()
        });
        room.expire(now, &self.ledger);
        let outcome = act(room, now);
        if room.is_deserted() {
            shard.remove(channel);
            self.ledger.close(channel);
        }
        outcome
    }

    fn shard(&self, channel: &ChannelName) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(channel) as usize % SHARDS]
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A room is whole between any two statements, so a panic elsewhere is no reason to stop.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
