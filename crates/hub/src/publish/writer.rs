//! The writer: a thread that hands publications to the store, many at a time, in the order in which
//! they came.
//!
//! While one group is being written and synced the next one gathers, so the more is published the
//! more share a sync. A message gets its position here, and readers get it once it is kept: none
//! has seen what a crash can take back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::Share;
use crate::accounts::{Account, Capacity};
use crate::channels::Channel;
use crate::channels::Registry;
use crate::channels::Walk;
use crate::log::is_ahead;
use crate::publish::Health;
use crate::publish::{ChannelBatch, PendingPublish};
use crate::publish::{Outcome, Writing};
use crate::stats::{Evicted, MAX_QUEUED_BYTES};
use crate::store::{Change, Head, Listed, Store, StoreError};
use crate::{ChannelName, IdempotencyKey, Publication, PublishError, Publishing};

/// The most of a group: publications, and bytes as they are charged.
const GROUP: (usize, u64) = (4096, 8 << 20);
/// How long after the disk was found full it is taken to be so, without being asked again.
const FULL: Duration = Duration::from_millis(250);
/// How many channels one sweep looks at that are not in memory.
const SWEEP: usize = 1000;
/// How many channels one slice of a sweep looks at.
const SLICE: usize = 128;

/// The thread, as the hub sees it. Dropping it waits until everything that was handed over is
/// written.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<Sender<Task>>,
    /// The bytes in the queue.
    queued: Arc<AtomicU64>,
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Task {
    Publish(PendingPublish),
    Forget(ChannelName, oneshot::Sender<Outcome<()>>),
    /// To be done at once, or in slices between publications.
    Sweep {
        at_once: bool,
    },
}

impl Writer {
    pub(crate) fn start(registry: Arc<Registry>, store: Arc<dyn Store>) -> std::io::Result<Self> {
        let (queue, tasks) = channel();
        let queued = Arc::new(AtomicU64::new(0));
        let health = Arc::new(Health::new());
        let worker = Worker {
            registry,
            store,
            queued: Arc::clone(&queued),
            health: Arc::clone(&health),
            swept: None,
            sweep: None,
            full: None,
        };
        let thread =
            Builder::new().name("sockeye-store".to_owned()).spawn(move || worker.run(&tasks))?;
        Ok(Self { queue: Some(queue), queued, health, thread: Some(thread) })
    }

    pub(crate) fn submit(
        &self,
        channel: &ChannelName,
        publication: Publication<'_>,
        account: Arc<Account>,
    ) -> Publishing {
        if self.queued.load(Relaxed) >= MAX_QUEUED_BYTES {
            return Writing::done(Err(PublishError::Busy));
        }
        let (pending, outcome) = PendingPublish::new(channel, publication, account);
        self.queued.fetch_add(pending.charge, Relaxed);
        self.send(Task::Publish(pending));
        Writing::waiting(outcome)
    }

    /// What waits to be written, in bytes as it is charged.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    pub(crate) fn end(&self, channel: &ChannelName, account: Arc<Account>) -> Publishing {
        let (pending, outcome) = PendingPublish::end(channel, account);
        self.send(Task::Publish(pending));
        Writing::waiting(outcome)
    }

    pub(crate) fn forget(&self, channel: &ChannelName) -> Writing<()> {
        let (caller, outcome) = oneshot::channel();
        self.send(Task::Forget(channel.clone(), caller));
        Writing::waiting(outcome)
    }

    pub(crate) fn sweep(&self, at_once: bool) {
        self.send(Task::Sweep { at_once });
    }

    /// Why nothing is written at present, if so.
    pub(crate) fn health(&self) -> Result<(), StoreError> {
        match &self.thread {
            Some(thread) if !thread.is_finished() => self.health.check(Instant::now()),
            _ => Err(StoreError::Stopped),
        }
    }

    fn send(&self, task: Task) {
        if let Some(queue) = &self.queue {
            // If the thread is gone, the task is dropped and what waits for it learns that.
            let _ = queue.send(task);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told where it happened.
            let _ = thread.join();
        }
    }
}

