//! Pressure: which channels make room when a hub is full.
//!
//! Room is taken from the account that holds most, as long as that keeps at least as much as the
//! account that gets it. So an account below an equal share always finds room and never loses any,
//! and accounts that hold equally much leave each other alone. First go channels without readers,
//! longest unused first; then the oldest history of the others; then idempotency keys.
//!
//! What one publication causes is bounded: see [`WORK`]. More is freed than it needs, a 64th of
//! the bound if that may go, so that few publications have to look.

use std::sync::Arc;

use crate::accounts::{Account, Capacity, Stamp};
use crate::channels::Channel;
use crate::channels::Registry;
use crate::log::Dropped;
use crate::stats::Evicted;
use crate::{ChannelName, IdempotencyKey, Share};

/// How much is freed at once, as a part of the bound.
const BATCH: u64 = 64;
/// But not more than this, unless a message needs it: channels, and bytes. It takes about a
/// millisecond.
const LARGEST_BATCH: (u64, u64) = (256, 4 << 20);
/// How many entries and keys one publication frees, and four times how many channels it looks at;
/// each takes about 0.2 µs. A large message may free as many more as it displaces.
const WORK: usize = 4096;
/// What looking at a channel counts for.
const LOOK: usize = 4;
/// How much of an account's bytes in a channel with readers goes at once: no reader loses all of it
/// as long as another channel has some.
const PART: u64 = 8;
/// But not less than this, in bytes.
const LEAST_PART: u64 = 64 << 10;
/// How many accounts that have nothing to give are passed over.
const PASSED_OVER: usize = 8;

/// What may still be done for one publication.
struct Work(usize);

/// Which way room is made.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// Whole channels without readers.
    Channels,
    /// Entries at the beginning of a history.
    History,
    /// The same where entries of others are among them, but no more bytes than the account loses:
    /// a publisher that puts a small message before a large history does not protect it.
    SharedHistory,
    Keys,
}

impl Registry {
    /// Sees to it, as far as is fair, that there is room for a publication by its charge and its key; or says whose share
    /// stands in the way, if there is none yet.
    pub(crate) fn make_room(
        &self,
        account: &Arc<Account>,
        channel: &Arc<Channel>,
        (charge, key): (u64, Option<&IdempotencyKey>),
    ) -> Share {
        let slots = &self.map.slots;
        if self.over(charge) == 0 && !slots.is_full() {
            return Share::Own;
        }
        channel.touch();
        let (is_new, is_repeated) = {
            let state = channel.lock();
            (!state.persistent, state.repeated(key).is_some())
        };
        if is_repeated {
            return Share::Own;
        }
        let mut share = Share::Own;
        if is_new && slots.is_full() {
            share = self.free_slots(account);
        }
        if self.over(charge) > 0 {
            share = self.free_bytes(account, charge);
        }
        share
    }

    /// How many bytes have to go before that many may come.
    pub(crate) fn over(&self, charge: u64) -> u64 {
        (self.meter.bytes_in_all() + charge).saturating_sub(self.options.max_bytes)
    }

    /// Makes room for a channel of the account, in memory.
    fn free_slots(&self, account: &Account) -> Share {
        let batch = (self.options.max_channels / BATCH).clamp(1, LARGEST_BATCH.0);
        let mut work = Work(WORK);
        self.take_from_largest(account, Capacity::Channels, 1, |victim, mut spare| {
            let mut freed = 0;
            let begin = Stamp::after_all_uses();
            let mut after = Stamp::default();
            while freed < batch.min(spare) && work.take(LOOK) {
                let Some((stamp, name)) = self.map.slots.next_of(victim, after, begin) else {
                    break;
                };
                after = stamp;
                let Ok(channel) = self.map.find(&name) else { continue };
                match self.unused_since(&channel, stamp, begin) {
                    Err(used) => self.map.slots.relist(&name, used),
                    Ok(()) if self.hand_over(victim, &channel) => spare -= spare.min(1),
                    Ok(()) => freed += u64::from(self.remove(&channel)),
                }
            }
            (freed, !self.map.slots.is_full() || !work.is_left())
        })
    }

