//! A reader: a cursor in a channel's log, and a way to wait there.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::resting::Resting;
use super::shared_reader::{Outlook, SharedReader};
use crate::channels::{Channel, ChannelState, Registry};
use crate::log::{Cursor, Log};
use crate::{Budget, ChannelName, Item, Lag, Lease, Page, Position};

/// Reads a channel's entries in order, each once, and is told of every gap.
///
/// A reader has no queue: it holds its place in the log and reads on from there whenever it is
/// asked. One that falls behind costs no more than one that does not; when the log no longer
/// reaches back to it, it gets a [`Gap`](crate::Gap) and goes on as its channel's
/// [`Policy`](crate::Policy) says: by default at the oldest entry kept.
///
/// Waiting is cancel-safe: a future that is dropped before it is ready has taken nothing.
#[derive(Debug)]
pub struct Reader {
    seat: Seat,
    cursor: Cursor,
}

/// Counts a reader on its channel, until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) registry: Arc<Registry>,
    pub(super) channel: Arc<Channel>,
}

impl Reader {
    /// The channel must have been joined for this reader.
    pub(crate) fn new(registry: Arc<Registry>, channel: Arc<Channel>, cursor: Cursor) -> Self {
        registry.meter.readers.fetch_add(1, Relaxed);
        Self { seat: Seat { registry, channel }, cursor }
    }

    pub(super) fn resumed(seat: Seat, cursor: Cursor) -> Self {
        Self { seat, cursor }
    }

    /// The next entry or gap, as soon as there is one.
    pub async fn next(&mut self) -> Item {
        loop {
            let_others_run().await;
            let (channel, cursor) = (&self.seat.channel, &mut self.cursor);
            // It counts from here on, so what is published between a look and the wait wakes it.
            let grown = channel.grown.notified();
            if let Some(item) = channel.lock().find_or_wait(|log| log.next(cursor)) {
                return item;
            }
            grown.await;
        }
    }

    /// The next entry or gap, if there is one now.
    pub fn try_next(&mut self) -> Option<Item> {
        self.seat.channel.lock().log.next(&mut self.cursor)
    }

    /// All that is there, within `budget`, as soon as there is something: one lock for many
    /// entries.
    pub fn next_page(&mut self, budget: Budget) -> impl Future<Output = Page> {
        next_page(&self.seat.channel, &mut self.cursor, budget)
    }

    /// All that is there now, within `budget`.
    pub fn try_next_page(&mut self, budget: Budget) -> Option<Page> {
        self.seat.channel.lock().log.page(&mut self.cursor, budget).news()
    }

    /// Waits until there is something to read, the end of the channel included, and takes nothing: for a task that reads several
    /// channels and has to find room first.
    pub async fn readable(&self) {
        self.has(|lag| lag.ended).await;
    }

    /// The same, but an end of the channel is nothing to read where the reader stands at it already: it
    /// was told of that before.
    pub async fn readable_beyond_end(&self) {
        self.has(|lag| lag.ended && self.position() != lag.end).await;
    }

    /// Waits until there are entries or a gap, or the end of the channel is news.
    async fn has(&self, end_is_news: impl Fn(&Lag) -> bool) {
        loop {
            let grown = self.seat.channel.grown.notified();
            if self.has_now(&end_is_news) {
                return;
            }
            grown.await;
        }
    }

    fn has_now(&self, end_is_news: impl Fn(&Lag) -> bool) -> bool {
        let is_news = |lag: &Lag| lag.entries > 0 || lag.gap.is_some() || end_is_news(lag);
        let find = |log: &mut Log| Some(log.lag(&self.cursor)).filter(is_news);
        self.seat.channel.lock().find_or_wait(find).is_some()
    }

    /// Where the reader stands: behind the entry or gap it was given last, or, before that, where
    /// it began. Subscribe [`After`](crate::Start::After) it to go on elsewhere.
    pub fn position(&self) -> Position {
        self.cursor.position()
    }

    /// How far the reader is behind.
    pub fn lag(&self) -> Lag {
        self.seat.channel.lock().log.lag(&self.cursor)
    }

    /// Whether it was told the end of the channel, or the gap it was given last was the end of it, by
    /// [`Policy::Close`](crate::Policy::Close): then it is given nothing more, and waits for ever.
    /// What serves the reader ends then.
    pub fn is_over(&self) -> bool {
        self.cursor.is_over()
    }

    /// Whether the gap that it was given last was of more than a history that was deleted on purpose
    /// ([`Hub::forget`](crate::Hub::forget)): of what came after that, too, and was dropped before the reader was told,
    /// or of any other loss. `false` before the first gap.
    pub fn has_missed(&self) -> bool {
        self.cursor.has_missed()
    }

    /// Whether the channel has ended, told or not.
    pub fn has_ended(&self) -> bool {
        self.seat.channel.lock().log.has_ended()
    }

    /// What the reader is given as long as nothing is missing and the channel goes on, but for where it stands.
    /// `None` if there is something to be told to this reader alone: what it missed before it began, or nothing
    /// any more.
    ///
    /// Readers with the same outlook can be served together: one [`SharedReader`] reads, and each of them
    /// [passes over](Self::pass) what was sent on its behalf.
    pub fn outlook(&self) -> Option<Outlook> {
        let (epoch, forgets, policy) = self.cursor.outlook()?;
        Some(Outlook { channel: Arc::clone(&self.seat.channel), epoch, forgets, policy })
    }

    /// A reader for all that have this [outlook](Self::outlook), which begins where this one stands; `None` where
    /// there is none.
    pub fn shared(&self) -> Option<SharedReader> {
        Some(SharedReader::new(&self.seat.channel, self.cursor.fork()?))
    }

    /// Goes on behind that offset: what is before it was given to the client on this reader's behalf. It never goes
    /// back.
    pub fn pass(&mut self, offset: u64) {
        self.cursor.pass(offset);
    }

    /// Puts the reader to rest, and the presence that goes with it on the same channel: see [`Resting`].
    ///
    /// Danger: the presence has to be of this channel of this hub, or another one loses a member; and what the reader misses
    /// by then is told to it no more, so there has to be an [outlook](Self::outlook).
    pub fn rest(self, lease: Option<Lease>) -> Resting {
        Resting::new(self.seat, lease)
    }

    /// How many readers the channel has, this one included.
    pub fn readers(&self) -> usize {
        self.seat.channel.readers.load(Acquire)
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.seat.channel.name
    }
}

impl ChannelState {
    /// What a reader looks for in the log. If it is not there, the reader waits for the channel to grow, for which it has
    /// asked beforehand.
    fn find_or_wait<T>(&mut self, find: impl FnOnce(&mut Log) -> Option<T>) -> Option<T> {
        let found = find(&mut self.log);
        self.is_awaited |= found.is_none();
        found
    }
}

/// All that is there for the cursor, within `budget`, as soon as there is something.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
pub(super) fn next_page(
    channel: &Channel,
    cursor: &mut Cursor,
    budget: Budget,
) -> impl Future<Output = Page> {
    async move {
        loop {
            let_others_run().await;
            let grown = channel.grown.notified();
            if let Some(page) = channel.lock().find_or_wait(|log| log.page(cursor, budget).news()) {
                return page;
            }
            grown.await;
        }
    }
}

/// A reader with a long way to go is always ready; without this it would never yield.
async fn let_others_run() {
    tokio::task::consume_budget().await;
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { registry, channel } = self;
        registry.meter.readers.fetch_sub(1, Relaxed);
        registry.leave(channel);
    }
}
