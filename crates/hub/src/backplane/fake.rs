//! An engine in this process, for tests: it keeps channels as JetStream would, and fails on demand.
//!
//! Nothing happens by itself: [`Engine::advance`] lets time pass, [`Node::pump`] lets a hub see what was
//! announced, and [`Node::tick`] lets it ask what it has missed. So every run can be repeated.

mod conditions;
mod ends;
mod held;
mod nodes;
mod reads;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use self::conditions::{Bounds, Faults};
use self::nodes::Mail;
pub use self::reads::ReadCounts;
use self::reads::ReadGuard;
use super::{
    Answer, Arrival, Backplane, ChannelEnd, Feed, NodeId, NodeLink, NodeSink, Outgoing, Records,
    Reply, Sink, Stored, What,
};
use crate::store::StoreError;
use crate::{ChannelName, Epoch, IdempotencyKey, PublishError};

/// The engine. Clones are the same.
#[derive(Clone)]
pub struct Engine(Arc<Mutex<EngineState>>);

struct EngineState {
    bounds: Bounds,
    faults: Faults,
    now: u64,
    random: u64,
    shards: Vec<Shard>,
    /// What was announced to each node and not delivered yet.
    inboxes: Vec<VecDeque<(u16, Arrival)>>,
    reads: ReadCounts,
    /// Whether reads are answered, by each shard.
    answers: watch::Sender<Vec<bool>>,
    mail: Mail,
}

struct Shard {
    epoch: Epoch,
    /// Everything that was ever stored: what is held is computed of it.
    all: Vec<Arrival>,
    ids: HashMap<Arc<str>, u64>,
    /// `None` while there is a leader; else what waits for one.
    waiting: Option<Vec<Waiting>>,
    clock: u64,
}

enum Waiting {
    Publication(Outgoing),
    Deletion(ChannelName, Reply),
    End(ChannelName, Reply),
}

/// One hub's link to the engine.
pub struct Node {
    engine: Engine,
    max_held: u64,
    number: usize,
    sink: OnceLock<Arc<dyn Sink>>,
    node_sink: OnceLock<Arc<dyn NodeSink>>,
    feeds: Mutex<Vec<(Epoch, Feed)>>,
    /// Up to where each shard was passed over last.
    skipped: Mutex<HashMap<u16, u64>>,
}

impl EngineState {
    /// A number below that, at random.
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit.max(1)
    }

    fn is_hit(&mut self, percent: u8) -> bool {
        percent > 0 && self.below(100) < u64::from(percent)
    }

    /// Up to where the copy that is asked next has the shard; `None` if it does not answer.
    fn copy(&mut self, shard: u16) -> Option<u64> {
        let last = self.shards[usize::from(shard)].last();
        if self.is_hit(self.faults.silent) {
            return None;
        }
        let behind = if self.is_hit(self.faults.stale) { self.below(11) } else { 0 };
        Some(last.saturating_sub(behind))
    }

    fn store(&mut self, shard: u16, what: What) -> u64 {
        // No two messages have the same time, so one at the place of another is seen.
        self.now += 1;
        let at = &mut self.shards[usize::from(shard)];
        let arrival = Arrival { offset: at.last() + 1, ts: self.now, what };
        let offset = arrival.offset;
        at.all.push(arrival.clone());
        for inbox in &mut self.inboxes {
            inbox.push_back((shard, arrival.clone()));
        }
        offset
    }

    fn publish(&mut self, outgoing: Outgoing) {
        let Outgoing { channel, shard, payload, event, id, reply, is_behind_end, .. } = outgoing;
        let known = id.as_ref().and_then(|id| self.shards[usize::from(shard)].ids.get(id).copied());
        if known.is_none() && is_behind_end {
            return reply.refused(PublishError::Ended);
        }
        let offset = known.unwrap_or_else(|| {
            let what = What::Message { channel, payload, event, id: id.clone() };
            let offset = self.store(shard, what);
            if let Some(id) = id {
                self.shards[usize::from(shard)].ids.insert(id, offset);
            }
            offset
        });
        reply.taken(offset);
    }

    fn take(&mut self, shard: u16, waiting: Waiting) {
        if let Some(queue) = &mut self.shards[usize::from(shard)].waiting {
            return queue.push(waiting);
        }
        match waiting {
            Waiting::Publication(outgoing) => self.publish(outgoing),
            Waiting::Deletion(channel, reply) => self.forget(shard, channel, reply),
            Waiting::End(channel, reply) => self.end(shard, channel, reply),
        }
    }
}

