//! The register of connections: what reads channels now, by which transport, and how far behind.
//!
//! Each transport that holds a connection keeps a [`ConnectionRecord`] from before its response until
//! it ends, and for each channel that it reads a [`ChannelRead`], which it tells of every page that it
//! has handed to the connection. That is counted in the metrics, and shown by `/connections`; the end
//! of a connection that was more than a request is logged.
//!
//! Operators end connections here: what serves one waits for [`Disconnected`]. They see here what passes on one,
//! too: [`tapped`].

mod by_number;
mod deliveries;
mod place;
mod tapped;

pub(crate) use self::deliveries::Deliveries;
pub(crate) use self::place::{Left, Place};
pub(crate) use self::tapped::{NotTapped, PublishedBy, Tapping};

use self::by_number::{ByNumber, Numbered};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use sockeye_hub::{ChannelName, Hub, Page, Position, Reader, Start};
use tokio::task::yield_now;

use crate::limits::peer::Peer;
use crate::log::{Class, limited, shown};
use crate::metrics::{End, Metrics, now};
use crate::tap::Taps;
use crate::transport::Transport;

/// The size of a list of connections, in bytes, after which it ends.
pub(crate) const MAX_JSON: usize = 256 << 10;

/// How many records are taken from the register at once: every connection that begins or ends waits for its
/// lock.
const SLICE: usize = 1024;

/// All records of one server.
#[derive(Debug)]
pub(crate) struct ConnectionRegister {
    metrics: Arc<Metrics>,
    /// By their numbers, so in the order in which they began.
    open: Mutex<ByNumber<Arc<RecordState>>>,
    next: AtomicU64,
    taps: Arc<Taps>,
}

/// The state of one record.
#[derive(Debug)]
struct RecordState {
    number: u64,
    transport: Transport,
    /// Why it ends, by its place in [`End::ALL`].
    end: AtomicU8,
    /// How many taps show what passes on it: what is looked at before anything is made for them.
    taps: AtomicU8,
    /// Whether its task has something to send.
    is_busy: AtomicBool,
    /// Whether the first channel is being read.
    reads_first: AtomicBool,
    /// Whether an operator has ended it.
    is_disconnected: AtomicBool,
    /// Whether it is [at rest](ConnectionRecord::rest).
    is_at_rest: AtomicBool,
    /// Whether it may have no task.
    is_parked: AtomicBool,
    /// It holds the permits of the connection, too.
    peer: Peer,
    /// In milliseconds since the Unix epoch.
    since: u64,
    messages: AtomicU64,
    bytes: AtomicU64,
    /// The first channel that it reads: most connections read no other.
    first: OnceLock<ChannelPosition>,
    locked: Mutex<Locked>,
}

/// What is looked at seldom.
#[derive(Debug, Default)]
struct Locked {
    /// Boxed: most connections have none of it.
    rare: Option<Box<Rare>>,
    /// The task that serves the connection: what an operator asks of it, it is woken for.
    task: Option<Waker>,
}

/// What few connections have.
#[derive(Debug, Default)]
struct Rare {
    /// Set once: a connection keeps its subject.
    subject: Option<Arc<str>>,
    /// The channels that it reads beside its first one.
    others: Vec<Arc<ChannelPosition>>,
}

/// The position of a connection on one channel.
#[derive(Debug)]
struct ChannelPosition {
    channel: ChannelName,
    offset: AtomicU64,
    /// Since when it waits for messages.
    since: u64,
    /// Where a group delivers.
    place: Place,
}

/// One connection with subscriptions, until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionRecord {
    register: Arc<ConnectionRegister>,
    state: Arc<RecordState>,
}

/// What one connection reads of one channel, until it is dropped.
#[derive(Debug)]
pub(crate) struct ChannelRead {
    register: Arc<ConnectionRegister>,
    state: Arc<RecordState>,
    /// `None` for the first channel of the connection.
    other: Option<Arc<ChannelPosition>>,
}