/// The thread from inside.
struct Worker {
    registry: Arc<Registry>,
    store: Arc<dyn Store>,
    queued: Arc<AtomicU64>,
    health: Arc<Health>,
    /// The last channel that a sweep has looked at in the store.
    swept: Option<ChannelName>,
    /// How far the sweep that is under way has come, if one is.
    sweep: Option<Sweeping>,
    /// When the disk was found full.
    full: Option<Instant>,
}

/// The batches of a group, or why a channel cannot have one.
type Batches = HashMap<ChannelName, Result<ChannelBatch, StoreError>>;

impl Worker {
    fn run(mut self, tasks: &Receiver<Task>) {
        loop {
            // While a sweep is under way, a slice of it follows each group.
            let task = match self.sweep {
                None => tasks.recv().map_err(|_| TryRecvError::Disconnected),
                Some(_) => tasks.try_recv(),
            };
            match task {
                Ok(task) => self.take(task, tasks),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            self.slice();
        }
    }

    /// Does what is to be done and what else has come meanwhile, up to a group.
    fn take(&mut self, task: Task, tasks: &Receiver<Task>) {
        let mut group = Vec::new();
        let mut next = Some(task);
        let mut bytes = 0;
        while let Some(task) = next {
            match task {
                Task::Publish(pending) => {
                    bytes += pending.charge;
                    group.push(pending);
                }
                // What came before it is written before it.
                Task::Forget(channel, caller) => {
                    self.publish_group(std::mem::take(&mut group));
                    let _ = caller.send(self.forget(&channel).map_err(PublishError::from));
                }
                Task::Sweep { at_once: false } => {
                    self.sweep.get_or_insert(Sweeping::Begun);
                }
                Task::Sweep { at_once: true } => {
                    self.publish_group(std::mem::take(&mut group));
                    self.sweep = Some(Sweeping::Begun);
                    while self.sweep.is_some() {
                        self.slice();
                    }
                }
            }
            let more = group.len() < GROUP.0 && bytes < GROUP.1;
            next = if more { tasks.try_recv().ok() } else { None };
        }
        self.publish_group(group);
    }

    /// Publishes a group: all of it is kept by one write, or none.
    fn publish_group(&mut self, group: Vec<PendingPublish>) {
        let mut batches = Batches::new();
        let bytes = group.iter().map(|pending| pending.charge).sum();
        if self.registry.over(bytes) > 0 {
            // Channels without readers can be read again.
            let registry = &self.registry;
            registry.map.evict_some(&registry.meter, || registry.over(bytes) > 0);
        }
        for pending in group {
            self.queued.fetch_sub(pending.charge, Relaxed);
            let name = pending.channel.clone();
            match batches.entry(name).or_insert_with_key(|name| self.batch(name)) {
                Ok(batch) => {
                    let share = self.make_room(batch, &pending);
                    batch.add(pending, share, &self.registry);
                }
                Err(error) => pending.refuse((*error).into()),
            }
        }
        let batches: Vec<_> = batches.into_values().flatten().collect();
        let changes: Vec<_> = batches.iter().filter_map(ChannelBatch::change).collect();
        let outcome = self.write(&changes);
        for batch in batches {
            batch.settle(outcome, &self.registry);
        }
    }

    /// Sees to it, as far as is fair, that there is room for the publication; or says whose share
    /// stands in the way, if there is none yet.
    fn make_room(&mut self, batch: &ChannelBatch, pending: &PendingPublish) -> Share {
        let registry = Arc::clone(&self.registry);
        let mut share = Share::Own;
        if registry.map.slots.is_full() && batch.is_new() {
            let batch = (registry.options.max_channels / 64).clamp(1, SWEEP as u64);
            share = registry.take_from_largest(
                &pending.account,
                Capacity::Channels,
                1,
                |account, spare| {
                    let unused = registry.unused_channels(account, batch.min(spare));
                    let freed = self.remove(&unused);
                    (freed, freed > 0)
                },
            );
        }
        // What the group takes so far is charged when it is kept.
        let charge = batch.charge() + pending.charge;
        if registry.over(charge) > 0 {
            share = registry.free_bytes(&pending.account, charge);
        }
        share
    }

    /// Removes channels without readers from the store; gives how many.
    fn remove(&mut self, unused: &[ChannelName]) -> u64 {
        let registry = Arc::clone(&self.registry);
        let joined: Vec<_> =
            unused.iter().map(|name| registry.map.join(name, &registry.meter)).collect();
        // None is read from the store meanwhile; a reader that has come before stays.
        let alone: Vec<_> = joined
            .iter()
            .filter(|channel| channel.readers.load(Acquire) == 1)
            .map(|channel| (channel, channel.hold()))
            .collect();
        let changes: Vec<_> =
            alone.iter().map(|(channel, _)| Change::Remove(channel.name.clone())).collect();
        let written = self.write(&changes);
        let mut freed = 0;
        if let Err(error) = written {
            tracing::warn!(%error, "channels that should make room stay on disk for now");
        } else {
            for (channel, _held) in &alone {
                channel.begin_anew(self.store.floor(), &registry.meter);
                registry.map.slots.free(&channel.name);
                freed += 1;
            }
            registry.meter.evicted(Evicted::Channels, alone.len());
        }
        drop(alone);
        for channel in &joined {
            registry.leave(channel);
        }
        freed
    }

    fn batch(&self, channel: &ChannelName) -> Result<ChannelBatch, StoreError> {
        let (channel, restored) = self.registry.join(channel);
        restored.map(|()| ChannelBatch::new(Arc::clone(&channel))).inspect_err(|_| {
            self.registry.leave(&channel);
        })
    }

    fn forget(&mut self, channel: &ChannelName) -> Result<(), StoreError> {
        let (channel, restored) = self.registry.join(channel);
        let forgotten = restored.and_then(|()| {
            let (persistent, head) = {
                let state = channel.lock();
                (state.persistent, state.head())
            };
            let forgotten = head.last;
            let head = Head { start: forgotten, forgotten, bytes: 0, ended: false, ..head };
            if persistent {
                self.write(&[save(&channel, head)])?;
            }
            channel.forget(&self.registry.meter);
            channel.lock().saved = head;
            Ok(())
        });
        if forgotten == Err(StoreError::Unknown) {
            channel.invalidate();
        }
        self.registry.leave(&channel);
        forgotten
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        if self.full.is_some_and(|since| since.elapsed() < FULL) {
            return Err(StoreError::NoSpace);
        }
        self.ask(changes)
    }

    fn ask(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let written = self.health.watch(|| self.store.write(changes));
        self.full = (written == Err(StoreError::NoSpace)).then(Instant::now);
        written
    }
}

/// How far a sweep has come.
enum Sweeping {
    Begun,
    /// The store is told what channels in memory have dropped.
    Settling(Walk),
    /// Channels that are not in memory are looked at: that many more, and, one at a time, those in
    /// which something is too old.
    Visiting(usize, Vec<ChannelName>),
    Compacting,
}

/// Sweeping: what the options do not cover any more goes from the store, too.
impl Worker {
    /// Does a slice of the sweep that is under way, if one is.
    fn slice(&mut self) {
        let Some(sweep) = self.sweep.take() else { return };
        let gone_on = match sweep {
            Sweeping::Begun => self.probe().map(|()| Some(Sweeping::Settling(Walk::begin()))),
            Sweeping::Settling(walk) => self.settle(walk),
            Sweeping::Visiting(left, old) => self.visit(left, old),
            Sweeping::Compacting => self.store.compact().map(|()| None),
        };
        match gone_on {
            Ok(sweep) => self.sweep = sweep,
            Err(error) => tracing::warn!(%error, "what is too old stays on disk for now"),
        }
    }

