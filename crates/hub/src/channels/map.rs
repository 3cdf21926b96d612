//! The channels of a hub by name, in stripes with a lock each, so that publishers on different channels do not wait
//! for each other.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;
use indexmap::map::raw_entry_v1::{RawEntryApiV1, RawEntryMut};

use crate::accounts::Slots;
use crate::backplane::{Cluster, Known};
use crate::channels::Keys;
use crate::channels::{Channel, ChannelState, Extent, NameHasher};
use crate::stats::Meter;
use crate::{ChannelName, Epoch, Position};

/// Enough that on any machine two publishers rarely want to write to the same one.
const STRIPES: usize = 64;

#[derive(Debug)]
pub(crate) struct ChannelMap {
    epoch: Epoch,
    stripes: [RwLock<Stripe>; STRIPES],
    hasher: NameHasher,
    /// Whether a store or a backplane may know of channels that are not here.
    kept: bool,
    /// What gives the positions, if not the hub.
    cluster: Option<Cluster>,
    /// Those that count for the bound: with a store those that it keeps, too.
    pub(crate) slots: Slots,
    /// Where the next look for channels to let go of begins.
    hand: Mutex<Walk>,
}

/// How many channels one look for some to let go of passes.
const LOOK: usize = 256;

/// A way through all channels, some at a time. A channel that is there all the while is come by; one
/// that is added or removed meanwhile may not be, or twice.
#[derive(Debug)]
pub(crate) struct Walk {
    stripe: usize,
    /// The channels of the stripe with this number and above are done.
    done: usize,
}

impl Walk {
    pub(crate) fn begin() -> Self {
        Self { stripe: 0, done: usize::MAX }
    }
}

#[derive(Debug)]
struct Stripe {
    /// By the hash that names the stripe, too, so that a name is hashed once: the map has no hasher.
    channels: IndexMap<ChannelName, Arc<Channel>, ()>,
    /// Where channels begin that the stripe does not know: the highest offset of any channel it has
    /// let go of. So a channel that was let go of and comes back goes on at a higher offset than
    /// any it had, though nothing about it was kept: no position ever means two entries. A reader that
    /// comes back to it with an old position is told a gap, though perhaps nothing is missing:
    /// the price of not remembering. One floor for all would do; one for each stripe makes such
    /// gaps rarer.
    floor: u64,
}

impl ChannelMap {
    /// No channels yet; `kept` if a store or a backplane may know of some.
    pub(crate) fn new(
        epoch: Epoch,
        kept: bool,
        cluster: Option<Cluster>,
        max_channels: u64,
    ) -> Self {
        let stripe = || Stripe { channels: IndexMap::with_hasher(()), floor: 0 };
        Self {
            epoch,
            cluster,
            stripes: std::array::from_fn(|_| RwLock::new(stripe())),
            hasher: NameHasher::random(),
            kept,
            slots: Slots::new(max_channels),
            hand: Mutex::new(Walk::begin()),
        }
    }

    /// The epoch of the hub's positions. With a backplane each shard has its own, and this is that of
    /// the first.
    pub(crate) fn epoch(&self) -> Epoch {
        self.cluster.as_ref().map_or(self.epoch, |cluster| cluster.progress.hold(0).epoch)
    }

    /// The channel, if the hub knows it, or else the offset at which it would begin.
    pub(crate) fn find(&self, name: &ChannelName) -> Result<Arc<Channel>, u64> {
        let hash = self.hash(name);
        let stripe = read(self.stripe_of(hash));
        stripe.get(hash, name).cloned().ok_or(stripe.floor)
    }

    /// The channel, made if there is none.
    pub(crate) fn find_or_add(&self, name: &ChannelName, meter: &Meter) -> Arc<Channel> {
        let hash = self.hash(name);
        if let Some(channel) = read(self.stripe_of(hash)).get(hash, name) {
            return Arc::clone(channel);
        }
        self.add_new(hash, name, meter)
    }

    #[cold]
    fn add_new(&self, hash: u64, name: &ChannelName, meter: &Meter) -> Arc<Channel> {
        let known = self.hold(name);
        self.add(&mut write(self.stripe_of(hash)), (hash, name), known.as_deref(), meter)
    }

