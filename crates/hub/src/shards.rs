//! The channels of a hub by name, in shards, so that publishers on different channels do not meet.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::channel::Channel;
use crate::figures::Meter;
use crate::{ChannelName, Epoch, Options};

/// Enough that on any machine two publishers rarely want to write to the same one.
const SHARDS: usize = 64;

#[derive(Debug)]
pub(crate) struct Shards {
    epoch: Epoch,
    shards: [RwLock<Shard>; SHARDS],
    /// Names come from peers, who shall not be able to choose where they fall.
    hasher: RandomState,
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
    pub(crate) fn new() -> Self {
        Self {
            epoch: Epoch::random(),
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
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
        let mut shard = self.write(&channel.name);
        shard.remove_if(channel, meter, |lasting| !lasting);
    }

    /// Drops what is too old in every channel. If there are many channels by now, lets go of those
    /// with neither entries nor keys nor readers.
    pub(crate) fn sweep(&self, options: &Options, meter: &Meter) {
        for lock in &self.shards {
            let channels: Vec<_> = read(lock).channels.values().cloned().collect();
            for channel in &channels {
                channel.read(options, meter, |_, _| ());
            }
            // As long as there is room a channel is remembered even when it is idle, and whoever
            // comes back to it is not told of a gap.
            if meter.lasting.load(Relaxed) > options.max_channels / 2 {
                let mut shard = write(lock);
                for channel in &channels {
                    shard.remove_if(channel, meter, |_| true);
                }
            }
            // A crowd that has left leaves no room standing empty either.
            if read(lock).is_spacious() {
                write(lock).channels.shrink_to_fit();
            }
        }
    }

    fn add(&self, shard: &mut Shard, name: &ChannelName, meter: &Meter) -> Arc<Channel> {
        let floor = shard.floor;
        let channel = shard.channels.entry(name.clone()).or_insert_with(|| {
            meter.channels.fetch_add(1, Relaxed);
            Arc::new(Channel::new(name.clone(), self.epoch, floor))
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

    /// Removes the channel if it has neither entries nor keys nor readers, and `also` agrees, which is told
    /// whether anything was ever published on it.
    fn remove_if(&mut self, channel: &Arc<Channel>, meter: &Meter, also: impl Fn(bool) -> bool) {
        // Readers come with this shard locked, so none comes now; a publisher that holds the
        // channel already sees `retired` and asks again.
        let mut state = channel.lock();
        let idle = channel.readers.load(Relaxed) == 0 && state.is_idle();
        if state.retired || !idle || !also(state.lasting) {
            return;
        }
        state.retired = true;
        self.floor = self.floor.max(state.log.end().offset);
        self.channels.remove(&channel.name);
        meter.channels.fetch_sub(1, Relaxed);
        if state.lasting {
            meter.lasting.fetch_sub(1, Relaxed);
        }
    }
}

// A shard is whole between any two statements, so a panic elsewhere is no reason to stop.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}
