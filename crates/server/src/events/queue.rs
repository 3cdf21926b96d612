//! What waits to be taken, within bounds. Adding to it never waits.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sockeye_hub::backplane::NodeId;
use sockeye_hub::{ChannelName, Clock, Member, Observer};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Event, EventBatch, EventId, EventKind};
use crate::channel_rule::ChannelRules;

/// For how long a channel is without readers until it is vacated: a page that is loaded again, or a client that comes
/// back after it was cut off, changes nothing.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How many events wait at most; beyond that the oldest are dropped.
pub(super) const MAX_EVENTS: usize = 65_536;
/// How many bytes they are charged at most.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// What an event is charged beside its channel and its member.
const OVERHEAD: usize = 128;
/// How many events a batch has at most.
pub(super) const MAX_BATCH: usize = 500;
/// How many channels without readers are not vacated yet, at most; beyond that the first of them is at once.
pub(super) const MAX_LEAVING: usize = 65_536;

/// What waits. The hub tells it of everything, as an [`Observer`].
#[derive(Debug)]
pub(super) struct EventQueue {
    /// The life of this server.
    run: u64,
    rules: Arc<ChannelRules>,
    clock: Clock,
    /// Which server of a cluster this is.
    node: Option<NodeId>,
    state: Mutex<State>,
    /// Told when there is something more to take.
    grown: Notify,
    /// Told when there is nothing any more.
    pub(super) emptied: Notify,
    sent: AtomicU64,
    pub(super) retried: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    /// What they are charged.
    bytes: usize,
    /// The number of the last event.
    number: u64,
    /// How many events were dropped since the last batch.
    lost: u64,
    /// What is being offered. It is not dropped, however long that takes.
    offered: Option<Arc<EventBatch>>,
    /// The channels whose last reader has left, and that are not vacated yet: when that was.
    leaving: HashMap<ChannelName, Leaving>,
    /// The same in the order in which they left, and some that were occupied again meanwhile.
    order: VecDeque<(ChannelName, Leaving)>,
    /// Whether the server ends: nothing is added any more.
    is_closed: bool,
}

/// When the last reader of a channel left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaving {
    at: u64,
    until: Instant,
}

/// What the queue counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventFigures {
    /// Events that were taken.
    pub(crate) sent: u64,
    /// Batches that were offered again.
    pub(crate) retried: u64,
    /// Events that were dropped.
    pub(crate) dropped: u64,
    /// Events that wait.
    pub(crate) queued: u64,
    /// What those are charged that are not being offered, in bytes.
    pub(crate) queued_bytes: u64,
    /// Channels without readers that are not vacated yet.
    pub(crate) vacating: u64,
}

impl EventQueue {
    /// A queue whose first event is that the server has started.
    pub(super) fn new(rules: Arc<ChannelRules>, clock: Clock, node: Option<NodeId>) -> Self {
        let queue = Self {
            // The standard hasher is keyed by the operating system's random source, which is enough for a number that
            // must differ and need not be secret.
            run: RandomState::new().hash_one(SystemTime::now()),
            rules,
            clock,
            node,
            state: Mutex::default(),
            grown: Notify::new(),
            emptied: Notify::new(),
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        queue.add(|_, now| Some((now, EventKind::ServerStarted)));
        queue
    }

    /// What is to be offered next, as soon as there is something. Until it is [taken](Self::taken) or
    /// [refused](Self::refused) it is the same.
    pub(super) async fn next(&self) -> Arc<EventBatch> {
        loop {
            // It counts from here on, so what is added between the look and the wait wakes it.
            let grown = self.grown.notified();
            let due = {
                let mut state = self.lock();
                self.vacate(&mut state, false);
                if let Some(batch) = state.batch(self.node) {
                    return batch;
                }
                state.order.front().map(|(_, leaving)| leaving.until)
            };
            match due {
                Some(due) => tokio::select! {
                    () = grown => {}
                    () = sleep_until(due) => {}
                },
                None => grown.await,
            }
        }
    }

    /// What is offered was taken.
    pub(super) fn taken(&self) {
        let mut state = self.lock();
        if let Some(batch) = state.offered.take() {
            self.sent.fetch_add(batch.events.len() as u64, Relaxed);
        }
        self.tell_if_empty(&state);
    }

    /// What is offered is never taken: the next batch says how many are missing.
    pub(super) fn refused(&self) {
        let mut state = self.lock();
        if let Some(batch) = state.offered.take() {
            self.dropped.fetch_add(batch.events.len() as u64, Relaxed);
            state.lost += batch.lost + batch.events.len() as u64;
        }
        self.tell_if_empty(&state);
    }

    /// The server ends: channels without readers are vacated, and nothing more happens.
    pub(super) fn close(&self) {
        {
            let mut state = self.lock();
            if state.is_closed {
                return;
            }
            self.vacate(&mut state, true);
            self.push(&mut state, self.clock.now(), EventKind::ServerStopped);
            state.is_closed = true;
        }
        self.grown.notify_waiters();
    }

    /// How many events wait, those that are being offered among them.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn figures(&self) -> EventFigures {
        let state = self.lock();
        EventFigures {
            sent: self.sent.load(Relaxed),
            retried: self.retried.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            queued: state.len() as u64,
            queued_bytes: state.bytes as u64,
            vacating: state.leaving.len() as u64,
        }
    }