impl Engine {
    /// An empty engine; the same `seed` makes the same faults.
    pub fn new(bounds: Bounds, seed: u64) -> Self {
        let now = 1_000_000;
        let shard = |number: u16| Shard {
            epoch: epoch_of(u64::from(number), 0),
            all: Vec::new(),
            ids: HashMap::new(),
            waiting: None,
            clock: now,
        };
        let mut state = EngineState {
            bounds,
            faults: Faults::default(),
            now,
            random: seed | 1,
            shards: (0..bounds.shards).map(shard).collect(),
            inboxes: Vec::new(),
            reads: ReadCounts::default(),
            answers: watch::Sender::new(vec![true; usize::from(bounds.shards)]),
            mail: Mail::default(),
        };
        for shard in 0..bounds.shards {
            state.store(shard, What::Clock);
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// A link to it, for one hub.
    pub fn node(&self) -> Arc<Node> {
        self.node_that_holds(u64::MAX)
    }

    /// The same, with feeds that hold back that many bytes.
    pub fn node_that_holds(&self, max_bytes: u64) -> Arc<Node> {
        let mut state = self.lock();
        state.inboxes.push(VecDeque::new());
        let number = state.inboxes.len() - 1;
        Arc::new(Node {
            engine: self.clone(),
            max_held: max_bytes,
            number,
            sink: OnceLock::new(),
            node_sink: OnceLock::new(),
            feeds: Mutex::default(),
            skipped: Mutex::default(),
        })
    }

    /// From now on these go wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The time, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.lock().now
    }

    /// Lets that many milliseconds pass.
    pub fn advance(&self, millis: u64) {
        let mut state = self.lock();
        state.now += millis;
        for shard in 0..state.bounds.shards {
            let due = state.shards[usize::from(shard)].clock + state.bounds.tick;
            if state.now >= due {
                state.shards[usize::from(shard)].clock = state.now;
                state.store(shard, What::Clock);
            }
        }
    }

    /// A shard has no leader from now on: what is published waits.
    pub fn stop_leader(&self, shard: u16) {
        self.lock().shards[usize::from(shard)].waiting.get_or_insert_default();
    }

    /// A shard has a leader again, which takes what waited.
    pub fn elect_leader(&self, shard: u16) {
        let mut state = self.lock();
        for waiting in state.shards[usize::from(shard)].waiting.take().into_iter().flatten() {
            state.take(shard, waiting);
        }
    }

    /// The keys of publications are forgotten, as when the servers start anew.
    pub fn forget_keys(&self) {
        self.lock().shards.iter_mut().for_each(|shard| shard.ids.clear());
    }

    /// A shard is put back to older files: its newest messages, so many, are gone, and their offsets are
    /// given again.
    pub fn lose_tail(&self, shard: u16, count: usize) {
        let mut state = self.lock();
        let at = &mut state.shards[usize::from(shard)];
        at.all.truncate(at.all.len().saturating_sub(count));
        let last = at.last();
        at.ids.retain(|_, offset| *offset <= last);
    }

    /// Whether reads of channels are answered from now on, or wait until they are.
    pub fn answer_reads(&self, answers: bool) {
        self.lock().answers.send_modify(|shards| shards.fill(answers));
    }

    /// The same for the channels of one shard.
    pub fn answer_reads_of(&self, shard: u16, answers: bool) {
        self.lock().answers.send_modify(|shards| shards[usize::from(shard)] = answers);
    }

    /// How many reads of channels there are and were.
    pub fn reads(&self) -> ReadCounts {
        self.lock().reads
    }

    /// A message is announced that is not stored, as many places behind the newest.
    pub fn forge(&self, shard: u16, ahead: u64) {
        let mut state = self.lock();
        let offset = state.shards[usize::from(shard)].last() + ahead;
        let arrival = Arrival { offset, ts: state.now, what: What::Other };
        for inbox in &mut state.inboxes {
            inbox.push_back((shard, arrival.clone()));
        }
    }

    /// Everything that was ever published on the channel and not lost, with its offset and time, also its
    /// ends and what is void behind them.
    pub fn published(&self, channel: &ChannelName) -> Vec<Arrival> {
        let state = self.lock();
        let shard = usize::from(shard_of(channel, state.bounds.shards));
        let is_of = |arrival: &&Arrival| arrival.what.channel() == Some(channel);
        state.shards[shard].all.iter().filter(is_of).cloned().collect()
    }

    fn ends(&self, shard: u16) -> Vec<ChannelEnd> {
        let state = self.lock();
        state.shards[usize::from(shard)].ends(state.bounds, state.now)
    }

    fn lock(&self) -> MutexGuard<'_, EngineState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Delivers what was announced, and fetches what is missing of it.
    pub fn pump(&self) {
        for (shard, arrival) in self.announced() {
            let mut feeds = self.feeds();
            feeds[usize::from(shard)].1.live(arrival);
        }
        (0..self.shards()).for_each(|shard| self.fill(shard));
    }

    /// Asks each leader how far it is, and sees to it that the hub is as far. Gives up what was lost by
    /// the engine: then a new epoch begins.
    pub fn tick(&self) {
        for shard in 0..self.shards() {
            self.check(shard);
            let (last, now) = {
                let state = self.engine.lock();
                (state.shards[usize::from(shard)].last(), state.now)
            };
            let feed = &mut self.feeds()[usize::from(shard)].1;
            if last > feed.verified() {
                feed.expect(last);
            } else {
                feed.mark_complete(now);
                feed.disbelieve(feed.expected());
            }
        }
        self.pump();
    }

    /// What the feed of the shard holds back, in bytes.
    pub fn held(&self, shard: u16) -> u64 {
        self.feeds()[usize::from(shard)].1.bytes()
    }

    /// Up to where the hub has the shard.
    pub fn verified(&self, shard: u16) -> u64 {
        self.feeds()[usize::from(shard)].1.verified()
    }

    /// Up to where the shard was passed over last, for too much of it was missing; 0 if it never was.
    pub fn skipped(&self, shard: u16) -> u64 {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.get(&shard).copied().unwrap_or(0)
    }

    /// What was announced, as it comes.
    fn announced(&self) -> Vec<(u16, Arrival)> {
        let mut state = self.engine.lock();
        let faults = state.faults;
        let mut announced = Vec::new();
        while let Some(next) = state.inboxes[self.number].pop_front() {
            if state.is_hit(faults.lost) {
                continue;
            }
            if state.is_hit(faults.repeated) {
                announced.push(next.clone());
            }
            announced.push(next);
            let count = announced.len();
            if count > 1 && state.is_hit(faults.swapped) {
                announced.swap(count - 2, count - 1);
            }
        }
        announced
    }

    /// Fetches what is missing, as long as that helps, and tells the hub.
    fn fill(&self, shard: u16) {
        loop {
            let wanted = {
                let (now, oldest, last) = {
                    let state = self.engine.lock();
                    let last = state.shards[usize::from(shard)].last();
                    (state.now, state.now.saturating_sub(state.bounds.age), last)
                };
                let mut feeds = self.feeds();
                let feed = &mut feeds[usize::from(shard)].1;
                let has_lost = feed.may_have_lost(oldest) || feed.is_too_far_behind();
                if let Some(sink) = self.sink.get().filter(|_| has_lost) {
                    feed.restart(last, now);
                    self.skipped.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, last);
                    let ends = self.engine.ends(shard);
                    return sink.skipped(shard, last, ends);
                }
                if let (Some((arrivals, upto)), Some(sink)) = (feed.take(), self.sink.get()) {
                    sink.arrived(shard, arrivals, upto);
                }
                feed.fill()
            };
            let Some(from) = wanted else { return };
            let fetched = {
                let mut state = self.engine.lock();
                let copy = state.copy(shard);
                let (bounds, now) = (state.bounds, state.now);
                let at = &state.shards[usize::from(shard)];
                copy.map(|upto| {
                    let (arrivals, is_complete) = at.from(from, 5, upto, bounds, now);
                    (arrivals, (!is_complete).then(|| at.last()))
                })
            };
            let Some((arrivals, rest)) = fetched else { return };
            let is_vain = arrivals.is_empty();
            self.feeds()[usize::from(shard)].1.filled(arrivals, rest);
            if is_vain {
                return;
            }
        }
    }

