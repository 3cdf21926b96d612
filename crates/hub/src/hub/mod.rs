//! The hub: all channels, and the operations on them.

mod listing;
mod presence;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::accounts::Account;
use crate::backplane::{Backplane, Cluster, Figure};
use crate::channels::{Backing, Follower, Loaded, Registry};
use crate::names::History;
use crate::publish::{Writer, Writing, remote};
#[cfg(feature = "fjall")]
use crate::store::{Disk, OpenError};
use crate::store::{Store, StoreError};
use crate::{
    Budget, Capacity, ChannelName, Entry, Epoch, Figures, Holdings, Missing, Options, Page, Policy,
    Position, Publication, PublishError, Publishing, Reader, Start, Sweep,
};

/// All channels of a server. Cloning is cheap: clones are the same hub.
///
/// A channel needs no creating: it is there as soon as it is published on or subscribed to.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    backend: Backend,
}

/// What takes publications.
#[derive(Debug)]
enum Backend {
    /// The channels themselves, in memory.
    Memory,
    /// A thread that writes to a store.
    Store(Writer),
    Cluster(Cluster),
}

impl Hub {
    /// A hub whose channels live in memory alone, in a new epoch. `Options::data` is not used.
    pub fn new(options: Options) -> Self {
        Self::with(Registry::new(options, Backing::Here), Backend::Memory)
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
    /// [`OpenError`] if the directory is in use, of another version, or cannot be used.
    #[cfg(feature = "fjall")]
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

    /// A hub that keeps its channels in a store of yours. `Options::data` is not used.
    ///
    /// # Errors
    ///
    /// That of the system if it does not give a thread, which writes; or that of the store.
    pub fn with_store(options: Options, store: Arc<dyn Store>) -> io::Result<Self> {
        let registry = Registry::new(options, Backing::Store(Arc::clone(&store)));
        registry.adopt().map_err(io::Error::other)?;
        let writer = Writer::start(Arc::clone(&registry), store)?;
        Ok(Self::with(registry, Backend::Store(writer)))
    }

    /// A hub on channels that live in an engine, which several hubs share: what is published on one is
    /// there for the readers of all, at the same positions. `Options::data` and
    /// [`Options::history`] are not used.
    ///
    /// What is here is a copy of what readers use. The bounds of a history are those of the engine: the
    /// options say the same on every hub. [`Options::max_channels`] does not count the engine's channels,
    /// accounts hold nothing, and [`Options::max_bytes`] bounds the copy: beyond it channels without
    /// readers are let go of, and channels with readers keep less.
    ///
    /// Before a channel is read anywhere but at its end it has to be [loaded](Self::load): what is not
    /// here is told as a gap. A channel's shard answers as soon as the backplane has
    /// [begun](crate::backplane::Sink::begin) it. Publishing and loading need a tokio runtime with time.
    pub fn with_backplane(mut options: Options, backplane: Arc<dyn Backplane>) -> Self {
        options.history.clear();
        let cluster = Cluster::new(Arc::clone(&backplane), &options);
        let registry = Registry::new(options, Backing::Cluster(cluster.clone()));
        backplane.attach(Arc::new(Follower::new(&registry)));
        registry.presence.connect(&*backplane);
        Self::with(registry, Backend::Cluster(cluster))
    }

    fn with(registry: Arc<Registry>, backend: Backend) -> Self {
        Self(Arc::new(Inner { registry, backend }))
    }

    /// Appends to the channel's log and wakes its readers; never waits for any of them.
    ///
    /// The order of the calls is the order of the positions, in whatever order they are awaited; with a
    /// backplane, that of the calls of one [source](Publication::source). When the future is ready, the entry is in the log and every reader that asks gets it. With a
    /// store it is on disk by then, synced, and no reader has got it before.
    ///
    /// # Errors
    ///
    /// [`PublishError`], from the future, if it is larger than a whole history, the hub is full, or
    /// the disk is full or fails.
    pub fn publish(&self, channel: &ChannelName, publication: Publication<'_>) -> Publishing {
        let options = &self.0.registry.options;
        let history = options.history_of(channel);
        let (charge, limit) = (publication.charge(), history.bytes.min(options.max_bytes));
        if charge > limit {
            return Writing::done(Err(PublishError::TooLarge { charge, limit }));
        }
        match &self.0.backend {
            Backend::Store(writer) => {
                let account = self.0.registry.account(publication.account);
                writer.submit(channel, publication, account)
            }
            Backend::Memory => match self.append(channel, (&publication, charge), history) {
                Some(outcome) => Writing::done(outcome),
                // The channel was idle and the hub let go of it just now: take its successor.
                None => self.publish_again(channel, publication),
            },
            Backend::Cluster(cluster) => {
                remote::send(&self.0.registry, cluster, channel, publication)
            }
        }
    }

    /// Publishes in memory alone. `None` if the hub has let go of the channel meanwhile.
    fn append(
        &self,
        channel: &ChannelName,
        (publication, charge): (&Publication<'_>, u64),
        history: History,
    ) -> Option<Result<Position, PublishError>> {
        let registry = &*self.0.registry;
        let Registry { map, meter, .. } = registry;
        let opened;
        let account = match publication.account {
            "" => &registry.program,
            name => {
                opened = registry.account(name);
                &opened
            }
        };
        let found = map.find_or_add(channel, meter);
        let what = (publication.charge_in_all(), publication.key.as_ref());
        let share = registry.make_room(account, &found, what);
        let published = found.publish((publication, charge), history, (account, share), registry);
        if let Some(Err(_)) = published {
            map.release(&found, meter);
        }
        published
    }

    #[cold]
    #[inline(never)]
    fn publish_again(&self, channel: &ChannelName, publication: Publication<'_>) -> Publishing {
        self.publish(channel, publication)
    }

    /// Makes the channel ready to be read from `start` on, as long as what this gives is held: from a
    /// store it is read whole, on a thread that may block; from a backplane if `start` needs what is not
    /// here, and a position that another hub gave is waited for until it is known here, too.
    ///
    /// Without this the first reader of a channel may block its thread as long as a disk does, and on a
    /// runtime of one thread all others; and with a backplane it is told a gap for what is not here.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read, or the engine does not answer for some seconds. To
    /// a reader the channel then looks empty, or has a gap.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, if the channel is not in memory.
    pub async fn load(&self, channel: &ChannelName, start: Start) -> Result<Loaded, StoreError> {
        let registry = &self.0.registry;
        if let Backend::Cluster(cluster) = &self.0.backend {
            return registry.load_from(cluster, channel, start).await;
        }
        if registry.is_at_hand(channel) {
            return Ok(Loaded::in_memory());
        }
        let (registry, channel) = (Arc::clone(registry), channel.clone());
        let load = move || {
            let (channel, loaded) = registry.join(&channel);
            let joined = Loaded::joined(&registry, channel);
            loaded.map(|()| joined)
        };
        tokio::task::spawn_blocking(load).await.unwrap_or(Err(StoreError::Failed))
    }

    /// A reader of the channel, beginning at `start`.
    ///
    /// It costs a few dozen bytes, however far behind it is. A channel nothing was ever published
    /// on is remembered only as long as it has readers.
    pub fn subscribe(&self, channel: &ChannelName, start: Start) -> Reader {
        let registry = &self.0.registry;
        let policy = Policy::of(channel, &registry.options.policies);
        let (channel, _) = registry.join(channel);
        let cursor = registry.enter(&channel, |log, now| log.locate(start, policy, now));
        Reader::new(Arc::clone(registry), channel, cursor)
    }

    /// Up to `limit` entries from `start` on, without waiting; an empty page if there are none.
    ///
    /// To read on, begin the next page [`After`](Start::After) the [`at`](Page::at) of this one.
    pub fn read(&self, channel: &ChannelName, start: Start, limit: usize) -> Page {
        self.read_within(channel, start, Budget::entries(limit))
    }

    /// Entries from `start` on within `budget`, without waiting, as [`read`](Self::read).
    pub fn read_within(&self, channel: &ChannelName, start: Start, budget: Budget) -> Page {
        let policy = Policy::of(channel, &self.0.registry.options.policies);
        self.0.registry.look(channel, |log, now| {
            let mut cursor = log.locate(start, policy, now);
            log.page(&mut cursor, budget)
        })
    }

    /// The newest entries within `budget`, without waiting.
    pub fn read_newest(&self, channel: &ChannelName, budget: Budget) -> Page {
        self.0.registry.look(channel, |log, now| {
            let newest = Start::Last(log.newest_within(budget));
            let mut cursor = log.locate(newest, Policy::default(), now);
            log.page(&mut cursor, budget)
        })
    }

    /// Where the channel is: the position of its newest entry, even if that is not kept any more.
    ///
    /// Take it before you render a page, subscribe [`After`](Start::After) it, miss nothing.
    pub fn position(&self, channel: &ChannelName) -> Position {
        self.0.registry.look(channel, |log, _| log.end())
    }

    /// The entry at that position. With a backplane the channel is to be [loaded](Self::load) for it.
    ///
    /// # Errors
    ///
    /// [`Missing`] if there is none, or none any more.
    pub fn entry(&self, channel: &ChannelName, position: Position) -> Result<Arc<Entry>, Missing> {
        self.0.registry.look(channel, |log, _| log.entry_at(position))
    }

    /// How many entries of the channel are kept that come after that position.
    pub fn count_after(&self, channel: &ChannelName, position: Position) -> u64 {
        self.0.registry.look(channel, |log, _| match position.epoch == log.end().epoch {
            true => log.count_after(position.offset),
            false => log.len() as u64,
        })
    }

    /// Whether a reader of the channel that stands at one of the positions is given the same as one at the
    /// other: where offsets have holes, several name one place. Both are to be known here.
    pub fn is_same_place(&self, channel: &ChannelName, one: Position, other: Position) -> bool {
        one == other
            || one.epoch == other.epoch
                && self.0.registry.look(channel, |log, _| log.is_same_place(one, other))
    }

    /// Ends the channel, for an account: nothing more can be published on it, until its history is
    /// [dropped](Self::forget), which opens it again. Readers are given what there is and then told the
    /// [end](crate::Item::End), those that come later, too. The end has a position of its own; of a channel
    /// that has ended it is given again.
    ///
    /// It is in the order of the publications, and with a store it is on disk when the future is ready. It
    /// is remembered as long as the channel has entries, and for [`Options::history_age`] at least.
    ///
    /// # Errors
    ///
    /// [`PublishError`], from the future, if the channel is new and the hub is full, if the disk is full or
    /// fails; with a backplane also [`PublishError::ClusterFull`], where 131,072 channels of its shard have
    /// ended and are remembered.
    pub fn end(&self, channel: &ChannelName, account: &str) -> Publishing {
        let registry = &*self.0.registry;
        let account = registry.account(account);
        match &self.0.backend {
            Backend::Store(writer) => writer.end(channel, account),
            Backend::Memory => Writing::done(self.end_here(channel, &account)),
            Backend::Cluster(cluster) => remote::end(&self.0.registry, cluster, channel),
        }
    }

    /// Ends a channel in memory alone.
    fn end_here(
        &self,
        channel: &ChannelName,
        account: &Arc<Account>,
    ) -> Result<Position, PublishError> {
        let registry = &*self.0.registry;
        let Registry { map, meter, .. } = registry;
        loop {
            let found = map.find_or_add(channel, meter);
            let share = registry.make_room(account, &found, (0, None));
            match found.end(account, share, registry) {
                Some(Ok(position)) => return Ok(position),
                Some(Err(error)) => {
                    map.release(&found, meter);
                    return Err(error);
                }
                None => {}
            }
        }
    }

    /// Drops the channel's history. Epoch and offsets go on; every open reader, also one that has
    /// read everything, gets a gap [`Reset`](crate::GapReason::Reset), and so does one that begins at a
    /// position behind which entries were dropped. A channel that has [ended](Self::end) is open again.
    ///
    /// # Errors
    ///
    /// [`PublishError`], from the future, if there is a store and it fails. In memory it is done at
    /// once.
    pub fn forget(&self, channel: &ChannelName) -> Writing<()> {
        let Registry { map, meter, .. } = &*self.0.registry;
        match &self.0.backend {
            Backend::Memory => {}
            Backend::Store(writer) => return writer.forget(channel),
            Backend::Cluster(cluster) => return remote::forget(cluster, channel),
        }
        if let Ok(channel) = map.find(channel) {
            channel.forget(meter);
        }
        Writing::done(Ok(()))
    }

    /// Drops what is older than [`Options::history_age`] in unused channels and what is kept
    /// of entries that are not new any more, forgets idle channels when there are many, lets go of
    /// memory that can be had from the store again, and ends the presence of clients that have stopped polling.
    /// To be called every few seconds.
    ///
    /// It visits every channel in memory, and some of those on disk each time: with 100,000 channels
    /// it takes some tens of milliseconds. Where others wait for the thread, do it in slices:
    /// [`begin_sweep`](Self::begin_sweep).
    pub fn sweep(&self) {
        let mut sweep = Sweep::new(Arc::clone(&self.0.registry));
        while sweep.slice() {}
        if let Backend::Store(writer) = &self.0.backend {
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
        if let Backend::Store(writer) = &self.0.backend {
            writer.sweep(false);
        }
        Sweep::new(Arc::clone(&self.0.registry))
    }

    /// Whether the store takes what is published, as its last write showed; in memory alone always. It
    /// asks no disk and can be called at any time.
    ///
    /// After an error each [sweep](Self::sweep) finds out whether writing works again, so this becomes
    /// `Ok` also when nothing is published.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says why publishing fails: [`NoSpace`](StoreError::NoSpace), for example, or
    /// [`Stalled`](StoreError::Stalled).
    pub fn health(&self) -> Result<(), StoreError> {
        match &self.0.backend {
            Backend::Memory => Ok(()),
            Backend::Store(writer) => writer.health(),
            Backend::Cluster(cluster) => cluster.backplane.health(),
        }
    }

    /// The engine that keeps the channels, if they are in one.
    pub fn backplane(&self) -> Option<&Arc<dyn Backplane>> {
        match &self.0.backend {
            Backend::Memory | Backend::Store(_) => None,
            Backend::Cluster(cluster) => Some(&cluster.backplane),
        }
    }

    /// What operators see of the engine that keeps the channels, if they are in one: what it
    /// [counts](Backplane::figures), and how it is read from here.
    pub fn engine_figures(&self) -> Vec<Figure> {
        match &self.0.backend {
            Backend::Memory | Backend::Store(_) => Vec::new(),
            Backend::Cluster(cluster) => {
                let engine = cluster.backplane.figures().into_iter();
                engine.chain(cluster.reads.figures()).chain(cluster.progress.figures()).collect()
            }
        }
    }

    /// What the hub holds.
    pub fn figures(&self) -> Figures {
        let queued_bytes = match &self.0.backend {
            Backend::Memory => 0,
            Backend::Store(writer) => writer.queued_bytes(),
            Backend::Cluster(cluster) => cluster.progress.queued.load(Relaxed),
        };
        Figures { queued_bytes, ..self.0.registry.figures() }
    }

    /// What the hub keeps, and for how long.
    pub fn options(&self) -> &Options {
        &self.0.registry.options
    }

    /// What an account holds: see [`Publication::account`]. Of two that look at once, or under load,
    /// the numbers may be some entries apart.
    pub fn holdings(&self, account: &str) -> Holdings {
        let account = self.0.registry.account(account);
        Holdings {
            channels: account.held(Capacity::Channels),
            bytes: account.held(Capacity::Bytes),
        }
    }

    /// The bound of the wire forms that it keeps, in bytes: what
    /// [`Options::max_form_bytes`](crate::Options::max_form_bytes) came to.
    pub fn max_form_bytes(&self) -> u64 {
        self.0.registry.meter.forms.max_bytes()
    }

    /// The epoch of the hub's positions: random, for this run or for the life of what is kept. With a
    /// backplane each shard has its own, which [`position`](Self::position) gives; this is the first's.
    pub fn epoch(&self) -> Epoch {
        self.0.registry.map.epoch()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(Options::default())
    }
}
