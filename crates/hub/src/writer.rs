//! The writer: a thread that hands publications to the store, many at a time, in the order in which
//! they came.
//!
//! While one group is being written and synced the next one gathers, so the more is published the
//! more share a sync. A message gets its position here, and readers get it once it is kept: nobody
//! has seen what a crash can take back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::accounts::{Account, Room};
use crate::channel::Channel;
use crate::draft::{Draft, Submission};
use crate::figures::Evicted;
use crate::health::Health;
use crate::log::is_ahead;
use crate::pressure::Share;
use crate::publishing::{Outcome, Writing};
use crate::shards::Walk;
use crate::shared::Shared;
use crate::store::{Change, Head, Listed, Store, StoreError};
use crate::{ChannelName, IdempotencyKey, Publication, PublishError, Publishing};

/// What may wait to be written, in bytes as they are charged. More is refused: the disk does not
/// keep up.
const QUEUE: u64 = 64 << 20;
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
    Publish(Submission),
    Forget(ChannelName, oneshot::Sender<Outcome<()>>),
    /// To be done at once, or in slices between publications.
    Sweep {
        at_once: bool,
    },
}

impl Writer {
    pub(crate) fn start(shared: Arc<Shared>, store: Arc<dyn Store>) -> std::io::Result<Self> {
        let (queue, tasks) = channel();
        let queued = Arc::new(AtomicU64::new(0));
        let health = Arc::new(Health::new());
        let worker = Worker {
            shared,
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

    pub(crate) fn publish(
        &self,
        channel: &ChannelName,
        publication: Publication<'_>,
        account: Arc<Account>,
    ) -> Publishing {
        if self.queued.load(Relaxed) >= QUEUE {
            return Writing::done(Err(PublishError::Busy));
        }
        let (submission, outcome) = Submission::new(channel, publication, account);
        self.queued.fetch_add(submission.charge, Relaxed);
        self.send(Task::Publish(submission));
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
            // If the thread is gone, the task is dropped and whoever waits for it learns that.
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
    shared: Arc<Shared>,
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

/// The drafts of a group, or why a channel can not have one.
type Drafts = HashMap<ChannelName, Result<Draft, StoreError>>;

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
                Task::Publish(submission) => {
                    bytes += submission.charge;
                    group.push(submission);
                }
                // What came before it is written before it.
                Task::Forget(channel, caller) => {
                    self.publish(std::mem::take(&mut group));
                    let _ = caller.send(self.forget(&channel).map_err(PublishError::from));
                }
                Task::Sweep { at_once: false } => {
                    self.sweep.get_or_insert(Sweeping::Begun);
                }
                Task::Sweep { at_once: true } => {
                    self.publish(std::mem::take(&mut group));
                    self.sweep = Some(Sweeping::Begun);
                    while self.sweep.is_some() {
                        self.slice();
                    }
                }
            }
            let more = group.len() < GROUP.0 && bytes < GROUP.1;
            next = if more { tasks.try_recv().ok() } else { None };
        }
        self.publish(group);
    }

    /// Publishes a group: all of it is kept by one write, or none.
    fn publish(&mut self, group: Vec<Submission>) {
        let mut drafts = Drafts::new();
        let bytes = group.iter().map(|submission| submission.charge).sum();
        if self.shared.over(bytes) > 0 {
            // What nobody reads can be read again.
            let shared = &self.shared;
            shared.shards.evict_some(&shared.meter, || shared.over(bytes) > 0);
        }
        for submission in group {
            self.queued.fetch_sub(submission.charge, Relaxed);
            let name = submission.channel.clone();
            match drafts.entry(name).or_insert_with_key(|name| self.draft(name)) {
                Ok(draft) => {
                    let share = self.make_room(draft, &submission);
                    draft.add(submission, share, &self.shared);
                }
                Err(error) => submission.refuse((*error).into()),
            }
        }
        let drafts: Vec<_> = drafts.into_values().flatten().collect();
        let changes: Vec<_> = drafts.iter().filter_map(Draft::change).collect();
        let outcome = self.write(&changes);
        for draft in drafts {
            draft.settle(outcome, &self.shared);
        }
    }

    /// Sees to it, as far as is fair, that there is room for the submission; or says whose share
    /// stands in the way, if there is none yet.
    fn make_room(&mut self, draft: &Draft, submission: &Submission) -> Share {
        let shared = Arc::clone(&self.shared);
        let mut share = Share::Own;
        if shared.shards.slots.is_full() && draft.is_new() {
            let batch = (shared.options.max_channels / 64).clamp(1, SWEEP as u64);
            share = shared.take_from_largest(
                &submission.account,
                Room::Channels,
                1,
                |account, spare| {
                    let unused = shared.unused_channels(account, batch.min(spare));
                    let freed = self.remove(&unused);
                    (freed, freed > 0)
                },
            );
        }
        // What the group takes so far is charged when it is kept.
        let charge = draft.charge() + submission.charge;
        if shared.over(charge) > 0 {
            share = shared.free_bytes(&submission.account, charge);
        }
        share
    }

