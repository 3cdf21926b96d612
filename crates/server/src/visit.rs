//! Who listens now, by what transport, and how far behind: the register of connections.
//!
//! Each transport that holds a connection keeps a [`Visit`] from before its answer goes out until
//! it ends, and for each channel that it reads a [`Reading`], which it tells of every page that it
//! has handed to the connection. That counts for the metrics, and is what `/connections` shows;
//! the end of one that was more than a request is a line in the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value, json};
use sockeye_hub::{ChannelName, Hub, Page, Position, Reader, Start};

use crate::auth::Caller;
use crate::log::{Class, limited, shown};
use crate::metrics::{End, Metrics, Transport, now};
use crate::peer::Peer;

/// How long a list of connections may become, in bytes, before the one with which it ends.
pub(crate) const MAX_JSON: usize = 256 << 10;

/// All visits of one server.
#[derive(Debug)]
pub(crate) struct Visits {
    metrics: Arc<Metrics>,
    open: Mutex<HashMap<u64, Arc<Record>>>,
    next: AtomicU64,
}

/// What is known of one visit.
#[derive(Debug)]
struct Record {
    transport: Transport,
    /// It keeps the connection's place, too.
    peer: Peer,
    /// Set once: a connection stays that of whom it was opened for.
    subject: OnceLock<Arc<str>>,
    /// In milliseconds since the Unix epoch.
    since: u64,
    messages: AtomicU64,
    bytes: AtomicU64,
    places: Mutex<Vec<Arc<Place>>>,
}

/// Where a visit stands on one channel.
#[derive(Debug)]
struct Place {
    channel: ChannelName,
    offset: AtomicU64,
}

/// One connection that listens, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    visits: Arc<Visits>,
    number: u64,
    record: Arc<Record>,
    end: End,
}

/// What one connection reads of one channel, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    metrics: Arc<Metrics>,
    record: Arc<Record>,
    place: Arc<Place>,
    /// Since when it waits for what comes.
    since: u64,
}

impl Visits {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { metrics, open: Mutex::default(), next: AtomicU64::new(1) })
    }

    /// Begins a visit.
    pub(crate) fn begin(
        self: &Arc<Self>,
        transport: Transport,
        caller: &Caller,
        peer: Peer,
    ) -> Visit {
        let number = self.next.fetch_add(1, Relaxed);
        let record = Arc::new(Record {
            transport,
            peer,
            subject: caller.id().map(Arc::from).map_or_else(OnceLock::new, OnceLock::from),
            since: now(),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            places: Mutex::default(),
        });
        lock(&self.open).insert(number, Arc::clone(&record));
        self.metrics.opened(transport);
        Visit { visits: Arc::clone(self), number, record, end: End::Left }
    }

    /// How many messages each reading is behind.
    pub(crate) fn lags(&self, hub: &Hub) -> Vec<u64> {
        let records: Vec<_> = lock(&self.open).values().cloned().collect();
        let lags = |record: &Arc<Record>| -> Vec<u64> {
            lock(&record.places).iter().map(|place| place.lag(hub)).collect()
        };
        records.iter().flat_map(lags).collect()
    }

    /// How many visits there are, and as JSON those behind `after` in the order in which they began:
    /// `limit` of them and some [`MAX_JSON`] at most. `next` is the `after` of what follows.
    pub(crate) fn json(&self, hub: &Hub, after: u64, limit: usize) -> Value {
        let (count, mut open) = {
            let open = lock(&self.open);
            let behind = open.iter().filter(|(number, _)| **number > after);
            let behind: Vec<_> = behind.map(|(number, it)| (*number, Arc::clone(it))).collect();
            (open.len(), behind)
        };
        open.sort_unstable_by_key(|(number, _)| *number);
        let (mut shown, mut length, mut last) = (Vec::new(), 0, after);
        for (number, record) in open.iter().take(limit) {
            if length >= MAX_JSON {
                break;
            }
            length += record.estimate();
            last = *number;
            shown.push(record.json(*number, hub));
        }
        let next = open.last().map(|(number, _)| *number).filter(|end| *end > last).map(|_| last);
        json!({"count": count, "connections": shown, "next": next})
    }
}

