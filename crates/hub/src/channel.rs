//! A channel: a log behind a lock, and those who wait for it to grow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use tokio::sync::Notify;

use crate::accounts::{Account, Room, Stamp};
use crate::entry::Content;
use crate::figures::Meter;
use crate::keys::Keys;
use crate::log::Log;
use crate::pressure::Share;
use crate::shared::Shared;
use crate::stakes::Stakes;
use crate::store::{Head, Saved, Store, StoreError};
use crate::{
    ChannelName, Entry, Epoch, IdempotencyKey, Options, Position, Publication, PublishError,
};

/// Keys that are forgotten at once, at most.
pub(crate) const KEYS_AT_ONCE: usize = 256;

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    state: Mutex<State>,
    /// Wakes the readers that wait. The list of them is made of nodes in their own futures: a
    /// reader that waits costs the channel nothing.
    pub(crate) grown: Notify,
    /// Changed only while the shard is locked, so that a channel is never removed under a reader
    /// that is just coming.
    pub(crate) readers: AtomicUsize,
    /// Whether what a store keeps of it is here.
    ready: AtomicBool,
    /// Held by whoever reads it from the store.
    restoring: Mutex<()>,
    /// Whether it was used since that was last asked.
    used: AtomicBool,
    /// The turn in which it was last used.
    last_used: AtomicU64,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) log: Log,
    /// What was published with a key not long ago.
    pub(crate) keys: Keys,
    /// The accounts that entries and keys are charged to.
    pub(crate) stakes: Stakes,
    /// Whether anything was ever published here: then the offset must be remembered.
    pub(crate) lasting: bool,
    /// What the store was told last of where the log stands, if there is a store.
    pub(crate) saved: Head,
    /// Whether the hub has let go of this channel: who still holds it asks the hub for a new one.
    pub(crate) retired: bool,
}

impl Channel {
    /// An empty channel; `ready` unless a store may know more of it.
    pub(crate) fn new(name: ChannelName, epoch: Epoch, floor: u64, ready: bool) -> Self {
        let state = State {
            log: Log::new(epoch, floor),
            keys: Keys::default(),
            stakes: Stakes::default(),
            lasting: false,
            saved: Head::default(),
            retired: false,
        };
        Self {
            name,
            state: Mutex::new(state),
            grown: Notify::new(),
            readers: AtomicUsize::new(0),
            ready: AtomicBool::new(ready),
            restoring: Mutex::new(()),
            used: AtomicBool::new(true),
            last_used: AtomicU64::new(0),
        }
    }