    /// Removes channels without readers from the store; gives how many.
    fn remove(&mut self, unused: &[ChannelName]) -> u64 {
        let shared = Arc::clone(&self.shared);
        let joined: Vec<_> =
            unused.iter().map(|name| shared.shards.join(name, &shared.meter)).collect();
        // Nobody reads them from the store meanwhile; who has come before stays.
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
                channel.begin_anew(self.store.floor(), &shared.meter);
                shared.shards.slots.free(&channel.name);
                freed += 1;
            }
            shared.meter.evicted(Evicted::Channels, alone.len());
        }
        drop(alone);
        for channel in &joined {
            shared.leave(channel);
        }
        freed
    }

    fn draft(&self, channel: &ChannelName) -> Result<Draft, StoreError> {
        let (channel, restored) = self.shared.join(channel);
        restored.map(|()| Draft::new(Arc::clone(&channel))).inspect_err(|_| {
            self.shared.leave(&channel);
        })
    }

    fn forget(&mut self, channel: &ChannelName) -> Result<(), StoreError> {
        let (channel, restored) = self.shared.join(channel);
        let forgotten = restored.and_then(|()| {
            let (lasting, head) = {
                let state = channel.lock();
                (state.lasting, state.head())
            };
            let head = Head { start: head.last, forgotten: head.last, bytes: 0, ..head };
            if lasting {
                self.write(&[save(&channel, head)])?;
            }
            channel.forget(&self.shared.meter);
            channel.lock().saved = head;
            Ok(())
        });
        if forgotten == Err(StoreError::Unknown) {
            channel.doubt();
        }
        self.shared.leave(&channel);
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
    /// Channels that are not in memory are looked at: so many more, and, one at a time, those in
    /// which something is too old.
    Visiting(usize, Vec<ChannelName>),
    Tidying,
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
            Sweeping::Tidying => self.store.tidy().map(|()| None),
        };
        match gone_on {
            Ok(sweep) => self.sweep = sweep,
            Err(error) => tracing::warn!(%error, "what is too old stays on disk for now"),
        }
    }

    /// Finds out whether the store works again, if it does not: nobody may be publishing.
    fn probe(&mut self) -> Result<(), StoreError> {
        self.health.check(Instant::now()).or_else(|_| self.ask(&[]))
    }

    /// Tells the store what some channels in memory have dropped since they were written.
    fn settle(&mut self, mut walk: Walk) -> Result<Option<Sweeping>, StoreError> {
        let some = self.shared.shards.some(&mut walk, SLICE);
        if some.is_empty() {
            return Ok(Some(Sweeping::Visiting(SWEEP, Vec::new())));
        }
        let mut stale = Vec::new();
        for channel in some {
            // Those of which it was not known what the store has, and those it could not read.
            if !channel.is_ready() {
                self.shared.restore(&channel)?;
            }
            let (state, is_ready) = (channel.lock(), channel.is_ready());
            let head = state.head();
            if is_ready && state.lasting && !state.retired && head != state.saved {
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
            return Ok(Some(Sweeping::Tidying));
        }
        let limit = left.min(SLICE);
        let listed = self.store.list(self.swept.as_ref(), limit)?;
        let left = if listed.len() < limit { 0 } else { left - limit };
        self.swept = listed.last().map(|listed| listed.channel.clone());
        let absent = listed.into_iter().filter(|listed| !self.shared.is_at_hand(&listed.channel));
        let mut idle = Vec::new();
        for listed in absent {
            match listed {
                Listed { channel, oldest: None, oldest_key: None } => {
                    idle.push(Change::Remove(channel));
                }
                listed if self.is_old(&listed) => old.push(listed.channel),
                _ => {}
            }
        }
        if self.store.channels() > self.shared.options.max_channels / 2 {
            self.write(&idle)?;
            for change in &idle {
                if let Change::Remove(channel) = change {
                    self.shared.shards.slots.free(channel);
                }
            }
        }
        Ok(Some(Sweeping::Visiting(left, old)))
    }

    /// Drops what is old in a channel that is not in memory.
    fn drop_old(&mut self, channel: &ChannelName) -> Result<(), StoreError> {
        // Reading it drops what is old.
        let (channel, restored) = self.shared.join(channel);
        let head = channel.lock().head();
        let is_news = head != channel.lock().saved;
        let changes = if is_news { &[save(&channel, head)][..] } else { &[] };
        let written = restored.and_then(|()| self.write(changes));
        if written.is_ok() {
            channel.lock().saved = head;
        }
        self.shared.leave(&channel);
        written
    }

    fn is_old(&self, listed: &Listed) -> bool {
        let now = self.shared.options.clock.now();
        let is_older = |ts: Option<u64>, age: Duration| {
            // What has a time of a clock that was ahead may be old as well: reading it tells.
            ts.is_some_and(|ts| {
                u128::from(now.saturating_sub(ts)) > age.as_millis() || is_ahead(ts, now)
            })
        };
        is_older(listed.oldest, self.shared.options.history_age)
            || is_older(listed.oldest_key, IdempotencyKey::REMEMBERED)
    }
}

/// The head alone.
fn save(channel: &Channel, head: Head) -> Change {
    let channel = channel.name.clone();
    Change::Save { channel, head, entries: Vec::new(), keys: Vec::new(), owner: None }
}