impl ConnectionRegister {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        let (open, taps) = Default::default();
        Arc::new(Self { metrics, open, next: AtomicU64::new(1), taps })
    }

    /// Where all of them are counted.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How many taps are open, and the bytes of what waits for them.
    pub(crate) fn held_by_taps(&self) -> (usize, usize) {
        self.taps.held()
    }

    /// Adds a record.
    pub(crate) fn begin(
        self: &Arc<Self>,
        transport: Transport,
        subject: Option<&str>,
        peer: Peer,
    ) -> ConnectionRecord {
        let number = self.next.fetch_add(1, Relaxed);
        let state = Arc::new(RecordState {
            number,
            transport,
            end: AtomicU8::new(End::Left as u8),
            taps: AtomicU8::new(0),
            is_busy: AtomicBool::new(true),
            peer,
            since: now(),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first: OnceLock::new(),
            reads_first: AtomicBool::new(false),
            is_disconnected: AtomicBool::new(false),
            is_at_rest: AtomicBool::new(false),
            is_parked: AtomicBool::new(false),
            locked: Mutex::default(),
        });
        let record = ConnectionRecord { register: Arc::clone(self), state: Arc::clone(&state) };
        record.identified_as(subject);
        lock(&self.open).insert(state);
        self.metrics.opened(transport);
        record
    }

    /// The next records after a number, a [`SLICE`] of them; none at the end.
    fn slice(&self, after: u64) -> Vec<(u64, Arc<RecordState>)> {
        let open = lock(&self.open);
        open.after(after).take(SLICE).map(|state| (state.number, Arc::clone(state))).collect()
    }

    /// How many messages each reader of a channel is behind.
    pub(crate) fn lags(&self, hub: &Hub) -> Vec<u64> {
        let (mut lags, mut after) = (Vec::new(), 0);
        loop {
            let slice = self.slice(after);
            let Some((last, _)) = slice.last() else { return lags };
            after = *last;
            for (_, state) in &slice {
                state.each_position(|position| lags.push(position.lag(hub)));
            }
        }
    }

    /// How many connections of each transport read each of the channels.
    pub(crate) async fn readers(
        &self,
        channels: &[ChannelName],
    ) -> Vec<[u64; Transport::ALL.len()]> {
        let places: HashMap<_, _> = channels.iter().zip(0..).collect();
        let mut readers = vec![[0; Transport::ALL.len()]; channels.len()];
        let mut after = 0;
        loop {
            let slice = self.slice(after);
            let Some((last, _)) = slice.last() else { return readers };
            after = *last;
            for (_, state) in &slice {
                state.each_position(|position| {
                    if let Some(place) = places.get(&position.channel) {
                        let of_channel: &mut [u64; Transport::ALL.len()] = &mut readers[*place];
                        of_channel[state.transport as usize] += 1;
                    }
                });
            }
            yield_now().await;
        }
    }

    /// Wakes the connections that have no task to find out by itself that the server drains. That has begun.
    pub(crate) async fn wake_parked(&self) {
        // One that is being parked has set its mark before it looks whether the drain has begun.
        fence(SeqCst);
        let mut after = 0;
        loop {
            let slice = self.slice(after);
            let Some((last, _)) = slice.last() else { return };
            after = *last;
            let parked = slice.iter().filter(|(_, state)| state.is_parked.load(Relaxed));
            parked.for_each(|(_, state)| state.wake());
            yield_now().await;
        }
    }

    /// Ends the connection of that number. Whether there is one.
    pub(crate) fn disconnect(&self, number: u64) -> bool {
        let state = lock(&self.open).get(number).cloned();
        state.as_ref().is_some_and(|state| {
            state.disconnect();
            true
        })
    }

    /// Ends all connections of that subject there are now; gives how many that nothing had ended before.
    pub(crate) async fn disconnect_all_of(&self, subject: &str) -> u64 {
        // What comes meanwhile comes after it was asked for.
        let end = self.next.load(Relaxed);
        let (mut count, mut after) = (0, 0);
        loop {
            let mut slice = self.slice(after);
            slice.retain(|(number, _)| *number < end);
            let Some((last, _)) = slice.last() else { return count };
            after = *last;
            for (_, state) in &slice {
                let is_of_subject = state.subject().is_some_and(|known| *known == *subject);
                count += u64::from(is_of_subject && state.disconnect());
            }
            yield_now().await;
        }
    }

    /// The number of connections, and as JSON those after `after` in the order in which they began:
    /// `limit` of them and some [`MAX_JSON`] at most. `next` is the `after` of the rest.
    pub(crate) fn json(&self, hub: &Hub, after: u64, limit: usize) -> Value {
        let count = lock(&self.open).len();
        let open = self.slice(after);
        let (mut shown, mut length, mut last) = (Vec::new(), 0, after);
        for (number, state) in open.iter().take(limit.min(SLICE - 1)) {
            if length >= MAX_JSON {
                break;
            }
            length += state.estimate();
            last = *number;
            shown.push(state.json(hub));
        }
        let next = open.last().map(|(number, _)| *number).filter(|end| *end > last).map(|_| last);
        json!({"count": count, "connections": shown, "next": next})
    }
}