    /// Whether what a store keeps of it is here.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Acquire)
    }

    /// Somebody uses it, and may again.
    pub(crate) fn is_used(&self) {
        self.used.store(true, Relaxed);
        self.last_used.store(Stamp::turn(), Relaxed);
    }

    /// Whether somebody reads it.
    pub(crate) fn has_readers(&self) -> bool {
        self.readers.load(Acquire) > 0
    }

    /// The [turn](Stamp::turn) in which it was last used.
    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Relaxed)
    }

    /// Whether it was used since this was last asked.
    pub(crate) fn was_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }

    /// What is here may not be what the store keeps: it is to be read again.
    pub(crate) fn doubt(&self) {
        self.ready.store(false, Release);
    }

    /// Reads what the store keeps of it, unless somebody else has just done so.
    pub(crate) fn restore(&self, store: &dyn Store, shared: &Shared) -> Result<(), StoreError> {
        let Shared { options, meter, .. } = shared;
        let _alone = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ready.load(Acquire) {
            return Ok(());
        }
        // Asked after it is known that the channel is not kept: what was removed is below it.
        let saved = store.load(&self.name)?;
        let floor = store.floor();
        let _dropped = {
            let owner = shared.owner_of(&self.name);
            let mut state = self.lock();
            let before: Vec<_> = state.log.entries().cloned().collect();
            state.clear(meter);
            state.restore(&self.name, (store.epoch(), floor), saved, &owner, meter);
            let now = options.clock.now();
            (before, state.expire(options, meter, now))
        };
        self.ready.store(true, Release);
        self.grown.notify_waiters();
        Ok(())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock but the clock, which is asked between changes: a
        // panic leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends and wakes whoever waits, unless it was done before. `None` if the hub has let go of this channel meanwhile.
    pub(crate) fn publish(
        &self,
        publication: &Publication<'_>,
        account: &Arc<Account>,
        share: Share,
        shared: &Shared,
    ) -> Option<Result<Position, PublishError>> {
        let Shared { options, meter, .. } = shared;
        // Copied and, at the end, freed outside the lock.
        let payload = publication.payload.to_payload();
        let content = Content::new(payload, publication.event.clone(), account.number);
        let (position, _dropped) = {
            let mut state = self.lock();
            if state.retired {
                return None;
            }
            let now = options.clock.now();
            self.is_used();
            state.expire_keys(meter, now);
            if let Some(position) = state.repeated(publication.key.as_ref()) {
                return Some(Ok(position));
            }
            let admitted = state.admit(publication, (account, share), &self.name, shared);
            let mut dropped = match admitted {
                Ok(dropped) => dropped,
                Err(error) => return Some(Err(error)),
            };
            let position = state
                .log
                .append(now, |position, ts| Entry::new(position, ts, content, &meter.forms));
            meter.published(publication.charge());
            state.remember(publication, position, account.number, meter);
            state.stakes.charge(account, publication.charge_in_all(), &self.name);
            dropped.append(&mut state.expire(options, meter, now));
            (position, dropped)
        };
        self.grown.notify_waiters();
        Some(Ok(position))
    }

    /// Drops what the options do not cover any more, then reads.
    pub(crate) fn read<T>(
        &self,
        options: &Options,
        meter: &Meter,
        read: impl FnOnce(&mut Log, u64) -> T,
    ) -> T {
        let (read, _dropped) = {
            let mut state = self.lock();
            let now = options.clock.now();
            let dropped = state.expire(options, meter, now);
            (read(&mut state.log, now), dropped)
        };
        read
    }

    /// Drops some entries and forgets some keys that the options do not cover any more, up to `limit`
    /// entries; gives them, and how many keys there were.
    pub(crate) fn expire_some(
        &self,
        options: &Options,
        meter: &Meter,
        limit: usize,
    ) -> (Vec<Arc<Entry>>, usize) {
        let mut state = self.lock();
        let now = options.clock.now();
        state.expire_some(options, meter, now, limit)
    }

    /// Drops what was made of some entries that are not new any more, up to `limit`, and what is kept
    /// for readers that may come to the same place. How many there were; at last, none.
    pub(crate) fn close_forms(&self, meter: &Meter, limit: usize) -> usize {
        let entries = self.lock().log.old_entries(limit);
        entries.iter().for_each(|entry| entry.close_forms(&meter.forms));
        entries.len()
    }

    /// The entries, of a channel that is not needed any more.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = Arc<Entry>> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.log.into_entries().into_iter()
    }

    /// The store keeps nothing of it any more: it begins anew, behind all that it had. Readers that
    /// have come meanwhile are told that it made room.
    pub(crate) fn begin_anew(&self, floor: u64, meter: &Meter) {
        let _dropped = {
            let mut state = self.lock();
            let keys = state.clear(meter);
            let count = state.log.len();
            let entries = state.log.evict(count);
            if !self.is_ready() {
                let head = Head { start: floor, last: floor, ..Head::default() };
                state.log.restore(&head, [].into_iter());
            }
            if std::mem::take(&mut state.lasting) {
                meter.lasting.fetch_sub(1, Relaxed);
            }
            state.saved = Head::default();
            (keys, entries)
        };
        self.ready.store(true, Release);
        self.grown.notify_waiters();
    }

    /// Held as long as nobody else may read it from the store.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.restoring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the history.
    pub(crate) fn forget(&self, meter: &Meter) {
        let dropped = {
            let mut state = self.lock();
            meter.dropped_all(&state.log);
            let kept = state.keys.charges();
            state.stakes.reduce_to(&kept);
            state.log.forget()
        };
        self.grown.notify_waiters();
        free(dropped);
    }

    /// Whether it is being read from the store, under its lock.
    pub(crate) fn is_restoring(&self) -> bool {
        matches!(self.restoring.try_lock(), Err(TryLockError::WouldBlock))
    }
}

