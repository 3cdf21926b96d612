//! Slots: the channels that count for the bound, and the account that each is charged to.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ChannelName;
use crate::accounts::{Account, Capacity, Stamp, first_between};

/// The slots of a hub.
#[derive(Debug)]
pub(crate) struct Slots {
    max: u64,
    /// How many are taken, to be looked at for each publication without the lock.
    count: AtomicU64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// A tree, which grows and shrinks a node at a time: a hash table of 100,000 takes 10 ms to grow
    /// and 20 ms to clear of what was removed, and every publisher waits.
    by_channel: BTreeMap<ChannelName, Slot>,
    /// The channels of each account, by its number, longest unused first. A stamp may be older than
    /// the last use: a channel that is found to have been used since is listed anew.
    by_account: BTreeMap<u32, BTreeMap<Stamp, ChannelName>>,
}

#[derive(Debug)]
struct Slot {
    account: Arc<Account>,
    listed: Stamp,
}

impl Slots {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, count: AtomicU64::new(0), taken: Mutex::default() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count.load(Relaxed) >= self.max
    }

    /// Charges the account for the channel, unless the slots are all taken. Whether the channel has
    /// a slot now.
    pub(crate) fn take(&self, channel: &ChannelName, account: &Arc<Account>) -> bool {
        let mut taken = self.taken();
        if !taken.by_channel.contains_key(channel) {
            if taken.by_channel.len() as u64 >= self.max {
                return false;
            }
            self.put(&mut taken, channel, account);
        }
        true
    }

    /// Charges the account for a channel that a store keeps already, whatever the bound.
    pub(crate) fn adopt(&self, channel: &ChannelName, account: &Arc<Account>) {
        self.put(&mut self.taken(), channel, account);
    }

    /// Takes back the slot of a channel that is kept no more.
    pub(crate) fn free(&self, channel: &ChannelName) {
        let mut taken = self.taken();
        let Some(Slot { account, listed }) = taken.by_channel.remove(channel) else { return };
        self.count.store(taken.by_channel.len() as u64, Relaxed);
        account.discharge(Capacity::Channels, 1);
        taken.unlist(account.number, listed);
    }

    /// Charges another account for the channel.
    pub(crate) fn hand_over(&self, channel: &ChannelName, account: &Arc<Account>) {
        self.free(channel);
        self.adopt(channel, account);
    }

    /// The account that the channel is charged to.
    pub(crate) fn owner(&self, channel: &ChannelName) -> Option<Arc<Account>> {
        self.taken().by_channel.get(channel).map(|slot| Arc::clone(&slot.account))
    }

    /// The channels from there on in the order of their names, up to `limit`.
    pub(crate) fn following(&self, from: Bound<&str>, limit: usize) -> Vec<ChannelName> {
        let taken = self.taken();
        let behind = taken.by_channel.range::<str, _>((from, Bound::Unbounded));
        behind.take(limit).map(|(name, _)| name.clone()).collect()
    }

    /// The channel unused longest of those of the account that are listed after `after` and before
    /// `before`.
    pub(crate) fn next_of(
        &self,
        account: &Account,
        after: Stamp,
        before: Stamp,
    ) -> Option<(Stamp, ChannelName)> {
        first_between(self.taken().by_account.get(&account.number)?, after, before)
    }

    /// Lists the channel anew, as used in that turn.
    pub(crate) fn relist(&self, channel: &ChannelName, used: u64) {
        let taken = &mut *self.taken();
        let Some(slot) = taken.by_channel.get_mut(channel) else { return };
        let stamp = Stamp::of(used);
        let (number, old) = (slot.account.number, std::mem::replace(&mut slot.listed, stamp));
        taken.by_account.entry(number).or_default().insert(stamp, channel.clone());
        taken.unlist(number, old);
    }

    fn put(&self, taken: &mut Taken, channel: &ChannelName, account: &Arc<Account>) {
        taken.put(channel, account);
        self.count.store(taken.by_channel.len() as u64, Relaxed);
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // It is whole between any two statements that can panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn put(&mut self, channel: &ChannelName, account: &Arc<Account>) {
        let listed = Stamp::next();
        account.charge(Capacity::Channels, 1);
        self.by_account.entry(account.number).or_default().insert(listed, channel.clone());
        self.by_channel.insert(channel.clone(), Slot { account: Arc::clone(account), listed });
    }

    fn unlist(&mut self, number: u32, stamp: Stamp) {
        let Some(listed) = self.by_account.get_mut(&number) else { return };
        listed.remove(&stamp);
        if listed.is_empty() {
            self.by_account.remove(&number);
        }
    }
}
