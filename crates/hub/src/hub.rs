//! The hub: all channels, and what one does with them.

use std::io;
use std::sync::Arc;

use crate::presence::Rooms;
use crate::publishing::Writing;
use crate::shared::Shared;
use crate::store::{Disk, OpenError, Store, StoreError};
use crate::writer::Writer;
use crate::{
    Budget, ChannelName, Epoch, Figures, Holdings, Options, Page, Policy, Position, Publication,
    Publishing, Reader, Room, Share, Start, Sweep,
};

/// All channels of a server. Cloning is cheap: clones are the same hub.
///
/// A channel needs no creating: it is there as soon as it is published on or subscribed to.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// Who writes, if there is a store.
    writer: Option<Writer>,
}

/// Why a publication was not taken. What is refused reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The hub holds as many channels or bytes as its options allow
    /// ([`Options::max_channels`], [`Options::max_bytes`]), no account that holds more than the
    /// publisher's can make room, and the channel has no history left to make room with. It may work
    /// later.
    #[error("the server's room for {room} is used up, and {share}")]
    Full {
        /// What is used up.
        room: Room,
        /// Why nobody else makes room for it.
        share: Share,
    },
    /// The entry alone would be charged more than a history may have in all.
    #[error("the message would take {charge} bytes of a history that has {limit}")]
    TooLarge {
        /// What the entry would be charged for, in bytes.
        charge: u64,
        /// What there is, in bytes.
        limit: u64,
    },
    /// More waits to be written to the disk than may: it does not keep up. It works again soon.
    #[error("the disk does not keep up with what is published")]
    Busy,
    /// The disk is full. It works again when there is room.
    #[error("the disk is full")]
    NoSpace,
    /// The disk failed.
    #[error("the disk failed")]
    Disk,
    /// The hub ended or the disk failed while the message was on its way: it may have been taken,
    /// or not. Repeated with the same [`IdempotencyKey`](crate::IdempotencyKey) it is there once.
    #[error("it is not known whether the message was kept: the server stopped or its disk failed")]
    Unknown,
}

impl Hub {
    /// A hub whose channels live in memory alone, in a new epoch. [`Options::data`] is not used.
    pub fn new(options: Options) -> Self {
        Self::with(Shared::new(options, None), None)
    }