    /// Finds out whether the store works again, if it does not: perhaps nothing is published.
    fn probe(&mut self) -> Result<(), StoreError> {
        self.health.check(Instant::now()).or_else(|_| self.ask(&[]))
    }

    /// Tells the store what some channels in memory have dropped since they were written.
    fn settle(&mut self, mut walk: Walk) -> Result<Option<Sweeping>, StoreError> {
        let some = self.registry.map.some(&mut walk, SLICE);
        if some.is_empty() {
            return Ok(Some(Sweeping::Visiting(SWEEP, Vec::new())));
        }
        let mut stale = Vec::new();
        for channel in some {
            // Those of which it was not known what the store has, and those it could not read.
            if !channel.is_whole() {
                self.registry.restore(&channel)?;
            }
            let (state, is_whole) = (channel.lock(), channel.is_whole());
            let head = state.head();
            if is_whole && state.persistent && !state.retired && head != state.saved {
                drop(state);
                stale.push((channel, head));
            }
        }
        let changes: Vec<_> = stale.iter().map(|(channel, head)| save(channel, *head)).collect();
        self.write(&changes)?;
        for (channel, head) in stale {
            channel.lock().saved = head;
        }
        Ok(Some(Sweeping::Settling(walk)))
    }

    /// Looks at some channels that are not in memory: what is too old in them goes, and they go
    /// whole if nothing is left and there are many.
    fn visit(
        &mut self,
        left: usize,
        mut old: Vec<ChannelName>,
    ) -> Result<Option<Sweeping>, StoreError> {
        if let Some(channel) = old.pop() {
            self.drop_old(&channel)?;
            return Ok(Some(Sweeping::Visiting(left, old)));
        }
        if left == 0 {
            return Ok(Some(Sweeping::Compacting));
        }
        let limit = left.min(SLICE);
        let listed = self.store.list(self.swept.as_ref(), limit)?;
        let left = if listed.len() < limit { 0 } else { left - limit };
        self.swept = listed.last().map(|listed| listed.channel.clone());
        let absent = listed.into_iter().filter(|listed| !self.registry.is_at_hand(&listed.channel));
        let mut idle = Vec::new();
        for listed in absent {
            match listed {
                Listed { channel, oldest: None, oldest_key: None, ended }
                    if !self.is_remembered(&channel, ended) =>
                {
                    idle.push(Change::Remove(channel));
                }
                listed if self.is_old(&listed) => old.push(listed.channel),
                _ => {}
            }
        }
        if self.store.channels() > self.registry.options.max_channels / 2 {
            self.write(&idle)?;
            for change in &idle {
                if let Change::Remove(channel) = change {
                    self.registry.map.slots.free(channel);
                }
            }
        }
        Ok(Some(Sweeping::Visiting(left, old)))
    }