/// Frees entries of a log. Many of them on a thread of its own: a million take a tenth of a second, for
/// which nobody is to wait.
fn free(entries: VecDeque<Arc<Entry>>) {
    const AT_ONCE: usize = 4096;
    if entries.len() > AT_ONCE {
        // Where there is no thread to be had they are dropped with what it was to do.
        let _ = thread::Builder::new().spawn(move || drop(entries));
    }
}

impl State {
    /// Puts what a store keeps in place of what is here. What it does not keep begins at `floor`.
    fn restore(
        &mut self,
        name: &ChannelName,
        (epoch, floor): (Epoch, u64),
        saved: Option<Saved>,
        owner: &Arc<Account>,
        meter: &Arc<Meter>,
    ) {
        let Some(Saved { head, entries, keys }) = saved else {
            self.log
                .restore(&Head { start: floor, last: floor, ..Head::default() }, [].into_iter());
            return;
        };
        if entries.len() as u64 != head.last - head.start {
            tracing::error!(channel = name.as_str(), "the store has lost messages of the channel");
        }
        let entries = entries.into_iter().map(|entry| {
            let position = Position { epoch, offset: entry.offset };
            let content = Content::new(entry.payload, entry.event, owner.number);
            Arc::new(Entry::restored(position, entry.ts, content, &meter.forms))
        });
        self.log.restore(&head, entries);
        meter.restored(self.log.entries());
        for key in keys {
            meter.add_key(key.key.charge());
            let ts = self.log.published(key.offset, key.ts);
            self.keys.remember(key.key, key.offset, ts, owner.number);
        }
        // Who published what is not kept: all of it is charged to the account the channel is.
        let bytes = self.log.bytes() + self.keys.bytes();
        if bytes > 0 {
            self.stakes.charge(owner, bytes, name);
        }
        self.saved = head;
        self.last(meter);
    }

    /// From now on the channel is one that something was published on.
    pub(crate) fn last(&mut self, meter: &Meter) {
        if !std::mem::replace(&mut self.lasting, true) {
            meter.lasting.fetch_add(1, Relaxed);
        }
    }

    /// Where the log stands, for a store.
    pub(crate) fn head(&self) -> Head {
        let head = self.log.head();
        Head { keys_start: self.keys.start().unwrap_or(head.last), ..head }
    }

    /// Whether nothing would be lost with this channel but its offset.
    pub(crate) fn is_idle(&self) -> bool {
        self.log.is_empty() && self.keys.is_empty()
    }

    /// The position that the publication got when it came first, if it came before.
    pub(crate) fn repeated(&self, key: Option<&IdempotencyKey>) -> Option<Position> {
        let offset = self.keys.find(key?)?;
        Some(Position { offset, ..self.log.end() })
    }

    fn remember(
        &mut self,
        publication: &Publication<'_>,
        position: Position,
        payer: u32,
        meter: &Meter,
    ) {
        let Some(key) = &publication.key else { return };
        meter.add_key(key.charge());
        self.keys.remember(key.clone(), position.offset, self.log.last_ts(), payer);
    }

    /// Makes room in the hub for an entry, at the cost of this channel alone.
    fn admit(
        &mut self,
        publication: &Publication<'_>,
        (account, share): (&Arc<Account>, Share),
        name: &ChannelName,
        shared: &Shared,
    ) -> Result<Vec<Arc<Entry>>, PublishError> {
        let Shared { options, meter, shards, .. } = shared;
        let surplus = self.surplus(publication.charge_in_all(), share, options, meter)?;
        if !self.lasting {
            if !shards.slots.take(name, account) {
                return Err(PublishError::Full { room: Room::Channels, share });
            }
            self.last(meter);
        }
        let dropped = self.log.make_room(surplus);
        self.release(&dropped, meter);
        Ok(dropped)
    }