    /// Begins a new epoch where the engine has lost what was given here.
    fn check(&self, shard: u16) {
        let mut feeds = self.feeds();
        let (known, feed) = &mut feeds[usize::from(shard)];
        let (epoch, last, now) = {
            let mut state = self.engine.lock();
            let now = state.now;
            let at = &mut state.shards[usize::from(shard)];
            let here = at.all.iter().find(|arrival| arrival.offset == feed.verified());
            let is_another =
                here.is_some_and(|here| feed.is_suspect() && here.ts != feed.verified_ts());
            if at.epoch == *known && (is_another || at.last() < feed.verified()) {
                at.epoch = epoch_of(u64::from(shard), at.last() + 1);
            }
            (at.epoch, at.last(), now)
        };
        feed.clear_suspicion();
        if epoch != *known {
            *known = epoch;
            feed.restart(last, now);
            if let Some(sink) = self.sink.get() {
                sink.begin(shard, epoch, last, self.engine.ends(shard));
            }
        }
    }

    fn feeds(&self) -> MutexGuard<'_, Vec<(Epoch, Feed)>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backplane for Node {
    fn shards(&self) -> u16 {
        self.engine.lock().bounds.shards
    }

    fn shard(&self, channel: &ChannelName) -> u16 {
        shard_of(channel, self.shards())
    }