    /// A hub that keeps its channels in [`Options::data`] and goes on with those it finds there, in
    /// their epoch; without it the same as [`Hub::new`].
    ///
    /// It may block as long as a disk does: the names of the channels and their accounts are read,
    /// 100,000 of them in a fraction of a second. How much is kept in them matters little: a channel
    /// is read when it is first used. A write that a crash left half done is cut off. What is damaged is
    /// set aside, in the same directory, and a new epoch is begun if anything acknowledged is lost.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the directory is in use, of another version, or can not be used.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        match options.data.clone() {
            None => Ok(Self::new(options)),
            Some(data) => {
                let store = Disk::open(&data)?;
                Self::with_store(options, Arc::new(store))
                    .map_err(|error| OpenError::Io { path: data, error })
            }
        }
    }

    /// A hub that keeps its channels in a store of yours. [`Options::data`] is not used.
    ///
    /// # Errors
    ///
    /// That of the system if it does not give a thread, which writes; or that of the store.
    pub fn with_store(options: Options, store: Arc<dyn Store>) -> io::Result<Self> {
        let shared = Shared::new(options, Some(Arc::clone(&store)));
        shared.adopt().map_err(io::Error::other)?;
        let writer = Writer::start(Arc::clone(&shared), store)?;
        Ok(Self::with(shared, Some(writer)))
    }

    fn with(shared: Arc<Shared>, writer: Option<Writer>) -> Self {
        Self(Arc::new(Inner { shared, writer }))
    }

    /// Appends to the channel's log and wakes its readers; never waits for any of them.
    ///
    /// The order of the calls is the order of the positions, whoever waits for which first. When
    /// the future is ready, the entry is in the log and every reader that asks gets it. With a
    /// store it is on disk by then, synced, and no reader has got it before.
    ///
    /// # Errors
    ///
    /// [`PublishError`], from the future, if it is larger than a whole history, the hub is full, or
    /// the disk is full or fails.
    pub fn publish(&self, channel: &ChannelName, publication: Publication<'_>) -> Publishing {
        let options = &self.0.shared.options;
        let (charge, limit) = (publication.charge(), options.history_bytes.min(options.max_bytes));
        if charge > limit {
            return Writing::done(Err(PublishError::TooLarge { charge, limit }));
        }
        match &self.0.writer {
            Some(writer) => {
                let account = self.0.shared.account(publication.account);
                writer.publish(channel, publication, account)
            }
            None => Writing::done(self.append(channel, &publication)),
        }
    }

    /// Publishes in memory alone.
    fn append(
        &self,
        channel: &ChannelName,
        publication: &Publication<'_>,
    ) -> Result<Position, PublishError> {
        let shared = &*self.0.shared;
        let Shared { shards, meter, .. } = shared;
        let account = shared.account(publication.account);
        loop {
            let found = shards.find_or_add(channel, meter);
            let share = shared.make_room(&account, &found, publication);
            match found.publish(publication, &account, share, shared) {
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

    /// Makes the channel ready to be read: reads it from the store, on a thread that may block,
    /// unless it is in memory.
    ///
    /// Reading works without this, but then the first to read a channel may block his thread as long
    /// as a disk does, and on a runtime of one thread everybody else.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store can not be read. To a reader the channel then looks empty.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, if the channel is not in memory.
    pub async fn load(&self, channel: &ChannelName) -> Result<(), StoreError> {
        let shared = &self.0.shared;
        if shared.is_at_hand(channel) {
            return Ok(());
        }
        let (shared, channel) = (Arc::clone(shared), channel.clone());
        let load = move || {
            let (channel, loaded) = shared.join(&channel);
            shared.leave(&channel);
            loaded
        };
        tokio::task::spawn_blocking(load).await.unwrap_or(Err(StoreError::Failed))
    }

    /// A reader of the channel, beginning at `start`.
    ///
    /// It costs a few dozen bytes, however far behind it is. A channel nothing was ever published
    /// on is remembered only as long as it has readers.
    pub fn subscribe(&self, channel: &ChannelName, start: Start) -> Reader {
        let shared = &self.0.shared;
        let Shared { options, meter, .. } = &**shared;
        let policy = Policy::of(channel, &options.policies);
        let (channel, _) = shared.join(channel);
        let cursor = channel.read(options, meter, |log, now| log.locate(start, policy, now));
        Reader::new(self.clone(), channel, cursor)
    }

    /// Up to `limit` entries from `start` on, without waiting; an empty page if there are none.
    ///
    /// To read on, begin the next page [`After`](Start::After) the [`at`](Page::at) of this one.
    pub fn read(&self, channel: &ChannelName, start: Start, limit: usize) -> Page {
        self.read_within(channel, start, Budget::entries(limit))
    }

    /// Entries from `start` on within `budget`, without waiting, as [`read`](Self::read).
    pub fn read_within(&self, channel: &ChannelName, start: Start, budget: Budget) -> Page {
        let policy = Policy::of(channel, &self.0.shared.options.policies);
        self.0.shared.look(channel, |log, now| {
            let mut cursor = log.locate(start, policy, now);
            log.page(&mut cursor, budget)
        })
    }

    /// The newest entries within `budget`, without waiting.
    pub fn read_newest(&self, channel: &ChannelName, budget: Budget) -> Page {
        self.0.shared.look(channel, |log, now| {
            let newest = Start::Last(log.newest_within(budget));
            let mut cursor = log.locate(newest, Policy::default(), now);
            log.page(&mut cursor, budget)
        })
    }

    /// Where the channel is: the position of its newest entry, even if that is not kept any more.
    ///
    /// Take it before you render a page, subscribe [`After`](Start::After) it, miss nothing.
    pub fn position(&self, channel: &ChannelName) -> Position {
        self.0.shared.look(channel, |log, _| log.end())
    }

    /// Drops the channel's history. Epoch and offsets go on; every open reader, also one that has
    /// read everything, gets a gap [`Reset`](crate::Why::Reset), and so does who comes back to a
    /// position behind which entries were dropped.
    ///
    /// # Errors
    ///
    /// [`PublishError`], from the future, if there is a store and it fails. In memory it is done at
    /// once.
    pub fn forget(&self, channel: &ChannelName) -> Writing<()> {
        let Shared { shards, meter, .. } = &*self.0.shared;
        if let Some(writer) = &self.0.writer {
            return writer.forget(channel);
        }
        if let Ok(channel) = shards.find(channel) {
            channel.forget(meter);
        }
        Writing::done(Ok(()))
    }

    /// Drops what is older than [`Options::history_age`] in channels that nobody uses and what is kept
    /// of entries that are not new any more, forgets idle channels when there are many, lets go of
    /// memory that can be had from the store again, and lets those leave who have stopped polling.
    /// To be called every few seconds.
    ///
    /// It visits every channel in memory, and some of those on disk each time: with 100,000 channels
    /// it takes some tens of milliseconds. Where others wait for the thread, do it in slices:
    /// [`begin_sweep`](Self::begin_sweep).
    pub fn sweep(&self) {
        let mut sweep = Sweep::new(self.clone());
        while sweep.slice() {}
        if let Some(writer) = &self.0.writer {
            writer.sweep(true);
        }
    }

    /// Begins what [`sweep`](Self::sweep) does at once. Call [`slice`](Sweep::slice) until it says that
    /// nothing is left, and let others run in between:
    ///
    /// ```
    /// # async fn example(hub: sockeye_hub::Hub) {
    /// let mut sweep = hub.begin_sweep();
    /// while sweep.slice() {
    ///     tokio::task::yield_now().await;
    /// }
    /// # }
    /// ```
    ///
    /// What is on disk is swept meanwhile by the thread that writes, in slices between publications.
    pub fn begin_sweep(&self) -> Sweep {
        if let Some(writer) = &self.0.writer {
            writer.sweep(false);
        }
        Sweep::new(self.clone())
    }

    /// Whether the store takes what is published, as its last write showed; in memory alone always. It
    /// asks no disk and can be called at any time.
    ///
    /// After an error each [sweep](Self::sweep) finds out whether writing works again, so this becomes
    /// `Ok` also when nobody publishes.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says why publishing fails: [`NoSpace`](StoreError::NoSpace), for example, or
    /// [`Stalled`](StoreError::Stalled).
    pub fn health(&self) -> Result<(), StoreError> {
        self.0.writer.as_ref().map_or(Ok(()), Writer::health)
    }

    /// What the hub holds.
    pub fn figures(&self) -> Figures {
        self.0.shared.figures()
    }

    /// What the hub keeps, and for how long.
    pub fn options(&self) -> &Options {
        &self.0.shared.options
    }

    /// What an account holds: see [`Publication::account`]. Of two that look at once, or under load,
    /// the numbers may be some entries apart.
    pub fn holdings(&self, account: &str) -> Holdings {
        let account = self.0.shared.account(account);
        Holdings { channels: account.held(Room::Channels), bytes: account.held(Room::Bytes) }
    }

    /// The bound of the wire forms that it keeps, in bytes: what
    /// [`Options::max_form_bytes`](crate::Options::max_form_bytes) came to.
    pub fn max_form_bytes(&self) -> u64 {
        self.0.shared.meter.forms.max_bytes()
    }

    /// The epoch of the hub's positions: random, for this run or for the life of what is kept.
    pub fn epoch(&self) -> Epoch {
        self.0.shared.shards.epoch()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.shared.rooms
    }
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace => Self::NoSpace,
            StoreError::Failed | StoreError::Stalled => Self::Disk,
            StoreError::Unknown | StoreError::Stopped => Self::Unknown,
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(Options::default())
    }
}
