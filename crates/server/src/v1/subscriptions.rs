//! The channels that one connection reads, and whose turn it is.
//!
//! A subscription is a cursor and waits by itself until its channel has something for it; then it
//! queues for its turn. Those that have nothing to read cost nothing, however many they are, and
//! one on a busy channel waits behind the others after each page.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, abortable};
use futures_util::stream::FuturesUnordered;
use sockeye_hub::{Budget, ChannelName, Page, Reader};

/// The most subscriptions of one connection.
pub(super) const MAX: usize = 128;

/// What a subscription takes at its turn: so much at most is in memory for a client that does not
/// read, beside what the connection has queued.
const AT_ONCE: Budget = Budget { entries: 16, bytes: 64 << 10 };

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) reader: Reader,
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    places: HashMap<ChannelName, Place>,
    waiting: FuturesUnordered<Abortable<Waiting>>,
    ready: VecDeque<Subscription>,
}

/// A subscription that waits for something to read.
type Waiting = Pin<Box<dyn Future<Output = Subscription> + Send>>;

#[derive(Debug)]
enum Place {
    /// It is in the queue of those that may have something to read.
    Ready,
    /// It waits; aborting that drops it.
    Waiting(AbortHandle),
}

impl Subscriptions {
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, channel: &ChannelName) -> bool {
        self.places.contains_key(channel)
    }

    /// Adds one. There is none on that channel.
    pub(super) fn add(&mut self, subscription: Subscription) {
        self.places.insert(subscription.reader.channel().clone(), Place::Ready);
        self.ready.push_back(subscription);
    }

    /// Ends the one on that channel, if there is one: nothing more is read from it.
    pub(super) fn remove(&mut self, channel: &ChannelName) {
        match self.places.remove(channel) {
            Some(Place::Ready) => {
                self.ready.retain(|subscription| subscription.reader.channel() != channel);
            }
            Some(Place::Waiting(waiting)) => waiting.abort(),
            None => {}
        }
    }

    /// Waits until one that had nothing to read may have something. `None` if none waits.
    pub(super) async fn wake(&mut self) -> Option<()> {
        // One that was ended meanwhile is dropped here.
        if let Ok(subscription) = self.waiting.next().await? {
            self.places.insert(subscription.reader.channel().clone(), Place::Ready);
            self.ready.push_back(subscription);
        }
        Some(())
    }

    /// Whether some may have something to read.
    pub(super) fn are_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A page of the one whose turn it is.
    pub(super) fn next_page(&mut self) -> Option<(ChannelName, Page)> {
        while let Some(mut subscription) = self.ready.pop_front() {
            let channel = subscription.reader.channel().clone();
            if let Some(page) = subscription.reader.try_next_page(AT_ONCE) {
                self.ready.push_back(subscription);
                return Some((channel, page));
            }
            let waiting: Waiting = Box::pin(async move {
                subscription.reader.readable().await;
                subscription
            });
            let (waiting, abort) = abortable(waiting);
            self.waiting.push(waiting);
            self.places.insert(channel, Place::Waiting(abort));
        }
        None
    }
}