    /// The channel, made if there is none, with one reader more: it stays until that is released.
    pub(crate) fn join(&self, name: &ChannelName, meter: &Meter) -> Arc<Channel> {
        let hash = self.hash(name);
        if let Some(channel) = read(self.stripe_of(hash)).get(hash, name) {
            channel.readers.fetch_add(1, Relaxed);
            return Arc::clone(channel);
        }
        // Held until the channel is there: everything that comes from now on is given to it.
        let known = self.hold(name);
        let mut stripe = write(self.stripe_of(hash));
        let channel = self.add(&mut stripe, (hash, name), known.as_deref(), meter);
        channel.readers.fetch_add(1, Relaxed);
        channel
    }

    /// Lets go of a channel that nothing was ever published on and that has no readers. Whether it did.
    pub(crate) fn release(&self, channel: &Arc<Channel>, meter: &Meter) -> bool {
        self.remove_if(channel, meter, |state| state.is_idle() && !state.persistent)
    }

    /// Ends what [`join`](Self::join) began.
    pub(crate) fn leave(&self, channel: &Arc<Channel>, meter: &Meter) {
        let last = channel.readers.fetch_sub(1, AcqRel) == 1;
        if last && !channel.lock().persistent {
            self.release(channel, meter);
        }
    }

    /// Lets go of a channel with neither entries nor keys nor readers. Whether it did.
    pub(crate) fn forget_idle(&self, channel: &Arc<Channel>, meter: &Meter) -> bool {
        self.remove_if(channel, meter, |state| state.is_idle())
    }

    /// Lets go of a channel without readers that a store keeps. Whether it did.
    pub(crate) fn evict(&self, channel: &Arc<Channel>, meter: &Meter) -> bool {
        self.remove_if(channel, meter, |_| true)
    }

    /// Lets go of channels that a store keeps as long as there is need, of that many at most as one may
    /// look at without keeping others waiting.
    pub(crate) fn evict_some(&self, meter: &Meter, need: impl Fn() -> bool) {
        let some = {
            let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
            let some = self.some(&mut hand, LOOK);
            if some.len() < LOOK {
                *hand = Walk::begin();
            }
            some
        };
        for channel in some.into_iter().take_while(|_| need()) {
            self.evict(&channel, meter);
        }
    }

    /// Shrinks the map of a stripe after many removals. Whether there is a stripe of that number.
    pub(crate) fn shrink(&self, stripe: usize) -> bool {
        let Some(lock) = self.stripes.get(stripe) else { return false };
        if read(lock).is_spacious() {
            write(lock).channels.shrink_to_fit();
        }
        true
    }

    /// Removes the channel if it has no readers and `also` agrees; whether it did. What a store
    /// keeps of it stays there.
    pub(crate) fn remove_if(
        &self,
        channel: &Arc<Channel>,
        meter: &Meter,
        also: impl Fn(&ChannelState) -> bool,
    ) -> bool {
        let hash = self.hash(&channel.name);
        let mut stripe = write(self.stripe_of(hash));
        let removed = stripe.remove_if((hash, channel), meter, also);
        if removed.is_some() {
            match self.kept {
                true => self.slots.relist(&channel.name, channel.last_used()),
                false => self.slots.free(&channel.name),
            }
        }
        drop(stripe);
        removed.is_some()
    }

    /// The next channels on the way, up to `limit`; none at its end.
    pub(crate) fn some(&self, walk: &mut Walk, limit: usize) -> Vec<Arc<Channel>> {
        let mut some = Vec::with_capacity(limit);
        while let Some(lock) = self.stripes.get(walk.stripe) {
            let stripe = read(lock);
            // From the end: where one is removed, the last one takes its place, and that is done.
            let end = walk.done.min(stripe.channels.len());
            let begin = end.saturating_sub(limit - some.len());
            let part = stripe.channels.get_range(begin..end).into_iter();
            some.extend(part.flat_map(|part| part.values().rev().cloned()));
            if begin > 0 {
                walk.done = begin;
                break;
            }
            *walk = Walk { stripe: walk.stripe + 1, ..Walk::begin() };
            if some.len() == limit {
                break;
            }
        }
        some
    }