impl ConnectionRecord {
    /// Where it is counted.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.register.metrics
    }

    /// Begins to read a channel. From `start` the metrics know whether the client resumed, and whether
    /// anything was missing.
    pub(crate) fn reads(&self, reader: &Reader, start: Start) -> ChannelRead {
        if matches!(start, Start::After(_) | Start::Foreign) {
            self.register.metrics.resumed(self.state.transport, reader.lag().gap);
        }
        let offset = AtomicU64::new(reader.position().offset);
        let channel = reader.channel().clone();
        let position = ChannelPosition { channel, offset, since: now(), place: Place::default() };
        let other = self.state.first.set(position).err().map(Arc::new);
        match &other {
            None => self.state.reads_first.store(true, Release),
            Some(other) => {
                let mut locked = lock(&self.state.locked);
                locked.rare.get_or_insert_default().others.push(Arc::clone(other));
            }
        }
        let (register, state) = (Arc::clone(&self.register), Arc::clone(&self.state));
        let read = ChannelRead { register, state, other };
        read.show_subscribed(reader.position());
        read
    }

    /// Where the connection comes from.
    pub(crate) fn peer(&self) -> &Peer {
        &self.state.peer
    }

    /// The client has authenticated after the beginning.
    pub(crate) fn identified_as(&self, subject: Option<&str>) {
        if let Some(subject) = subject {
            let mut locked = lock(&self.state.locked);
            locked.rare.get_or_insert_default().subject.get_or_insert_with(|| subject.into());
        }
    }

    /// Whether an operator ends the connection; wakes `cx` when that changes, and of one that is [parked](Self::set_parked)
    /// when the server begins to drain. One task at a time may wait.
    pub(crate) fn poll_disconnected(&self, cx: &Context<'_>) -> Poll<()> {
        self.state.poll_disconnected(cx)
    }

    /// Waits until an operator ends the connection. One task at a time may wait.
    pub(crate) fn disconnected(&self) -> Disconnected {
        Disconnected(Arc::clone(&self.state))
    }

    /// Says whether it may have no task from now on: to be said before the last look whether the server drains.
    pub(crate) fn set_parked(&self, is_parked: bool) {
        self.state.is_parked.store(is_parked, Relaxed);
        // With that of what wakes the parked ones: it sees the mark, or the drain is seen here.
        fence(SeqCst);
    }

    /// Gives up the record and what it reads, which goes on as it is: [`Deliveries::resume`] makes both again.
    pub(crate) fn rest(self, read: ChannelRead) {
        self.state.is_at_rest.store(true, Relaxed);
        drop((self, read));
    }

    /// Whether its task has something to send, or waits until all is written: groups write nothing to a connection
    /// that is busy, where both write.
    ///
    /// A message that is published after this was set is not written by a group before it is unset: what knows of
    /// the message knows of this.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.state.is_busy.store(is_busy, Relaxed);
    }

    /// Says why it ends, if the client does not end it.
    pub(crate) fn ends(&self, end: End) {
        self.state.end.store(end as u8, Relaxed);
    }
}

/// Waits until an operator ends the connection.
#[derive(Debug)]
pub(crate) struct Disconnected(Arc<RecordState>);

impl Future for Disconnected {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_disconnected(cx)
    }
}

impl ChannelRead {
    /// The channel that is read.
    pub(crate) fn channel(&self) -> &ChannelName {
        &self.position().channel
    }

    fn position(&self) -> &ChannelPosition {
        self.state.position(self.other.as_deref())
    }

    /// A page was handed to the connection, on which its messages took that many bytes.
    pub(crate) fn delivered(&self, page: &Page, bytes: usize) {
        let Self { register, state, .. } = self;
        let metrics = &register.metrics;
        self.count(page, bytes);
        metrics.sent(state.transport, page.entries.len(), bytes);
        metrics.delivered(&page.entries, self.position().since);
        if let Some(gap) = &page.gap {
            metrics.gap(state.transport, gap);
        }
        self.show_delivered(page);
    }
}

impl RecordState {
    /// Its position on its first channel, or on this other one.
    fn position<'a>(&'a self, other: Option<&'a ChannelPosition>) -> &'a ChannelPosition {
        let first = || self.first.get().expect("what reads it has set it");
        other.unwrap_or_else(first)
    }