    /// Up to `count` unused channels of the account, longest unused first: in memory or not.
    pub(crate) fn unused_channels(&self, victim: &Account, count: u64) -> Vec<ChannelName> {
        let (mut found, mut work) = (Vec::new(), Work(WORK));
        let (begin, mut after) = (Stamp::after_all_uses(), Stamp::default());
        while (found.len() as u64) < count && work.take(LOOK) {
            let Some((stamp, name)) = self.map.slots.next_of(victim, after, begin) else {
                break;
            };
            after = stamp;
            let used = match self.map.find(&name) {
                Ok(channel) if self.hand_over(victim, &channel) => continue,
                Ok(channel) => self.unused_since(&channel, stamp, begin),
                Err(_) if self.presence.has_presence(&name) => Err(begin.0),
                Err(_) => Ok(()),
            };
            match used {
                Err(used) => self.map.slots.relist(&name, used),
                Ok(()) => found.push(name),
            }
        }
        found
    }

    /// Makes room for that many bytes of the account.
    pub(crate) fn free_bytes(&self, account: &Account, charge: u64) -> Share {
        let batch = (self.options.max_bytes / BATCH).min(LARGEST_BATCH.1);
        // A message that is large may push out many that are small.
        let mut work = Work(WORK + (self.over(charge) / crate::ENTRY_OVERHEAD) as usize);
        self.take_from_largest(account, Capacity::Bytes, charge, |victim, spare| {
            let quota = self.over(charge).max(batch);
            let mut freed = 0;
            for step in [Step::Channels, Step::History, Step::SharedHistory, Step::Keys] {
                if freed == 0 || self.over(charge) > 0 {
                    // A step that finds nothing leaves as much for those behind it.
                    let mut half = Work(work.0.div_ceil(2));
                    work.0 -= half.0;
                    let bytes = (quota.saturating_sub(freed), spare.saturating_sub(freed));
                    freed += self.evict(victim, bytes, step, &mut half);
                    work.0 += half.0;
                }
            }
            (freed, self.over(charge) == 0 || !work.is_left())
        })
    }

    /// Frees room of the account that holds most, and of the next when that has nothing to give,
    /// until `free` says that it is done. `free` is told how much may go, and gives how much went.
    pub(crate) fn take_from_largest(
        &self,
        account: &Account,
        capacity: Capacity,
        need: u64,
        mut free: impl FnMut(&Account, u64) -> (u64, bool),
    ) -> Share {
        let mut passed_over = Vec::new();
        while passed_over.len() < PASSED_OVER {
            let Some(victim) = self.accounts.largest(capacity, &passed_over) else { break };
            let spare = victim.held(capacity).saturating_sub(account.held(capacity) + need);
            if victim.number == account.number || spare == 0 {
                break;
            }
            match free(&victim, spare) {
                (_, true) => return Share::Own,
                (0, false) => passed_over.push(victim.number),
                (_, false) => {}
            }
        }
        if passed_over.is_empty() { Share::Own } else { Share::Others }
    }

    /// Frees `quota` bytes of the account in one way, if there are that many, and at most `spare`;
    /// gives how many.
    fn evict(
        &self,
        victim: &Account,
        (quota, spare): (u64, u64),
        step: Step,
        work: &mut Work,
    ) -> u64 {
        let (mut freed, mut after) = (0, Stamp::default());
        let begin = Stamp::after_all_uses();
        while freed < quota && work.take(LOOK) {
            let Some((stamp, name)) = victim.next_stake(after, begin) else { break };
            after = stamp;
            let Ok(channel) = self.map.find(&name) else { continue };
            let bytes = (quota - freed, spare.saturating_sub(freed));
            freed += match step {
                Step::Channels => {
                    self.evict_channel(victim, &channel, (stamp, begin), bytes.0.min(bytes.1))
                }
                _ => self.evict_part(victim, &channel, bytes, (step, begin), work),
            };
        }
        freed
    }

