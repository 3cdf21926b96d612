//! The channels of a hub by name, in shards, so that publishers on different channels do not meet.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::channel::{Channel, State};
use crate::figures::Meter;
use crate::keys::Keys;
use crate::slots::Slots;
use crate::{ChannelName, Epoch, Options};

/// Enough that on any machine two publishers rarely want to write to the same one.
const SHARDS: usize = 64;

#[derive(Debug)]
pub(crate) struct Shards {
    epoch: Epoch,
    shards: [RwLock<Shard>; SHARDS],
    /// Names come from peers, who shall not be able to choose where they fall.
    hasher: RandomState,
    /// Whether a store may know of channels that are not here.
    kept: bool,
    /// Those that count for the bound: with a store those that it keeps, too.
    pub(crate) slots: Slots,
}

#[derive(Debug, Default)]
struct Shard {
    channels: HashMap<ChannelName, Arc<Channel>>,
    /// Where channels begin that the shard does not know: the highest offset of any channel it has
    /// let go of. So a channel that was let go of and comes back goes on at a higher offset than
    /// any it had, though nothing about it was kept: no position ever means two entries. One who
    /// comes back to it with an old position is told a gap, though perhaps nothing is missing:
    /// the price of not remembering. One floor for all would do; one for each shard makes such
    /// gaps rarer.
    floor: u64,
}

impl Shards {
    /// No channels yet; `kept` if a store may know of some.
    pub(crate) fn new(epoch: Epoch, kept: bool, max_channels: u64) -> Self {
        Self {
            epoch,
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
            kept,
            slots: Slots::new(max_channels),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The channel, if the hub knows it, or else the offset at which it would begin.
    pub(crate) fn find(&self, name: &ChannelName) -> Result<Arc<Channel>, u64> {
        let shard = self.read(name);
        shard.channels.get(name).cloned().ok_or(shard.floor)
    }

    /// The channel, made if there is none.
    pub(crate) fn find_or_add(&self, name: &ChannelName, meter: &Meter) -> Arc<Channel> {
        match self.find(name) {
            Ok(channel) => channel,
            Err(_) => self.add(&mut self.write(name), name, meter),
        }
    }

    /// The channel, made if there is none, with one reader more: it stays until that is released.
    pub(crate) fn join(&self, name: &ChannelName, meter: &Meter) -> Arc<Channel> {
        if let Some(channel) = self.read(name).channels.get(name) {
            channel.readers.fetch_add(1, Relaxed);
            return Arc::clone(channel);
        }
        let mut shard = self.write(name);
        let channel = self.add(&mut shard, name, meter);
        channel.readers.fetch_add(1, Relaxed);
        channel
    }

    /// Lets go of a channel that nothing was ever published on and nobody reads.
    pub(crate) fn release(&self, channel: &Arc<Channel>, meter: &Meter) {
        self.remove_if(channel, meter, |state| state.is_idle() && !state.lasting);
    }

    /// Ends what [`join`](Self::join) began.
    pub(crate) fn leave(&self, channel: &Arc<Channel>, meter: &Meter) {
        let last = channel.readers.fetch_sub(1, AcqRel) == 1;
        if last && !channel.lock().lasting {
            self.release(channel, meter);
        }
    }

    /// Drops what is too old in every channel, and what is kept for readers that may come.
    pub(crate) fn expire(&self, options: &Options, meter: &Meter) {
        for channel in self.all() {
            channel.read(options, meter, |_, _| ());
            channel.close_forms(meter);
        }
    }

    /// Lets go of channels with neither entries nor keys nor readers, as long as there are `many`.
    pub(crate) fn forget_idle(&self, meter: &Meter, many: impl Fn() -> bool) {
        for channel in self.all().take_while(|_| many()) {
            self.remove_if(&channel, meter, |state| state.is_idle());
        }
    }

    /// Lets go of channels without readers that a store keeps, and of which `also` says so.
    pub(crate) fn evict(&self, meter: &Meter, also: impl Fn(&Channel) -> bool) {
        for channel in self.all() {
            if also(&channel) {
                self.remove_if(&channel, meter, |_| true);
            }
        }
    }

    /// Removes the channel if it has no readers and `also` agrees; whether it did. What a store
    /// keeps of it stays there.
    pub(crate) fn remove_if(
        &self,
        channel: &Arc<Channel>,
        meter: &Meter,
        also: impl Fn(&State) -> bool,
    ) -> bool {
        let mut shard = self.write(&channel.name);
        let removed = shard.remove_if(channel, meter, also);
        if removed.is_some() {
            match self.kept {
                true => self.slots.relist(&channel.name, channel.last_used()),
                false => self.slots.free(&channel.name),
            }
        }
        drop(shard);
        removed.is_some()
    }

    /// A crowd that has left leaves no room standing empty.
    pub(crate) fn shrink(&self) {
        for lock in &self.shards {
            if read(lock).is_spacious() {
                write(lock).channels.shrink_to_fit();
            }
        }
    }

    /// All channels, one shard after the other.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<Channel>> {
        self.shards.iter().flat_map(|lock| {
            let channels: Vec<_> = read(lock).channels.values().cloned().collect();
            channels
        })
    }

    fn add(&self, shard: &mut Shard, name: &ChannelName, meter: &Meter) -> Arc<Channel> {
        let floor = shard.floor;
        let channel = shard.channels.entry(name.clone()).or_insert_with(|| {
            meter.channels.fetch_add(1, Relaxed);
            Arc::new(Channel::new(name.clone(), self.epoch, floor, !self.kept))
        });
        Arc::clone(channel)
    }

    fn read(&self, name: &ChannelName) -> RwLockReadGuard<'_, Shard> {
        read(self.shard(name))
    }

    fn write(&self, name: &ChannelName) -> RwLockWriteGuard<'_, Shard> {
        write(self.shard(name))
    }

    fn shard(&self, name: &ChannelName) -> &RwLock<Shard> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl Shard {
    fn is_spacious(&self) -> bool {
        self.channels.capacity() > 64 + 4 * self.channels.len()
    }

    /// Removes the channel if it has no readers and `also` agrees.
    fn remove_if(
        &mut self,
        channel: &Arc<Channel>,
        meter: &Meter,
        also: impl Fn(&State) -> bool,
    ) -> Option<Keys> {
        // Readers come with this shard locked, so none comes now; a publisher that holds the
        // channel already sees `retired` and asks again.
        let mut state = channel.lock();
        if state.retired || channel.readers.load(Relaxed) > 0 || !also(&state) {
            return None;
        }
        state.retired = true;
        self.floor = self.floor.max(state.log.end().offset);
        self.channels.remove(&channel.name);
        meter.channels.fetch_sub(1, Relaxed);
        if state.lasting {
            meter.lasting.fetch_sub(1, Relaxed);
        }
        Some(state.clear(meter))
    }
}

// A shard is whole between any two statements, so a panic elsewhere is no reason to stop.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}
