//! What a program that uses a hub sees.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, helpers included")]

mod cluster;
mod cluster_bounds;
mod cluster_ends;
mod cluster_presence;
mod concurrent;
mod ends;
mod fair;
mod faults;
mod gaps;
mod history;
mod history_rules;
#[cfg(feature = "fjall")]
mod image;
#[cfg(feature = "fjall")]
mod journal;
#[cfg(feature = "fjall")]
mod kept_model;
mod keys;
mod listing;
mod memory;
mod model;
mod observer;
mod policies;
mod presence;
mod presence_model;
mod readers;
#[cfg(feature = "fjall")]
mod recovery;
#[cfg(feature = "fjall")]
mod restart;
mod shared_readers;
mod sweep;
#[cfg(feature = "fjall")]
mod torn;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sockeye_hub::{
    Capacity, ChannelName, Clock, Entry, Gap, Hub, Item, Options, Position, Publication,
    PublishError, Share,
};

/// A hub with a clock that stands still until a test moves it.
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    time: Arc<AtomicU64>,
}

impl Rig {
    pub(crate) fn new(options: Options) -> Self {
        Self::with(Hub::new, options, None)
    }

    /// A hub with what is in its directory, at that time.
    #[cfg(feature = "fjall")]
    pub(crate) fn open(options: Options, time: Option<u64>) -> Self {
        Self::with(|options| Hub::open(options).unwrap(), options, time)
    }

    fn with(hub: impl FnOnce(Options) -> Hub, options: Options, time: Option<u64>) -> Self {
        let time = Arc::new(AtomicU64::new(time.unwrap_or(1_760_000_000_000)));
        let hands = Arc::clone(&time);
        let clock = Clock::new(move || hands.load(Relaxed));
        Self { hub: hub(options.clock(clock)), time }
    }

    /// A hub whose channels keep that many entries.
    pub(crate) fn keeping(history_count: usize) -> Self {
        Self::new(Options::default().history_count(history_count))
    }

    pub(crate) fn set_time(&self, millis: u64) {
        self.time.store(millis, Relaxed);
    }

    pub(crate) fn time(&self) -> u64 {
        self.time.load(Relaxed)
    }

    /// Lets that many milliseconds pass.
    pub(crate) fn pass(&self, millis: u64) {
        self.set_time(self.time() + millis);
    }

    /// Publishes a text on the channel.
    pub(crate) fn say(&self, channel: &ChannelName, text: &str) -> Position {
        self.hub.publish(channel, Publication::text(text)).wait().unwrap()
    }

    /// Publishes that many texts, `1`, `2` and so on, on the channel.
    pub(crate) fn count_to(&self, channel: &ChannelName, count: usize) {
        for number in 1..=count {
            self.say(channel, &number.to_string());
        }
    }

    /// Publishes the text that many times on the channel.
    pub(crate) fn repeat(&self, channel: &ChannelName, text: &str, count: usize) {
        for _ in 0..count {
            self.say(channel, text);
        }
    }

    /// The position with that offset in this hub's epoch.
    pub(crate) fn at(&self, offset: u64) -> Position {
        Position { epoch: self.hub.epoch(), offset }
    }
}

/// A refusal because the publisher itself holds as much as any other.
pub(crate) fn full(capacity: Capacity) -> PublishError {
    PublishError::Full { capacity, share: Share::Own }
}

pub(crate) fn name(name: &str) -> ChannelName {
    name.parse().unwrap()
}

/// A position of another hub's epoch.
pub(crate) fn foreign() -> Position {
    "k3f9.2".parse().unwrap()
}

pub(crate) fn text(entry: &Entry) -> &str {
    std::str::from_utf8(entry.payload.as_bytes()).unwrap()
}

pub(crate) fn texts(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| text(entry)).collect()
}

#[track_caller]
pub(crate) fn entry(item: Option<Item>) -> Arc<Entry> {
    match item {
        Some(Item::Entry(entry)) => entry,
        other => panic!("an entry was due, not {other:?}"),
    }
}

#[track_caller]
pub(crate) fn gap(item: Option<Item>) -> Gap {
    match item {
        Some(Item::Gap(gap)) => gap,
        other => panic!("a gap was due, not {other:?}"),
    }
}