impl Visit {
    /// Begins to read a channel. With the `start` it was asked for the metrics tell who came back,
    /// and whether anything was missing.
    pub(crate) fn reads(&self, reader: &Reader, start: Start) -> Reading {
        let metrics = Arc::clone(&self.visits.metrics);
        if matches!(start, Start::After(_) | Start::Foreign) {
            metrics.resumed(self.record.transport, reader.lag().gap);
        }
        let offset = AtomicU64::new(reader.position().offset);
        let place = Arc::new(Place { channel: reader.channel().clone(), offset });
        let mut places = lock(&self.record.places);
        // Most read one channel: by itself it would make room for four.
        if places.is_empty() {
            places.reserve_exact(1);
        }
        places.push(Arc::clone(&place));
        drop(places);
        Reading { metrics, record: Arc::clone(&self.record), place, since: now() }
    }

    /// From where it came.
    pub(crate) fn peer(&self) -> &Peer {
        &self.record.peer
    }

    /// The client has said who it is after the beginning.
    pub(crate) fn is_of(&self, caller: &Caller) {
        if let Some(subject) = caller.id() {
            self.record.subject.get_or_init(|| subject.into());
        }
    }

    /// Says why it ends, if it is not the client that leaves.
    pub(crate) fn ends(&mut self, end: End) {
        self.end = end;
    }
}

impl Reading {
    /// The channel that is read.
    pub(crate) fn channel(&self) -> &ChannelName {
        &self.place.channel
    }

    /// A page was handed to the connection, on which its messages took so many bytes.
    pub(crate) fn delivered(&self, page: &Page, bytes: usize) {
        let Self { metrics, record, place, since } = self;
        place.offset.store(page.at.offset, Relaxed);
        record.messages.fetch_add(page.entries.len() as u64, Relaxed);
        record.bytes.fetch_add(bytes as u64, Relaxed);
        metrics.sent(record.transport, page.entries.len(), bytes);
        metrics.delivered(&page.entries, *since);
        if let Some(gap) = &page.gap {
            metrics.gap(record.transport, gap);
        }
    }
}

impl Record {
    /// How long its JSON is, about.
    fn estimate(&self) -> usize {
        let places = lock(&self.places);
        let channels: usize = places.iter().map(|place| place.channel.as_str().len() + 64).sum();
        200 + self.subject.get().map_or(0, |subject| subject.len()) + channels
    }

    fn json(&self, number: u64, hub: &Hub) -> Value {
        let channels: Vec<Value> = lock(&self.places)
            .iter()
            .map(|place| {
                let at = Position { epoch: hub.epoch(), offset: place.offset.load(Relaxed) };
                let lag = place.lag(hub);
                json!({"channel": place.channel.as_str(), "at": at.to_string(), "lag": lag})
            })
            .collect();
        json!({
            "id": number,
            "transport": self.transport.name(),
            "address": self.peer.address(),
            "subject": self.subject.get().map(|subject| &**subject),
            "since": self.since,
            "channels": channels,
            "messages": self.messages.load(Relaxed),
            "bytes": self.bytes.load(Relaxed),
        })
    }
}

impl Place {
    fn lag(&self, hub: &Hub) -> u64 {
        hub.position(&self.channel).offset.saturating_sub(self.offset.load(Relaxed))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.record.places).retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        lock(&self.visits.open).remove(&self.number);
        let Record { transport, peer, subject, since, messages, bytes, .. } = &*self.record;
        let end = match self.end {
            End::Left if peer.was_given_up() => End::Stalled,
            end => end,
        };
        self.visits.metrics.closed(*transport, end);
        // A long poll is one of many requests, and is logged as those are.
        if *transport == Transport::LongPoll {
            return;
        }
        limited!(
            INFO,
            Class::Ended,
            connection = self.number,
            transport = transport.name(),
            address = peer.address().map(tracing::field::display),
            subject = subject.get().map(|subject| shown(subject)).as_deref(),
            seconds = now().saturating_sub(*since) / 1000,
            messages = messages.load(Relaxed),
            bytes = bytes.load(Relaxed),
            reason = end.name(),
            "connection ended"
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole between any two statements, so a panic elsewhere is no reason to stop.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
