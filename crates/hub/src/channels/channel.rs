//! A channel: a log behind a lock, and the readers that wait for it to grow.

mod ending;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::{mem, thread};

use tokio::sync::Notify;

use crate::Share;
use crate::accounts::Stakes;
use crate::accounts::{Account, Capacity, Stamp};
use crate::backplane::{EndTimes, Stored, What};
use crate::channels::Keys;
use crate::channels::Registry;
use crate::log::{Content, Dropped, Log};
use crate::names::History;
use crate::stats::Meter;
use crate::store::{Head, Saved, Store, StoreError};
use crate::{
    ChannelName, Entry, Epoch, IdempotencyKey, Options, Position, Publication, PublishError,
};

/// Keys that are forgotten at once, at most.
pub(crate) const KEYS_AT_ONCE: usize = 256;

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    state: Mutex<ChannelState>,
    /// Wakes the readers that wait. The list of them is made of nodes in their own futures: a
    /// reader that waits costs the channel nothing.
    pub(crate) grown: Notify,
    /// Changed only while the stripe is locked, so that a channel is never removed under a reader
    /// that is just coming.
    pub(crate) readers: AtomicUsize,
    /// How much of it is here: an [`Extent`].
    extent: AtomicU8,
    /// Held while it is read from the store.
    restoring: Mutex<()>,
    /// Whether it was used since that was last asked.
    used: AtomicBool,
    /// The turn in which it was last used.
    last_used: AtomicU64,
}

/// How much of a channel is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Extent {
    /// Nothing: a store may keep more.
    Absent,
    /// What came since it was first used here: a backplane holds what is older.
    Live,
    /// All that is kept.
    Whole,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct ChannelState {
    pub(crate) log: Log,
    /// What was published with a key not long ago.
    pub(crate) keys: Keys,
    /// The accounts that entries and keys are charged to.
    pub(crate) stakes: Stakes,
    /// Whether anything was ever published here: then the offset must be remembered.
    pub(crate) persistent: bool,
    /// What the store was told last of where the log stands, if there is a store.
    pub(crate) saved: Head,
    /// Whether a reader may have found nothing, and waits, since readers were woken for a publication last.
    pub(super) is_awaited: bool,
    /// Where it began to be followed, with a backplane.
    pub(crate) live_from: u64,
    /// Whether the hub has let go of this channel: code that still holds it asks the hub for a new one.
    pub(crate) retired: bool,
}

impl Channel {
    /// An empty channel that begins there.
    pub(crate) fn new(name: ChannelName, begin: Position, extent: Extent) -> Self {
        let state = ChannelState {
            log: Log::new(begin.epoch, begin.offset),
            keys: Keys::default(),
            stakes: Stakes::default(),
            persistent: false,
            saved: Head::default(),
            is_awaited: false,
            live_from: begin.offset,
            retired: false,
        };
        Self {
            name,
            state: Mutex::new(state),
            grown: Notify::new(),
            readers: AtomicUsize::new(0),
            extent: AtomicU8::new(extent as u8),
            restoring: Mutex::new(()),
            used: AtomicBool::new(true),
            last_used: AtomicU64::new(0),
        }
    }

