//! The channels that one connection reads, in turns.
//!
//! A subscription is a cursor and waits by itself until its channel has something for it; then it
//! queues for its turn. Idle subscriptions cost nothing, however many they are, and one on a busy
//! channel waits behind the others after each page.
//!
//! On a channel with many readers a group sends the news, as long as the connection takes all at once and has nothing
//! else to send; then the subscription comes back, and queues as ever.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::vec;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, abortable};
use futures_util::stream::FuturesUnordered;
use sockeye_hub::{
    Budget, ChannelName, Entry, Gap, Lease, Position, PresenceChange, Reader, Run, Unchanged, Watch,
};

use crate::app::App;
use crate::fanout::{Groups, Membership};
use crate::metrics::connections::ChannelRead;

/// The most subscriptions of one connection.
pub(super) const MAX: usize = 128;

/// What a subscription takes at its turn: the most in memory for a client that does not read, beside
/// what the connection has queued.
const AT_ONCE: Budget = Budget::entries(16).bytes(64 << 10);

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    reader: Reader,
    channel_read: ChannelRead,
    /// Present on the channel as long as this is held.
    _lease: Option<Lease>,
    watch: Option<Watch>,
    /// What was read while waiting, and is sent first.
    seen: Option<PresenceChange>,
}

/// What a subscription has to send at its turn, and has not sent yet.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) channel: ChannelName,
    pub(super) changes: vec::IntoIter<PresenceChange>,
    pub(super) gap: Option<Gap>,
    entries: Run,
    /// How many of the entries were sent.
    sent: usize,
    /// The position of the channel's end, if that comes next.
    pub(super) end: Option<Position>,
    /// Whether this was its last turn: the channel has ended, or its policy is to end slow subscriptions.
    pub(super) is_over: bool,
}

impl Turn {
    /// The next message.
    pub(super) fn next_entry(&mut self) -> Option<Arc<Entry>> {
        let entry = self.entries.get(self.sent).cloned();
        self.sent += 1;
        entry
    }
}

impl Subscription {
    /// Present from now on and, with `presence`, notified of members that join and leave.
    pub(super) fn new(
        app: &App,
        reader: Reader,
        channel_read: ChannelRead,
        id: Option<&str>,
        presence: bool,
    ) -> Self {
        let lease = app.join(reader.channel(), id);
        let watch = presence.then(|| app.hub.watch(reader.channel()));
        Self { reader, channel_read, _lease: lease, watch, seen: None }
    }

    /// Waits until there is something to send.
    async fn wait(mut self: Box<Self>) -> Box<Self> {
        match &mut self.watch {
            None => self.reader.readable().await,
            Some(watch) => tokio::select! {
                () = self.reader.readable() => {}
                change = watch.next() => self.seen = Some(change),
            },
        }
        self
    }

    /// Waits until a group does not send its messages any more.
    async fn served(mut self: Box<Self>, member: Membership) -> Box<Self> {
        self.reader.pass(member.left().await.offset);
        self
    }

    /// The same, or until there is a change to be told.
    async fn served_and_watching(mut self: Box<Self>, member: Membership) -> Box<Self> {
        let Some(watch) = &mut self.watch else { return self.served(member).await };
        let left = tokio::select! {
            left = member.left() => left,
            change = watch.next() => {
                self.seen = Some(change);
                member.leave()
            }
        };
        self.reader.pass(left.offset);
        self
    }

    /// What there is to send now, if anything.
    fn turn(&mut self) -> Option<Turn> {
        let changes =
            iter::from_fn(|| self.seen.take().or_else(|| self.watch.as_mut()?.try_next()));
        let changes: Vec<_> = changes.take(AT_ONCE.entries).collect();
        let page = self.reader.try_next_page(AT_ONCE);
        if let Some(page) = &page {
            let lengths = page.entries.iter().map(|entry| entry.payload.as_bytes().len());
            self.channel_read.delivered(page, lengths.sum());
        }
        let is_over = self.reader.is_over();
        let channel = self.reader.channel().clone();
        let has_news = !changes.is_empty() || page.is_some();
        let end = page.as_ref().filter(|page| page.end).map(|page| page.at);
        let (gap, entries) = page.map(|page| (page.gap, page.entries)).unwrap_or_default();
        let changes = changes.into_iter();
        has_news.then_some(Turn { channel, changes, gap, entries, sent: 0, end, is_over })
    }
}