    /// How many bytes of this channel's history have to go for so many to come.
    pub(crate) fn surplus(
        &self,
        charge: u64,
        share: Share,
        options: &Options,
        meter: &Meter,
    ) -> Result<u64, PublishError> {
        let surplus = (meter.bytes_in_all() + charge).saturating_sub(options.max_bytes);
        match surplus > self.log.bytes() {
            true => Err(PublishError::Full { room: Room::Bytes, share }),
            false => Ok(surplus),
        }
    }

    pub(crate) fn expire(&mut self, options: &Options, meter: &Meter, now: u64) -> Vec<Arc<Entry>> {
        self.expire_some(options, meter, now, usize::MAX).0
    }

    fn expire_some(
        &mut self,
        options: &Options,
        meter: &Meter,
        now: u64,
        limit: usize,
    ) -> (Vec<Arc<Entry>>, usize) {
        self.follow(now);
        let dropped = self.log.trim(options, now, limit);
        self.release(&dropped, meter);
        (dropped, self.expire_keys(meter, now))
    }

    /// Follows a clock that was ahead and is not any more.
    fn follow(&mut self, now: u64) {
        if self.log.follow(now) {
            self.keys.correct(now);
        }
    }

    /// Forgets some old keys, and gives how many. Who publishes adds one for [`KEYS_AT_ONCE`] that go,
    /// and the sweep comes until there are none.
    fn expire_keys(&mut self, meter: &Meter, now: u64) -> usize {
        self.follow(now);
        let stakes = &mut self.stakes;
        self.keys.expire(self.log.channel_time(now), KEYS_AT_ONCE, |payer, charge| {
            meter.remove_keys(charge);
            stakes.discharge(payer, charge);
        })
    }

    /// Takes back what was charged for entries that are not in the log any more.
    pub(crate) fn release<'a>(
        &mut self,
        dropped: impl IntoIterator<Item = &'a Arc<Entry>> + Copy,
        meter: &Meter,
    ) {
        meter.dropped(dropped);
        let mut sum = (0, 0);
        for entry in dropped {
            if entry.payer() != sum.0 {
                self.stakes.discharge(sum.0, sum.1);
                sum = (entry.payer(), 0);
            }
            sum.1 += entry.charge();
        }
        self.stakes.discharge(sum.0, sum.1);
    }

    /// Drops oldest entries of the account among the oldest `limit` ones, so that another account
    /// finds room: as many as it takes to free `quota` bytes, at most `spare` bytes. With `others`
    /// also entries of others that are older, but no more bytes of those.
    pub(crate) fn evict(
        &mut self,
        payer: u32,
        (quota, spare): (u64, u64),
        others: bool,
        limit: usize,
        meter: &Meter,
    ) -> Vec<Arc<Entry>> {
        let (mut own, mut foreign, mut count) = (0, 0, 0);
        for (index, entry) in self.log.entries().take(limit).enumerate() {
            if entry.payer() == payer {
                if own >= quota || own + entry.charge() > spare {
                    break;
                }
                own += entry.charge();
                if foreign <= own {
                    count = index + 1;
                }
            } else if others {
                foreign += entry.charge();
            } else {
                break;
            }
        }
        let dropped = self.log.evict(count);
        self.release(&dropped, meter);
        dropped
    }

    /// Takes back all that was charged, and gives the keys, which are freed without the lock. The
    /// entries stay in the log, which is dropped next or filled anew.
    pub(crate) fn clear(&mut self, meter: &Meter) -> Keys {
        meter.dropped_all(&self.log);
        meter.remove_keys(self.keys.bytes());
        self.stakes.clear();
        std::mem::take(&mut self.keys)
    }
}