    fn attach(&self, sink: Arc<dyn Sink>) {
        let (now, begun) = {
            let state = self.engine.lock();
            let begun = state.shards.iter().map(|shard| (shard.epoch, shard.last()));
            (state.now, begun.collect::<Vec<_>>())
        };
        for (shard, (epoch, last)) in (0..).zip(&begun) {
            sink.begin(shard, *epoch, *last, self.engine.ends(shard));
        }
        *self.feeds() = begun
            .into_iter()
            .map(|(epoch, last)| (epoch, Feed::new(last, now, self.max_held)))
            .collect();
        // Called once.
        let _ = self.sink.set(sink);
    }

    fn message_id(&self, channel: &ChannelName, key: &IdempotencyKey) -> String {
        format!("{channel}\n{}", key.as_text())
    }

    fn publish(&self, outgoing: Outgoing) {
        let shard = outgoing.shard;
        self.engine.lock().take(shard, Waiting::Publication(outgoing));
    }

    fn forget(&self, channel: ChannelName, reply: Reply) {
        let shard = self.shard(&channel);
        self.engine.lock().take(shard, Waiting::Deletion(channel, reply));
    }

    fn end(&self, channel: ChannelName, reply: Reply) {
        let shard = self.shard(&channel);
        self.engine.lock().take(shard, Waiting::End(channel, reply));
    }

    fn slack(&self) -> Duration {
        self.engine.lock().bounds.slack()
    }

    fn read(&self, channel: ChannelName) -> Answer<Stored> {
        let shard = self.shard(&channel);
        let engine = self.engine.clone();
        Box::pin(async move {
            let _reading = ReadGuard::begin(&engine);
            let mut answers = engine.lock().answers.subscribe();
            let _ = answers.wait_for(|shards| shards[usize::from(shard)]).await;
            let mut state = engine.lock();
            let (bounds, now) = (state.bounds, state.now);
            // The one that is read and the one that is asked afterwards.
            let (read, asked) = (state.copy(shard), state.copy(shard));
            let (read, asked) = read.zip(asked).ok_or(StoreError::Unavailable)?;
            let at = &state.shards[usize::from(shard)];
            let newest = |upto| at.held(&channel, upto, bounds, now).last().map(|last| last.offset);
            Ok(Stored {
                messages: at.held(&channel, read, bounds, now),
                head: newest(asked).unwrap_or(0),
                upto: asked,
                clock: at.clocks(asked, bounds, now).next().map(|clock| clock.offset),
                end: at.end_of(&channel, asked, bounds, now).cloned(),
            })
        })
    }

    fn reads(&self) -> usize {
        32 / usize::from(self.shards())
    }

    fn last(&self, shard: u16) -> Answer<u64> {
        let last = self.engine.lock().shards[usize::from(shard)].last();
        Box::pin(async move { Ok(last) })
    }

    fn link(&self, node: NodeId, sink: Arc<dyn NodeSink>) -> Option<Arc<dyn NodeLink>> {
        Some(self.join(node, sink))
    }

    fn records(&self) -> Option<Arc<dyn Records>> {
        Some(self.shared_records())
    }

    fn health(&self) -> Result<(), StoreError> {
        let state = self.engine.lock();
        match state.shards.iter().any(|shard| shard.waiting.is_some()) {
            true => Err(StoreError::Unavailable),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("number", &self.number).finish_non_exhaustive()
    }
}

fn shard_of(channel: &ChannelName, shards: u16) -> u16 {
    let sum: u32 = channel.as_str().bytes().map(u32::from).sum();
    (sum % u32::from(shards)) as u16
}

/// An epoch of its own for each shard and each loss.
fn epoch_of(shard: u64, loss: u64) -> Epoch {
    Epoch::of_number(1_000_000 * (shard + 1) + loss)
}