    /// Whether all that is kept of it is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.extent.load(Acquire) == Extent::Whole as u8
    }

    pub(crate) fn set_extent(&self, extent: Extent) {
        self.extent.store(extent as u8, Release);
    }

    /// It is used, and may be again.
    pub(crate) fn touch(&self) {
        self.used.store(true, Relaxed);
        self.last_used.store(Stamp::turn(), Relaxed);
    }

    /// Whether it has readers.
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
    pub(crate) fn invalidate(&self) {
        self.set_extent(Extent::Absent);
    }

    /// Reads what the store keeps of it, unless another task has just done so.
    pub(crate) fn restore(&self, store: &dyn Store, registry: &Registry) -> Result<(), StoreError> {
        let Registry { options, meter, .. } = registry;
        let _alone = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_whole() {
            return Ok(());
        }
        // Asked after it is known that the channel is not kept: what was removed is below it.
        let saved = store.load(&self.name)?;
        let floor = store.floor();
        let _dropped = {
            let owner = registry.owner_of(&self.name);
            let mut state = self.lock();
            let before: Vec<_> = state.log.entries().cloned().collect();
            state.clear(meter);
            state.restore(&self.name, (store.epoch(), floor), saved, &owner, meter);
            let now = options.clock.now();
            (before, state.expire(options.history_of(&self.name), meter, now))
        };
        self.set_extent(Extent::Whole);
        self.grown.notify_waiters();
        Ok(())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        // No code of others runs under the lock but the clock, which is asked between changes: a
        // panic leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends and wakes the readers that wait, unless it was done before. `None` if the hub has let go of this
    /// channel meanwhile.
    pub(crate) fn publish(
        &self,
        (publication, charge): (&Publication<'_>, u64),
        history: History,
        (account, share): (&Arc<Account>, Share),
        registry: &Registry,
    ) -> Option<Result<Position, PublishError>> {
        let Registry { options, meter, .. } = registry;
        // Copied and, at the end, freed outside the lock.
        let payload = publication.payload.to_payload();
        let mut content = Content::new(payload, publication.event.clone(), account.number);
        let mut dropped = Dropped::default();
        let (position, is_awaited) = {
            let mut state = self.lock();
            if state.retired {
                return None;
            }
            let now = options.clock.now();
            self.touch();
            state.follow(now);
            if !state.keys.is_empty() {
                state.expire_keys(meter, now);
            }
            if let Some(position) = state.repeated(publication.key.as_ref()) {
                return state.as_it_is(Ok(position), history, meter, now);
            }
            if state.log.has_ended() {
                return state.as_it_is(Err(PublishError::Ended), history, meter, now);
            }
            let admitted = state.admit(publication, (account, share), &self.name, registry);
            let surplus = match admitted {
                Ok(surplus) => surplus,
                Err(error) => return state.as_it_is(Err(error), history, meter, now),
            };
            state.log.make_room(surplus, &mut dropped);
            let ts = state.log.channel_time(now);
            state.log.trim_for(charge, history, ts, &mut dropped);
            state.charge((publication, charge), account, &dropped, (&self.name, meter));
            let position = state.log.append(ts, &mut content, &mut dropped, &meter.forms);
            state.remember(publication, position, account.number, meter);
            (position, mem::take(&mut state.is_awaited))
        };
        if is_awaited {
            self.grown.notify_waiters();
        }
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
            let dropped = state.expire(options.history_of(&self.name), meter, now);
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
    ) -> (Dropped, usize) {
        let mut state = self.lock();
        let now = options.clock.now();
        state.expire_some(options.history_of(&self.name), meter, now, limit)
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
            if !self.is_whole() {
                let head = Head { start: floor, last: floor, ..Head::default() };
                state.log.restore(&head, [].into_iter());
            }
            state.log.reopen();
            if mem::take(&mut state.persistent) {
                meter.persistent.fetch_sub(1, Relaxed);
            }
            state.saved = Head::default();
            (keys, entries)
        };
        self.set_extent(Extent::Whole);
        self.grown.notify_waiters();
    }

    /// Held as long as no other task may read it from the store.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.restoring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the history.
    pub(crate) fn forget(&self, meter: &Meter) {
        self.drop_all(meter, Log::forget);
    }

    /// Does something to the log that drops all its entries.
    pub(crate) fn drop_all(
        &self,
        meter: &Meter,
        drop_all: impl FnOnce(&mut Log) -> VecDeque<Arc<Entry>>,
    ) {
        let dropped = self.lock().drop_all(meter, drop_all);
        self.grown.notify_waiters();
        free(dropped);
    }

    /// Whether it is being read from the store, under its lock.
    pub(crate) fn is_restoring(&self) -> bool {
        matches!(self.restoring.try_lock(), Err(TryLockError::WouldBlock))
    }
}

/// Frees entries of a log. Many of them on a thread of its own: a million take a tenth of a second, for
/// which no caller is to wait.
pub(super) fn free(entries: VecDeque<Arc<Entry>>) {
    const AT_ONCE: usize = 4096;
    if entries.len() > AT_ONCE {
        // Where there is no thread to be had they are dropped with what it was to do.
        let _ = thread::Builder::new().spawn(move || drop(entries));
    }
}

impl ChannelState {
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
        if entries.len() as u64 != head.newest().saturating_sub(head.start) {
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
        // The publisher of each entry is not kept: all of it is charged to the account of the channel.
        let bytes = self.log.bytes() + self.keys.bytes();
        if bytes > 0 {
            self.stakes.charge(owner, bytes, name);
        }
        self.saved = head;
        self.mark_persistent(meter);
    }

    /// Does something to the log that drops all its entries.
    pub(crate) fn drop_all(
        &mut self,
        meter: &Meter,
        drop_all: impl FnOnce(&mut Log) -> VecDeque<Arc<Entry>>,
    ) -> VecDeque<Arc<Entry>> {
        meter.dropped_all(&self.log);
        let kept = self.keys.charges();
        self.stakes.reduce_to(&kept);
        drop_all(&mut self.log)
    }

    /// From now on the channel is one that something was published on.
    pub(crate) fn mark_persistent(&mut self, meter: &Meter) {
        if !mem::replace(&mut self.persistent, true) {
            meter.persistent.fetch_add(1, Relaxed);
        }
    }

    /// Where the log stands, for a store.
    pub(crate) fn head(&self) -> Head {
        let head = self.log.head();
        Head { keys_start: self.keys.start().unwrap_or(head.last), ..head }
    }