    /// Removes a channel of the account, if that frees no more than `quota` bytes of it.
    fn evict_channel(
        &self,
        victim: &Account,
        channel: &Arc<Channel>,
        (stamp, begin): (Stamp, Stamp),
        quota: u64,
    ) -> u64 {
        if let Err(used) = self.unused_since(channel, stamp, begin) {
            channel.lock().stakes.relist(victim.number, &channel.name, used);
            return 0;
        }
        let stake = {
            let state = channel.lock();
            let size = state.log.len() + state.keys.len();
            let is_anothers = !self.is_kept() && state.stakes.larger_than(victim.number).is_some();
            if size > WORK || is_anothers { u64::MAX } else { state.stakes.of(victim.number) }
        };
        let is_own = || self.owner_of(&channel.name).number == victim.number;
        // What a store keeps is not lost.
        let may_go = self.is_kept() || (stake <= quota && is_own());
        if may_go && self.remove(channel) { stake } else { 0 }
    }

    /// Drops a part of what the account has in a channel; gives how many bytes of it.
    fn evict_part(
        &self,
        victim: &Account,
        channel: &Channel,
        (quota, spare): (u64, u64),
        (step, begin): (Step, Stamp),
        work: &mut Work,
    ) -> u64 {
        let number = victim.number;
        let mut state = channel.lock();
        let stake = state.stakes.of(number);
        let bytes = (quota.min((stake / PART).max(LEAST_PART)), spare);
        let (mut keys, mut dropped) = (0, Dropped::default());
        if step == Step::Keys {
            let (count, bytes) = state.keys.evict(number, bytes, work.0);
            keys = count;
            self.meter.remove_keys(bytes);
            state.stakes.discharge(number, bytes);
        } else {
            let others = step == Step::SharedHistory;
            dropped = state.evict(number, bytes, others, work.0, &self.meter);
        }
        let freed = stake - state.stakes.of(number);
        if freed == 0 || channel.has_readers() {
            // The others first, next time.
            state.stakes.relist(number, &channel.name, begin.0);
        }
        drop(state);
        work.take(keys + dropped.len());
        self.meter.evicted(Evicted::Keys, keys);
        self.meter.evicted(Evicted::Messages, dropped.len());
        freed
    }

    /// Whether the channel is unused since it was listed with `stamp`, or as used when it is
    /// to be listed.
    fn unused_since(&self, channel: &Channel, stamp: Stamp, begin: Stamp) -> Result<(), u64> {
        let used = channel.last_used().min(begin.0);
        if channel.has_readers() || self.presence.has_presence(&channel.name) {
            Err(begin.0)
        } else if used > stamp.0 {
            Err(used)
        } else {
            Ok(())
        }
    }

    /// Charges a channel of the account to the one that holds more of it, if there is one: an account
    /// that begins a channel which others fill does not take their messages along.
    fn hand_over(&self, victim: &Account, channel: &Channel) -> bool {
        let larger = channel.lock().stakes.larger_than(victim.number).cloned();
        if let Some(account) = &larger {
            self.map.slots.hand_over(&channel.name, account);
        }
        larger.is_some()
    }

    /// Lets go of a channel without readers, with all that is in memory of it.
    fn remove(&self, channel: &Arc<Channel>) -> bool {
        let removed = self.map.remove_if(channel, &self.meter, |_| true);
        if removed && !self.is_kept() {
            self.meter.evicted(Evicted::Channels, 1);
        }
        removed
    }
}

impl Work {
    /// Whether that much may be done, which then is.
    fn take(&mut self, units: usize) -> bool {
        let is_left = self.is_left();
        self.0 = self.0.saturating_sub(units);
        is_left
    }

    fn is_left(&self) -> bool {
        self.0 > 0
    }
}
