//! The hub: all channels, and what one does with them.

use std::sync::Arc;

use crate::figures::Meter;
use crate::log::Log;
use crate::presence::Rooms;
use crate::shards::Shards;
use crate::{
    Budget, ChannelName, Epoch, Figures, Options, Page, Policy, Position, Publication, Publishing,
    Reader, Start,
};

/// All channels of a server. Cloning is cheap: clones are the same hub.
///
/// A channel needs no creating: it is there as soon as it is published on or subscribed to.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    shards: Shards,
    /// Shared with the entries, which may outlive the hub in the hands of a reader.
    meter: Arc<Meter>,
    rooms: Rooms,
}

/// Why a publication was not taken. What is refused reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The hub holds as many channels or bytes as its options allow
    /// ([`Options::max_channels`], [`Options::max_bytes`]) and the channel has no history left to
    /// make room with. It may work later.
    #[error("the server's memory for channels is full")]
    Full,
    /// The entry alone would be charged more than a history may have in all.
    #[error("the message would take {charge} bytes of a history that has {limit}")]
    TooLarge {
        /// What the entry would be charged for, in bytes.
        charge: u64,
        /// What there is, in bytes.
        limit: u64,
    },
    /// The hub ended while the message was on its way: it may have been taken, or not. Repeated
    /// with the same [`IdempotencyKey`](crate::IdempotencyKey) it is there once.
    #[error("the server stopped before it was known whether the message was kept")]
    Unknown,
}

impl Hub {
    /// A hub without channels, in a new epoch.
    pub fn new(options: Options) -> Self {
        let rooms = Rooms::new(&options);
        Self(Arc::new(Inner { options, shards: Shards::new(), meter: Arc::default(), rooms }))
    }

    /// Appends to the channel's log and wakes its readers; never waits for any of them.
    ///
    /// The order of the calls is the order of the positions, whoever waits for which first. When
    /// the future is ready, the entry is in the log and every reader that asks gets it.
    ///
    /// # Errors
    ///
    /// [`PublishError`], from the future, if it is larger than a whole history, or the hub is full.
    pub fn publish(&self, channel: &ChannelName, publication: Publication<'_>) -> Publishing {
        Publishing::done(self.append(channel, &publication))
    }

    fn append(
        &self,
        channel: &ChannelName,
        publication: &Publication<'_>,
    ) -> Result<Position, PublishError> {
        let Inner { options, shards, meter, .. } = &*self.0;
        let (charge, limit) = (publication.charge(), options.history_bytes.min(options.max_bytes));
        if charge > limit {
            return Err(PublishError::TooLarge { charge, limit });
        }
        loop {
            let found = shards.find_or_add(channel, meter);
            match found.publish(publication, options, meter) {
                Some(Ok(position)) => return Ok(position),
                Some(Err(error)) => {
                    shards.release(&found, meter);
                    return Err(error);
                }
                // The channel was idle and the hub let go of it just now: take its successor.
                None => {}
            }
        }
    }

    /// A reader of the channel, beginning at `start`.
    ///
    /// It costs a few dozen bytes, however far behind it is. A channel nothing was ever published
    /// on is remembered only as long as it has readers.
    pub fn subscribe(&self, channel: &ChannelName, start: Start) -> Reader {
        let Inner { options, shards, meter, .. } = &*self.0;
        let policy = Policy::of(channel, &options.policies);
        let channel = shards.join(channel, meter);
        let cursor = channel.read(options, meter, |log, now| log.locate(start, policy, now));
        Reader::new(self.clone(), channel, cursor)
    }

    /// Up to `limit` entries from `start` on, without waiting; an empty page if there are none.
    ///
    /// To read on, begin the next page [`After`](Start::After) the [`at`](Page::at) of this one.
    pub fn read(&self, channel: &ChannelName, start: Start, limit: usize) -> Page {
        let policy = Policy::of(channel, &self.0.options.policies);
        let page = |log: &Log, now| {
            let mut cursor = log.locate(start, policy, now);
            log.page(&mut cursor, Budget::entries(limit))
        };
        match self.0.shards.find(channel) {
            Ok(channel) => channel.read(&self.0.options, &self.0.meter, page),
            Err(floor) => page(&Log::new(self.epoch(), floor), self.0.options.clock.now()),
        }
    }

    /// Where the channel is: the position of its newest entry, even if that is not kept any more.
    ///
    /// Take it before you render a page, subscribe [`After`](Start::After) it, miss nothing.
    pub fn position(&self, channel: &ChannelName) -> Position {
        match self.0.shards.find(channel) {
            Ok(channel) => channel.lock().log.end(),
            Err(offset) => Position { epoch: self.epoch(), offset },
        }
    }

    /// Drops the channel's history. Epoch and offsets go on; every open reader, also one that has
    /// read everything, gets a gap [`Reset`](crate::Why::Reset), and so does who comes back to a
    /// position behind which entries were dropped.
    pub fn forget(&self, channel: &ChannelName) {
        if let Ok(channel) = self.0.shards.find(channel) {
            channel.forget(&self.0.meter);
        }
    }

    /// Drops what is older than [`Options::history_age`] in channels that nobody uses, and forgets
    /// idle channels when there are many; and lets those leave who have stopped polling. To be
    /// called every few seconds.
    ///
    /// It visits every channel, each locked for a moment only.
    pub fn sweep(&self) {
        self.0.shards.sweep(&self.0.options, &self.0.meter);
        self.0.rooms.sweep();
    }

    /// What the hub holds.
    pub fn figures(&self) -> Figures {
        self.0.meter.figures(self.0.rooms.bytes())
    }

    /// The epoch of the hub's positions: random, for this run.
    pub fn epoch(&self) -> Epoch {
        self.0.shards.epoch()
    }

    pub(crate) fn shards(&self) -> &Shards {
        &self.0.shards
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.0.meter
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(Options::default())
    }
}