    /// Drops what is old in a channel that is not in memory.
    fn drop_old(&mut self, channel: &ChannelName) -> Result<(), StoreError> {
        // Reading it drops what is old.
        let (channel, restored) = self.registry.join(channel);
        let head = channel.lock().head();
        let is_news = head != channel.lock().saved;
        let changes = if is_news { &[save(&channel, head)][..] } else { &[] };
        let written = restored.and_then(|()| self.write(changes));
        if written.is_ok() {
            channel.lock().saved = head;
        }
        self.registry.leave(&channel);
        written
    }

    /// Whether an end of that time is remembered though no entry is left.
    fn is_remembered(&self, channel: &ChannelName, ended: Option<u64>) -> bool {
        let options = &self.registry.options;
        let (clock, kept) = (&options.clock, options.history_of(channel).age);
        let age = |ts| u128::from(clock.now().saturating_sub(ts));
        ended.is_some_and(|ts| age(ts) <= kept.as_millis() && !is_ahead(ts, clock.now()))
    }

    fn is_old(&self, listed: &Listed) -> bool {
        let now = self.registry.options.clock.now();
        let is_older = |ts: Option<u64>, age: Duration| {
            // What has a time of a clock that was ahead may be old as well: reading it tells.
            ts.is_some_and(|ts| {
                u128::from(now.saturating_sub(ts)) > age.as_millis() || is_ahead(ts, now)
            })
        };
        is_older(listed.oldest, self.registry.options.history_of(&listed.channel).age)
            || is_older(listed.oldest_key, IdempotencyKey::REMEMBERED)
    }
}

/// The head alone.
fn save(channel: &Channel, head: Head) -> Change {
    let channel = channel.name.clone();
    Change::Save { channel, head, entries: Vec::new(), keys: Vec::new(), owner: None }
}