    /// Whether nothing would be lost with this channel but its offset.
    pub(crate) fn is_idle(&self) -> bool {
        self.log.is_empty() && self.keys.is_empty() && !self.log.keeps_end()
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

    /// Remembers by what a backplane knows a publication again.
    pub(crate) fn remember_id(
        &mut self,
        id: &str,
        offset: u64,
        ts: u64,
        payer: u32,
        meter: &Meter,
    ) {
        let key = IdempotencyKey::of_text(id);
        meter.add_key(key.charge());
        self.keys.remember(key, offset, ts, payer);
    }

    /// The same of what a backplane holds up to `from`, unless newer ones are remembered.
    pub(crate) fn remember_stored(
        &mut self,
        stored: &Stored,
        (from, times): (u64, EndTimes),
        payer: u32,
        meter: &Meter,
    ) {
        if !self.keys.is_empty() {
            return;
        }
        let older = stored.messages.iter().take_while(|message| message.offset <= from);
        for message in older.filter(|message| !stored.is_void(message, times)) {
            if let What::Message { id: Some(id), .. } = &message.what {
                self.remember_id(id, message.offset, message.ts, payer, meter);
            }
        }
    }

    /// Makes room in the hub for an entry, at the cost of this channel alone: that many bytes of its history have to go.
    fn admit(
        &mut self,
        publication: &Publication<'_>,
        (account, share): (&Arc<Account>, Share),
        name: &ChannelName,
        registry: &Registry,
    ) -> Result<u64, PublishError> {
        let Registry { options, meter, map, .. } = registry;
        let surplus = self.surplus(publication.charge_in_all(), share, options, meter)?;
        self.take_slot(account, share, name, (map, meter))?;
        Ok(surplus)
    }

    /// How many bytes of this channel's history have to go for that many to come.
    pub(crate) fn surplus(
        &self,
        charge: u64,
        share: Share,
        options: &Options,
        meter: &Meter,
    ) -> Result<u64, PublishError> {
        let surplus = (meter.bytes_in_all() + charge).saturating_sub(options.max_bytes);
        match surplus > self.log.bytes() {
            true => Err(PublishError::Full { capacity: Capacity::Bytes, share }),
            false => Ok(surplus),
        }
    }

    /// The answer to a publication that adds nothing. What is too old goes by it, as where a store keeps the channel.
    #[cold]
    fn as_it_is<T>(&mut self, answer: T, history: History, meter: &Meter, now: u64) -> Option<T> {
        let _dropped = self.expire(history, meter, now);
        Some(answer)
    }

    pub(crate) fn expire(&mut self, history: History, meter: &Meter, now: u64) -> Dropped {
        self.expire_some(history, meter, now, usize::MAX).0
    }

    fn expire_some(
        &mut self,
        history: History,
        meter: &Meter,
        now: u64,
        limit: usize,
    ) -> (Dropped, usize) {
        self.follow(now);
        let dropped = self.log.trim(history, now, limit);
        self.release(&dropped, meter);
        (dropped, self.expire_keys(meter, now))
    }

    /// Follows a clock that was ahead and is not any more.
    fn follow(&mut self, now: u64) {
        if self.log.follow(now) {
            self.keys.correct(now);
        }
    }

    /// Forgets some old keys, and gives how many. A publication adds one for [`KEYS_AT_ONCE`] that go,
    /// and the sweep comes until there are none.
    fn expire_keys(&mut self, meter: &Meter, now: u64) -> usize {
        self.follow(now);
        let stakes = &mut self.stakes;
        self.keys.expire(self.log.channel_time(now), KEYS_AT_ONCE, |payer, charge| {
            meter.remove_keys(charge);
            stakes.discharge(payer, charge);
        })
    }

    /// Charges what is published, and takes back what was charged for what is dropped for it.
    fn charge(
        &mut self,
        (publication, charge): (&Publication<'_>, u64),
        account: &Arc<Account>,
        dropped: &Dropped,
        (name, meter): (&ChannelName, &Meter),
    ) {
        let in_all = publication.charge_in_all();
        match dropped.only() {
            // As it mostly is: for one that comes one goes.
            Some(one) if one.payer() == account.number => {
                let back = one.charge();
                meter.exchanged(charge, back);
                self.stakes.exchange(account.number, in_all, back);
            }
            _ => {
                self.release(dropped, meter);
                meter.published(charge);
                self.stakes.charge(account, in_all, name);
            }
        }
    }

    /// Takes back what was charged for entries that are not in the log any more.
    pub(crate) fn release(&mut self, dropped: &Dropped, meter: &Meter) {
        if dropped.is_empty() {
            return;
        }
        meter.dropped(dropped);
        let mut sum = (0, 0);
        for entry in dropped.iter() {
            if entry.payer() != sum.0 {
                if sum.1 > 0 {
                    self.stakes.discharge(sum.0, sum.1);
                }
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
    ) -> Dropped {
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
        mem::take(&mut self.keys)
    }
}