    /// Looks at its position on each channel that it reads.
    fn each_position(&self, mut look: impl FnMut(&ChannelPosition)) {
        if self.reads_first.load(Acquire)
            && let Some(first) = self.first.get()
        {
            look(first);
        }
        let locked = lock(&self.locked);
        locked.rare.iter().flat_map(|rare| &rare.others).for_each(|other| look(other));
    }

    fn subject(&self) -> Option<Arc<str>> {
        lock(&self.locked).rare.as_ref()?.subject.clone()
    }

    /// Asks the task to end the connection. Whether nothing had asked before.
    fn disconnect(&self) -> bool {
        let is_first = !self.is_disconnected.swap(true, AcqRel);
        self.wake();
        is_first
    }

    /// Wakes the task, which looks at everything that may concern it.
    fn wake(&self) {
        let task = lock(&self.locked).task.take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Ready when an operator ends the connection. One task at a time may wait.
    fn poll_disconnected(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before the look, so no wake is lost.
        match &mut lock(&self.locked).task {
            Some(task) => task.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if self.is_disconnected.load(Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Why it ends, as far as that is known.
    fn end(&self) -> End {
        match End::ALL[usize::from(self.end.load(Relaxed))] {
            End::Left if self.peer.was_given_up() => End::Stalled,
            end => end,
        }
    }

    /// The approximate length of its JSON.
    fn estimate(&self) -> usize {
        let mut channels = 0;
        self.each_position(|position| channels += position.channel.as_str().len() + 64);
        200 + self.subject().map_or(0, |subject| subject.len()) + channels
    }

    fn json(&self, hub: &Hub) -> Value {
        let mut channels = Vec::new();
        self.each_position(|position| {
            let at = position.at(hub);
            let lag = position.lag(hub);
            let channel = position.channel.as_str();
            channels.push(json!({"channel": channel, "at": at.to_string(), "lag": lag}));
        });
        json!({
            "id": self.number,
            "transport": self.transport.name(),
            "address": self.peer.address(),
            "subject": self.subject().as_deref(),
            "since": self.since,
            "channels": channels,
            "messages": self.messages.load(Relaxed),
            "bytes": self.bytes.load(Relaxed),
        })
    }
}

impl Numbered for Arc<RecordState> {
    fn number(&self) -> u64 {
        self.number
    }
}

impl ChannelPosition {
    /// Where the reader stands. It goes on in another epoch as soon as its channel does.
    fn at(&self, hub: &Hub) -> Position {
        Position { offset: self.offset.load(Relaxed), ..hub.position(&self.channel) }
    }

    /// How many messages it will be given until it is at the end.
    fn lag(&self, hub: &Hub) -> u64 {
        hub.count_after(&self.channel, self.at(hub))
    }
}

impl Drop for ChannelRead {
    fn drop(&mut self) {
        if self.state.is_at_rest.load(Relaxed) {
            return;
        }
        self.show_unsubscribed();
        let Some(this) = &self.other else {
            return self.state.reads_first.store(false, Release);
        };
        let mut locked = lock(&self.state.locked);
        if let Some(Rare { subject, others }) = locked.rare.as_deref_mut() {
            others.retain(|other| !Arc::ptr_eq(other, this));
            if others.is_empty() && subject.is_none() {
                locked.rare = None;
            }
        }
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        if self.state.is_at_rest.load(Relaxed) {
            return;
        }
        lock(&self.register.open).remove(self.state.number);
        let RecordState { transport, peer, since, messages, bytes, .. } = &*self.state;
        let (end, subject) = (self.state.end(), self.state.subject());
        self.show_end(end);
        self.register.metrics.closed(*transport, end);
        // A long poll is one of many requests, and is logged as those are.
        if *transport == Transport::LongPoll {
            return;
        }
        limited!(
            INFO,
            Class::Ended,
            connection = self.state.number,
            transport = transport.name(),
            address = peer.address().map(tracing::field::display),
            subject = subject.as_deref().map(shown).as_deref(),
            seconds = now().saturating_sub(*since) / 1000,
            messages = messages.load(Relaxed),
            bytes = bytes.load(Relaxed),
            reason = end.name(),
            "connection ended"
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Consistent between any two statements, so a panic elsewhere does not matter.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the header of its `Arc`. Every connection with subscriptions has one.
    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn a_record_has_200_bytes() {
        let size = 2 * size_of::<usize>() + size_of::<RecordState>();
        assert_eq!(size, 200);
    }
}
