//! A sweep: what is too old goes, a slice at a time, so that nothing is held for long.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::accounts::Stamp;
use crate::channels::Registry;
use crate::channels::Walk;
use crate::channels::{Channel, KEYS_AT_ONCE};
use crate::{Entry, Options};

/// What a slice may cost: an entry that is dropped, or whose forms are, costs one.
const WORK: usize = 512;
/// A piece of memory that no allocator calls small, in bytes.
const LARGE: usize = 256 << 10;
/// What a look at a channel costs.
const LOOK: usize = 4;
/// What a stripe of the channels or of presence costs: there are few, and much may be in one.
const STRIPE: usize = WORK;

/// A sweep under way: see [`Hub::begin_sweep`](crate::Hub::begin_sweep). Dropping it ends it where it is.
#[derive(Debug)]
pub struct Sweep {
    registry: Arc<Registry>,
    stage: Stage,
    /// Channels that were found and not looked at yet.
    waiting: Vec<Arc<Channel>>,
    /// Entries that are in no log any more, to be freed.
    dropped: Vec<Arc<Entry>>,
    /// Whether memory was short when the sweep began: then what a store keeps and was not used
    /// since the last sweep goes.
    is_short: bool,
}

#[derive(Debug)]
enum Stage {
    Channels(Walk),
    /// The channels' stripes, from this number on.
    Stripes(usize),
    /// Presence, from this stripe on.
    Presence(usize),
    Done,
}

impl Sweep {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        let Registry { options, meter, .. } = &*registry;
        // What is used from now on is used later than what was before.
        Stamp::next();
        let is_short = has_many(&registry) || meter.bytes_in_all() > options.max_bytes / 2;
        let stage = Stage::Channels(Walk::begin());
        Self { registry, stage, waiting: Vec::new(), dropped: Vec::new(), is_short }
    }

    /// Does a slice of the sweep: some tenths of a millisecond. Whether there is more to do.
    pub fn slice(&mut self) -> bool {
        let mut left = WORK;
        while left > 0 && !matches!(self.stage, Stage::Done) {
            left = left.saturating_sub(self.step(left));
        }
        !matches!(self.stage, Stage::Done)
    }

    /// Does the next piece of at most that much work, or of one channel or stripe; gives what it cost.
    fn step(&mut self, left: usize) -> usize {
        if !self.dropped.is_empty() {
            let count = left.min(self.dropped.len());
            self.dropped.truncate(self.dropped.len() - count);
            return count;
        }
        if let Some(channel) = self.waiting.pop() {
            return LOOK + self.channel(channel, left);
        }
        let registry = &self.registry;
        let (next, cost) = match &mut self.stage {
            Stage::Channels(walk) => {
                self.waiting = registry.map.some(walk, WORK / LOOK);
                // glibc keeps what is freed in small pieces until it is asked for a large one, and then
                // joins all of it at once, which took 90 ms after 100,000 entries: so ask often.
                drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
                match self.waiting.is_empty() {
                    true => (Stage::Stripes(0), 1),
                    false => return 1,
                }
            }
            Stage::Stripes(stripe) => match registry.map.shrink(*stripe) {
                true => (Stage::Stripes(*stripe + 1), WORK / 8),
                false => (Stage::Presence(0), 1),
            },
            Stage::Presence(stripe) => match self.registry.presence.sweep(*stripe) {
                true => (Stage::Presence(*stripe + 1), STRIPE),
                false => (Stage::Done, 1),
            },
            Stage::Done => return 0,
        };
        self.stage = next;
        cost
    }

    /// Drops what is too old in a channel, and lets go of it if it is not needed.
    fn channel(&mut self, channel: Arc<Channel>, limit: usize) -> usize {
        let Registry { options, map, meter, .. } = &*self.registry;
        if channel.is_restoring() {
            // It is used now, and no task waits for its lock.
            return 0;
        }
        let (expired, keys) = channel.expire_some(options, meter, limit);
        let closed = channel.close_forms(meter, limit);
        let cost = expired.len() + keys + closed;
        let has_more = expired.len() == limit || keys == KEYS_AT_ONCE || closed > 0;
        self.dropped.extend(expired);
        if has_more {
            self.waiting.push(channel);
            return cost;
        }
        let was_used = channel.was_used();
        let is_gone = match self.registry.is_kept() {
            // As long as there is room a channel is remembered even when it is idle, and a reader
            // that comes back to it is not told of a gap.
            false => has_many(&self.registry) && map.forget_idle(&channel, meter),
            true if was_used => false,
            // It can be read again when it is used.
            true if self.is_short => map.evict(&channel, meter),
            // It was made for a publication that was not taken.
            true => map.release(&channel, meter),
        };
        if is_gone && let Some(channel) = Arc::into_inner(channel) {
            self.dropped.extend(channel.into_entries());
        }
        cost
    }
}

/// Whether there are enough channels for idle ones to be let go of.
fn has_many(registry: &Registry) -> bool {
    let Registry { options: Options { max_channels, .. }, meter, .. } = registry;
    meter.persistent.load(Relaxed) > max_channels / 2
}