/// All subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    places: HashMap<ChannelName, SubscriptionState>,
    waiting: FuturesUnordered<Abortable<Waiting>>,
    ready: VecDeque<Box<Subscription>>,
    /// Those that had nothing to send, and do not wait for news yet: they may join a group when all is written.
    resting: VecDeque<Box<Subscription>>,
}

/// A subscription that waits for something to send.
type Waiting = Pin<Box<dyn Future<Output = Box<Subscription>> + Send>>;

/// The state of a subscription.
#[derive(Debug)]
struct SubscriptionState {
    /// Aborting it drops the waiting subscription; `None` if it is queued for its turn, or rests.
    waiting: Option<AbortHandle>,
    /// While a group sends its messages.
    membership: Option<Membership>,
    /// Whether it is notified of members that join and leave.
    presence: bool,
}

impl Subscriptions {
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, channel: &ChannelName) -> bool {
        self.places.contains_key(channel)
    }

    /// The channels, each with whether it is notified of members that join and leave.
    pub(super) fn channels(&self) -> impl Iterator<Item = (&ChannelName, bool)> {
        self.places.iter().map(|(channel, place)| (channel, place.presence))
    }

    /// Adds a subscription. There is none on that channel.
    pub(super) fn add(&mut self, subscription: Subscription) {
        let presence = subscription.watch.is_some();
        let place = SubscriptionState { waiting: None, membership: None, presence };
        self.places.insert(subscription.reader.channel().clone(), place);
        self.ready.push_back(Box::new(subscription));
    }

    /// Ends the subscription on that channel, if there is one: nothing more is read from it.
    pub(super) fn remove(&mut self, channel: &ChannelName) {
        match self.places.remove(channel) {
            Some(SubscriptionState { waiting: Some(waiting), .. }) => waiting.abort(),
            Some(SubscriptionState { waiting: None, .. }) => {
                self.ready.retain(|subscription| subscription.reader.channel() != channel);
                self.resting.retain(|subscription| subscription.reader.channel() != channel);
            }
            None => {}
        }
    }

    /// Waits until a waiting subscription may have something to send. `None` if none waits.
    pub(super) async fn wake(&mut self) -> Option<()> {
        // A subscription that was ended meanwhile is dropped here.
        if let Ok(subscription) = self.waiting.next().await? {
            if let Some(place) = self.places.get_mut(subscription.reader.channel()) {
                (place.waiting, place.membership) = (None, None);
            }
            self.ready.push_back(subscription);
        }
        Some(())
    }

    /// Whether any may have something to send.
    pub(super) fn are_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What the subscription whose turn it is has to send.
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
                None if Groups::are_worthwhile(&subscription.reader) => {
                    self.resting.push_back(subscription)
                }
                None => self.wait(subscription, None),
            }
        }
        None
    }

    /// Those that rest may have something to send by now.
    pub(super) fn rouse(&mut self) {
        self.ready.extend(std::mem::take(&mut self.resting));
    }

    /// Lets those that rest wait for news: where `join` gives a membership, a group sends it.
    pub(super) fn settle(
        &mut self,
        join: impl Fn((&Reader, &ChannelRead), Option<Unchanged>) -> Option<Membership>,
    ) {
        for subscription in std::mem::take(&mut self.resting) {
            let Subscription { reader, channel_read, watch, .. } = &*subscription;
            let membership = join((reader, channel_read), watch.as_ref().map(Watch::unchanged));
            self.wait(subscription, membership);
        }
    }

    /// Groups send nothing from now on: what they have not sent is ready, or is when it was woken.
    pub(super) fn leave_groups(&mut self) {
        self.rouse();
        for membership in self.places.values_mut().filter_map(|place| place.membership.take()) {
            membership.recall();
        }
    }

    fn wait(&mut self, subscription: Box<Subscription>, membership: Option<Membership>) {
        let channel = subscription.reader.channel().clone();
        let waiting: Waiting = match &membership {
            Some(membership) if subscription.watch.is_some() => {
                Box::pin(subscription.served_and_watching(membership.leaving()))
            }
            Some(membership) => Box::pin(subscription.served(membership.leaving())),
            None => Box::pin(subscription.wait()),
        };
        let (waiting, abort) = abortable(waiting);
        self.waiting.push(waiting);
        if let Some(place) = self.places.get_mut(&channel) {
            (place.waiting, place.membership) = (Some(abort), membership);
        }
    }
}
