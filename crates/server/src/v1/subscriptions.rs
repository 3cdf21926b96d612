//! The channels that one connection reads, and whose turn it is.
//!
//! A subscription is a cursor and waits by itself until its channel has something for it; then it
//! queues for its turn. Those that have nothing to read cost nothing, however many they are, and
//! one on a busy channel waits behind the others after each page.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::vec;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, abortable};
use futures_util::stream::FuturesUnordered;
use sockeye_hub::{Budget, Change, ChannelName, Entry, Gap, Hub, Lease, Reader, Run, Watch};

use crate::visit::Reading;

/// The most subscriptions of one connection.
pub(super) const MAX: usize = 128;

/// What a subscription takes at its turn: so much at most is in memory for a client that does not
/// read, beside what the connection has queued.
const AT_ONCE: Budget = Budget { entries: 16, bytes: 64 << 10 };

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    reader: Reader,
    reading: Reading,
    /// It is present on the channel as long as this is held.
    _lease: Lease,
    watch: Option<Watch>,
    /// What was seen while waiting, and is to be told first.
    seen: Option<Change>,
}

/// What a subscription has to tell at its turn, and has not told yet.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) channel: ChannelName,
    pub(super) changes: vec::IntoIter<Change>,
    pub(super) gap: Option<Gap>,
    entries: Run,
    /// How many of the entries were told.
    told: usize,
    /// Whether this was its last turn: the channel's policy is to end those who are too slow.
    pub(super) is_over: bool,
}

impl Turn {
    /// The next message.
    pub(super) fn next_entry(&mut self) -> Option<Arc<Entry>> {
        let entry = self.entries.get(self.told).cloned();
        self.told += 1;
        entry
    }
}

impl Subscription {
    /// Present from now on and, with `presence`, told who else comes and goes.
    pub(super) fn new(
        hub: &Hub,
        reader: Reader,
        reading: Reading,
        id: Option<&str>,
        presence: bool,
    ) -> Self {
        let lease = hub.join(reader.channel(), id);
        let watch = presence.then(|| hub.watch(reader.channel()));
        Self { reader, reading, _lease: lease, watch, seen: None }
    }

    /// Waits until there is something to tell.
    async fn wait(mut self) -> Self {
        match &mut self.watch {
            None => self.reader.readable().await,
            Some(watch) => tokio::select! {
                () = self.reader.readable() => {}
                change = watch.next() => self.seen = Some(change),
            },
        }
        self
    }

    /// What there is to tell now, if there is something.
    fn turn(&mut self) -> Option<Turn> {
        let changes =
            iter::from_fn(|| self.seen.take().or_else(|| self.watch.as_mut()?.try_next()));
        let changes: Vec<_> = changes.take(AT_ONCE.entries).collect();
        let page = self.reader.try_next_page(AT_ONCE);
        if let Some(page) = &page {
            let lengths = page.entries.iter().map(|entry| entry.payload.as_bytes().len());
            self.reading.delivered(page, lengths.sum());
        }
        let is_over = self.reader.is_over();
        let channel = self.reader.channel().clone();
        let has_news = !changes.is_empty() || page.is_some();
        let (gap, entries) = page.map(|page| (page.gap, page.entries)).unwrap_or_default();
        let changes = changes.into_iter();
        has_news.then_some(Turn { channel, changes, gap, entries, told: 0, is_over })
    }
}

/// All subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    places: HashMap<ChannelName, Place>,
    waiting: FuturesUnordered<Abortable<Waiting>>,
    ready: VecDeque<Subscription>,
}

/// A subscription that waits for something to tell.
type Waiting = Pin<Box<dyn Future<Output = Subscription> + Send>>;

/// Where a subscription is.
#[derive(Debug)]
struct Place {
    /// Aborting it drops the subscription that waits; `None` if it is queued for its turn.
    waiting: Option<AbortHandle>,
    /// Whether it is told who comes and goes.
    presence: bool,
}

impl Subscriptions {
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, channel: &ChannelName) -> bool {
        self.places.contains_key(channel)
    }

    /// The channels, each with whether it is told who comes and goes there.
    pub(super) fn channels(&self) -> impl Iterator<Item = (&ChannelName, bool)> {
        self.places.iter().map(|(channel, place)| (channel, place.presence))
    }

    /// Adds one. There is none on that channel.
    pub(super) fn add(&mut self, subscription: Subscription) {
        let place = Place { waiting: None, presence: subscription.watch.is_some() };
        self.places.insert(subscription.reader.channel().clone(), place);
        self.ready.push_back(subscription);
    }

    /// Ends the one on that channel, if there is one: nothing more is read from it.
    pub(super) fn remove(&mut self, channel: &ChannelName) {
        match self.places.remove(channel) {
            Some(Place { waiting: Some(waiting), .. }) => waiting.abort(),
            Some(Place { waiting: None, .. }) => {
                self.ready.retain(|subscription| subscription.reader.channel() != channel);
            }
            None => {}
        }
    }

    /// Waits until one that had nothing to tell may have something. `None` if none waits.
    pub(super) async fn wake(&mut self) -> Option<()> {
        // One that was ended meanwhile is dropped here.
        if let Ok(subscription) = self.waiting.next().await? {
            if let Some(place) = self.places.get_mut(subscription.reader.channel()) {
                place.waiting = None;
            }
            self.ready.push_back(subscription);
        }
        Some(())
    }

    /// Whether some may have something to tell.
    pub(super) fn are_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What the one whose turn it is has to tell.
    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        while let Some(mut subscription) = self.ready.pop_front() {
            match subscription.turn() {
                Some(turn) if turn.is_over => {
                    self.places.remove(&turn.channel);
                    return Some(turn);
                }
                Some(turn) => {
                    self.ready.push_back(subscription);
                    return Some(turn);
                }
                None => self.wait(subscription),
            }
        }
        None
    }

    fn wait(&mut self, subscription: Subscription) {
        let channel = subscription.reader.channel().clone();
        let waiting: Waiting = Box::pin(subscription.wait());
        let (waiting, abort) = abortable(waiting);
        self.waiting.push(waiting);
        if let Some(place) = self.places.get_mut(&channel) {
            place.waiting = Some(abort);
        }
    }
}