    /// Adds what this says, behind the channels whose time to be vacated has come.
    fn add(&self, what: impl FnOnce(&mut State, u64) -> Option<(u64, EventKind)>) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        self.vacate(&mut state, false);
        if let Some((at, kind)) = what(&mut state, self.clock.now()) {
            self.push(&mut state, at, kind);
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// Vacates the channels whose time is over, or all.
    fn vacate(&self, state: &mut State, all: bool) {
        let now = Instant::now();
        while let Some((_, leaving)) = state.order.front()
            && (all || leaving.until <= now || state.leaving.len() > MAX_LEAVING)
        {
            let Some((channel, left)) = state.order.pop_front() else { return };
            if state.leaving.get(&channel) == Some(&left) {
                state.leaving.remove(&channel);
                self.push(state, left.at, EventKind::ChannelVacated { channel });
            }
        }
        // Shrink the map after many removals.
        if state.leaving.capacity() > 64 + 4 * state.leaving.len() {
            state.leaving.shrink_to_fit();
        }
    }

    fn push(&self, state: &mut State, at: u64, kind: EventKind) {
        state.number += 1;
        let id = EventId { run: self.run, number: state.number };
        state.bytes += charge(&kind);
        state.events.push_back(Event { id, at, kind });
        while (state.events.len() > MAX_EVENTS || state.bytes > MAX_BYTES)
            && let Some(dropped) = state.events.pop_front()
        {
            state.bytes -= charge(&dropped.kind);
            state.lost += 1;
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn tell_if_empty(&self, state: &State) {
        if state.len() == 0 {
            self.emptied.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn len(&self) -> usize {
        self.events.len() + self.offered.as_ref().map_or(0, |batch| batch.events.len())
    }

    /// What is offered, or else what is to be offered next.
    fn batch(&mut self, node: Option<NodeId>) -> Option<Arc<EventBatch>> {
        if self.offered.is_none() && !self.events.is_empty() {
            let count = self.events.len().min(MAX_BATCH);
            let events: Vec<_> = self.events.drain(..count).collect();
            self.bytes -= events.iter().map(|event| charge(&event.kind)).sum::<usize>();
            // An outage leaves no room behind.
            if self.events.capacity() > 64 + 4 * self.events.len() {
                self.events.shrink_to_fit();
            }
            let lost = mem::take(&mut self.lost);
            self.offered = Some(Arc::new(EventBatch { events, lost, node }));
        }
        self.offered.clone()
    }

    /// Remembers that the last reader of a channel has left.
    fn leave(&mut self, channel: &ChannelName, at: u64) {
        let leaving = Leaving { at, until: Instant::now() + GRACE };
        self.leaving.insert(channel.clone(), leaving);
        self.order.push_back((channel.clone(), leaving));
        if self.order.len() > 64 + 2 * self.leaving.len() {
            // Channels that come and go all the time take no more room than others.
            let Self { leaving, order, .. } = self;
            order.retain(|(channel, left)| leaving.get(channel) == Some(left));
        }
    }
}

/// What an event takes in memory.
fn charge(kind: &EventKind) -> usize {
    let channel = kind.channel().map_or(0, |channel| channel.as_str().len());
    OVERHEAD + channel + kind.member().map_or(0, str::len)
}

impl Observer for EventQueue {
    fn occupied(&self, channel: &ChannelName, at: u64) {
        if !self.rules.has_events(channel) {
            return;
        }
        self.add(|state, _| match state.leaving.remove(channel) {
            Some(_) => None,
            None => Some((at, EventKind::ChannelOccupied { channel: channel.clone() })),
        });
    }

    fn vacated(&self, channel: &ChannelName, at: u64) {
        if !self.rules.has_events(channel) {
            return;
        }
        self.add(|state, _| {
            state.leave(channel, at);
            None
        });
    }

    fn joined(&self, channel: &ChannelName, member: &Member, at: u64) {
        if self.rules.has_events(channel) {
            let (channel, member) = (channel.clone(), Arc::clone(&member.id));
            self.add(|_, _| Some((at, EventKind::MemberJoined { channel, member })));
        }
    }

    fn left(&self, channel: &ChannelName, member: &Member, at: u64) {
        if self.rules.has_events(channel) {
            let (channel, member) = (channel.clone(), Arc::clone(&member.id));
            self.add(|_, _| Some((at, EventKind::MemberLeft { channel, member })));
        }
    }

    fn node_found(&self, node: NodeId) {
        self.add(|_, now| Some((now, EventKind::NodeFound { node })));
    }

    fn node_lost(&self, node: NodeId) {
        self.add(|_, now| Some((now, EventKind::NodeLost { node })));
    }
}
