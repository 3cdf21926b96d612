//! Taps: what passes on a channel or a connection, shown to an operator while it happens.
//!
//! A tap is never in the way of what it shows. Without one, a connection looks at one byte of its own and a
//! publication at one number, and neither has memory for it. With one, what passes is made to lines of JSON
//! ([`event`]) in a queue of bounded length ([`queue`]); what does not fit is counted, and the tap is told how much
//! that was. Messages of a channel are not queued at all: the tap reads them from the log, and the
//! [`publishers`] say where they came from.

pub(crate) mod event;
mod publishers;
mod queue;

use std::fmt::Display;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock};

use sockeye::internals::share_of_reserve;
use sockeye_hub::{ChannelName, Position};
use tokio::time::Instant;

pub(crate) use self::publishers::MAX_WAIT;
pub(crate) use self::queue::Queue;

/// The most taps at once, where there are descriptors for them: see [`max_taps`].
const MAX_TAPS: usize = 16;

/// The most taps at once: at most a quarter of the connections that the address for operators has.
pub(crate) fn max_taps() -> usize {
    (share_of_reserve() / 4).clamp(1, MAX_TAPS)
}

/// The most of a payload that a tap shows, in bytes, and what it shows if the operator does not say.
pub(crate) const MAX_DATA: usize = 16 << 10;
pub(crate) const DEFAULT_DATA: usize = 1 << 10;

/// All taps of one server.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    /// How many taps of channels there are: all that is looked at where there is none.
    of_channels: AtomicUsize,
    open: RwLock<Vec<Open>>,
}

/// One tap.
#[derive(Debug)]
struct Open {
    target: Target,
    queue: Arc<Queue>,
}

/// What is tapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Channel(ChannelName),
    /// A connection, by its number.
    Connection(u64),
}

/// There are [`max_taps`] already.
#[derive(Debug)]
pub(crate) struct TooMany;

/// A tap that is open, until this is dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    taps: Arc<Taps>,
    queue: Arc<Queue>,
}

impl Taps {
    /// Opens a tap that shows at most that many bytes of each payload.
    pub(crate) fn open(self: &Arc<Self>, target: Target, max_data: usize) -> Result<Tap, TooMany> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= max_taps() {
            return Err(TooMany);
        }
        let queue = Arc::new(Queue::new(max_data.min(MAX_DATA)));
        if matches!(target, Target::Channel(_)) {
            self.of_channels.fetch_add(1, Relaxed);
        }
        open.push(Open { target, queue: Arc::clone(&queue) });
        drop(open);
        Ok(Tap { taps: Arc::clone(self), queue })
    }

    /// Shows an event to the taps of the channel. The event is made for each, with the most bytes of a payload.
    pub(crate) fn on_channel(&self, channel: &ChannelName, event: impl Fn(usize) -> String) {
        self.each_on(channel, |queue| queue.push(&event));
    }

    /// Shows an event to the taps of the connection, which has some.
    pub(crate) fn on_connection(&self, number: u64, event: impl Fn(usize) -> String) {
        self.each(|target| *target == Target::Connection(number), |queue| queue.push(&event));
    }

    /// The connection has ended, and with it its taps.
    pub(crate) fn end_connection(&self, number: u64, event: impl Fn(usize) -> String) {
        let is_it = |target: &Target| *target == Target::Connection(number);
        self.each(is_it, |queue| {
            queue.push(&event);
            queue.end();
        });
    }

    /// A publication of that many bytes begins on a channel, of a publisher that is made known to its taps; `None`
    /// where it has none.
    pub(crate) fn publication(
        &self,
        channel: &ChannelName,
        size: usize,
        publisher: impl FnOnce() -> String,
    ) -> Option<Box<Attempt>> {
        let mut queues = Vec::new();
        self.each_on(channel, |queue| queues.push(Arc::clone(queue)));
        (!queues.is_empty()).then(|| Box::new(Attempt::new(queues, publisher(), size)))
    }

    /// How many taps are open, and the bytes of what waits for them.
    pub(crate) fn held(&self) -> (usize, usize) {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        (open.len(), open.iter().map(|tap| tap.queue.bytes()).sum())
    }

    fn each_on(&self, channel: &ChannelName, take: impl FnMut(&Arc<Queue>)) {
        if self.of_channels.load(Relaxed) > 0 {
            let is_it =
                |target: &Target| matches!(target, Target::Channel(name) if name == channel);
            self.each(is_it, take);
        }
    }

    fn each(&self, is_it: impl Fn(&Target) -> bool, mut take: impl FnMut(&Arc<Queue>)) {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter(|tap| is_it(&tap.target)).for_each(|tap| take(&tap.queue));
    }
}

/// A publication on a tapped channel, from before it is given to the hub until its outcome is known.
#[derive(Debug)]
pub(crate) struct Attempt {
    queues: Vec<Arc<Queue>>,
    publisher: String,
    /// The bytes of the payload.
    size: usize,
}

impl Attempt {
    fn new(queues: Vec<Arc<Queue>>, publisher: String, size: usize) -> Self {
        queues.iter().for_each(|queue| queue.publishers.begin());
        Self { queues, publisher, size }
    }

    /// It was given a position, or is refused with a code.
    pub(crate) fn settle(&self, outcome: Result<Position, impl Display>) {
        for queue in &self.queues {
            match &outcome {
                Ok(position) => queue.publishers.add(*position, &self.publisher),
                Err(code) => queue.push(|_| event::refused(code, self.size, &self.publisher)),
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.publishers.end());
    }
}

impl Tap {
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Where the message at that position came from, as JSON, if it was published at this server.
    /// It may become known until then.
    pub(crate) async fn publisher(&self, position: Position, until: Instant) -> Option<String> {
        self.queue.publishers.of(position, until).await
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut open = self.taps.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = open.iter().position(|tap| Arc::ptr_eq(&tap.queue, &self.queue)) else {
            return;
        };
        if let Target::Channel(_) = open.swap_remove(index).target {
            self.taps.of_channels.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_testing::assert_documented;

    use super::queue::MAX_QUEUED;

    #[test]
    fn there_are_so_many_taps_at_once_and_a_closed_one_makes_room() {
        let taps = Arc::new(Taps::default());
        let mut open: Vec<_> = (0..max_taps() as u64)
            .map(|number| taps.open(Target::Connection(number), 0).expect("there is room"))
            .collect();
        assert!(taps.open(Target::Connection(99), 0).is_err());
        open.pop();
        let channel: ChannelName = "chat".parse().expect("a name");
        let tap = taps.open(Target::Channel(channel.clone()), 0).expect("there is room");
        assert_eq!(taps.of_channels.load(Relaxed), 1);
        assert!(taps.publication(&channel, 0, String::new).is_some());
        drop(tap);
        assert_eq!(taps.of_channels.load(Relaxed), 0);
        assert!(taps.publication(&channel, 0, String::new).is_none());
    }

    #[test]
    fn the_documentation_says_the_numbers_of_the_code() {
        let (data, default, queued) = (MAX_DATA >> 10, DEFAULT_DATA >> 10, MAX_QUEUED >> 10);
        let page = "operate/taps.md";
        assert_documented(page, &format!("{MAX_TAPS} taps at once"));
        assert_documented(page, &format!("the first {default} KiB"));
        assert_documented(page, &format!("at most {data} KiB"));
        assert_documented(page, &format!("{queued} KiB of lines"));
    }
}