    /// All channels.
    pub(crate) fn all(&self) -> Vec<Arc<Channel>> {
        let of_stripe = |stripe| read(stripe).channels.values().cloned().collect::<Vec<_>>();
        self.stripes.iter().flat_map(of_stripe).collect()
    }

    /// What is known of the channel's shard of the backplane, held. It is taken before the lock of the
    /// channels, never after.
    fn hold(&self, name: &ChannelName) -> Option<MutexGuard<'_, Known>> {
        self.cluster.as_ref().map(|cluster| cluster.hold(name))
    }

    fn add(
        &self,
        stripe: &mut Stripe,
        (hash, name): (u64, &ChannelName),
        known: Option<&Known>,
        meter: &Meter,
    ) -> Arc<Channel> {
        let floor = stripe.floor;
        let vacant = match stripe.entry(hash, name) {
            RawEntryMut::Occupied(entry) => return Arc::clone(entry.get()),
            RawEntryMut::Vacant(vacant) => vacant,
        };
        meter.channels.fetch_add(1, Relaxed);
        let of_hub = Position { epoch: self.epoch, offset: floor };
        let (begin, extent) = match known {
            Some(known) => (known.place(), Extent::Live),
            None if self.kept => (of_hub, Extent::Absent),
            None => (of_hub, Extent::Whole),
        };
        let channel = Channel::new(name.clone(), begin, extent);
        if let Some(end) = known.and_then(|known| known.ends.of(name)) {
            channel.lock().log.end_known(end.offset);
        }
        let (_, channel) = vacant.insert_hashed_nocheck(hash, name.clone(), Arc::new(channel));
        Arc::clone(channel)
    }

    #[inline]
    fn hash(&self, name: &ChannelName) -> u64 {
        self.hasher.hash(name.as_str())
    }

    /// The stripe of names with that hash. Its map goes by the lowest bits and the highest.
    fn stripe_of(&self, hash: u64) -> &RwLock<Stripe> {
        &self.stripes[(hash >> 32) as usize % STRIPES]
    }
}

impl Stripe {
    fn get(&self, hash: u64, name: &ChannelName) -> Option<&Arc<Channel>> {
        let found = self.channels.raw_entry_v1().from_hash(hash, |known| known == name);
        found.map(|(_, channel)| channel)
    }

    fn entry(
        &mut self,
        hash: u64,
        name: &ChannelName,
    ) -> RawEntryMut<'_, ChannelName, Arc<Channel>, ()> {
        self.channels.raw_entry_mut_v1().from_hash(hash, |known| known == name)
    }

    fn is_spacious(&self) -> bool {
        self.channels.capacity() > 64 + 4 * self.channels.len()
    }

    /// Removes the channel if it has no readers and `also` agrees.
    fn remove_if(
        &mut self,
        (hash, channel): (u64, &Arc<Channel>),
        meter: &Meter,
        also: impl Fn(&ChannelState) -> bool,
    ) -> Option<Keys> {
        // Readers come with this stripe locked, so none comes now; a publisher that holds the
        // channel already sees `retired` and asks again.
        let mut state = channel.lock();
        if state.retired || channel.readers.load(Relaxed) > 0 || !also(&state) {
            return None;
        }
        state.retired = true;
        self.floor = self.floor.max(state.log.end().offset);
        if let RawEntryMut::Occupied(entry) = self.entry(hash, &channel.name) {
            entry.swap_remove();
        }
        meter.channels.fetch_sub(1, Relaxed);
        if state.persistent {
            meter.persistent.fetch_sub(1, Relaxed);
        }
        Some(state.clear(meter))
    }
}

// A stripe is whole between any two statements, so a panic elsewhere is no reason to stop.
fn read(stripe: &RwLock<Stripe>) -> RwLockReadGuard<'_, Stripe> {
    stripe.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(stripe: &RwLock<Stripe>) -> RwLockWriteGuard<'_, Stripe> {
    stripe.write().unwrap_or_else(PoisonError::into_inner)
}
