//! What a hub and the thread that writes for it share: the channels, and how they come from a store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::accounts::{Account, Accounts, Capacity};
use crate::backplane::Cluster;
use crate::channels::{Channel, ChannelMap, Load};
use crate::log::Log;
use crate::presence::PresenceRegistry;
use crate::stats::Figures;
use crate::stats::Meter;
use crate::store::{Store, StoreError};
use crate::{ChannelName, Epoch, Options};

#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) options: Options,
    pub(crate) map: ChannelMap,
    /// Shared with the entries, which may outlive the hub in the hands of a reader.
    pub(crate) meter: Arc<Meter>,
    pub(crate) accounts: Arc<Accounts>,
    /// The program's own account.
    pub(crate) program: Arc<Account>,
    pub(crate) presence: Arc<PresenceRegistry>,
    pub(crate) kept: Backing,
    /// The reads from a backplane that are under way.
    pub(crate) loads: Mutex<HashMap<ChannelName, Load>>,
}

/// Where channels are kept.
#[derive(Clone, Debug)]
pub(crate) enum Backing {
    /// In memory alone.
    Here,
    Store(Arc<dyn Store>),
    /// By an engine that several hubs share.
    Cluster(Cluster),
}

impl Backing {
    fn epoch(&self) -> Epoch {
        match self {
            Self::Store(store) => store.epoch(),
            Self::Here | Self::Cluster(_) => Epoch::random(),
        }
    }

    fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Cluster(cluster) => Some(cluster),
            Self::Here | Self::Store(_) => None,
        }
    }
}

impl Registry {
    pub(crate) fn new(options: Options, kept: Backing) -> Arc<Self> {
        let is_here = matches!(kept, Backing::Here);
        let cluster = kept.cluster().cloned();
        let map = ChannelMap::new(kept.epoch(), !is_here, cluster, options.max_channels);
        let meter = Arc::new(Meter::new(&options));
        let accounts = Arc::<Accounts>::default();
        let (program, presence) = (accounts.of(""), Arc::new(PresenceRegistry::new(&options)));
        let loads = Mutex::default();
        Arc::new(Self { options, map, meter, accounts, program, presence, kept, loads })
    }

    /// Takes over the channels that the store keeps, in the order in which they were published on.
    /// Those without a known publisher have an account of their own.
    pub(crate) fn adopt(&self) -> Result<(), StoreError> {
        let Backing::Store(store) = &self.kept else { return Ok(()) };
        let mut kept = Vec::new();
        store.owners(&mut |channel, owner, last_ts| {
            kept.push((last_ts, channel, self.account(owner.unwrap_or("unknown"))));
        })?;
        kept.sort_by_key(|(last_ts, ..)| *last_ts);
        for (_, channel, account) in &kept {
            self.map.slots.adopt(channel, account);
        }
        Ok(())
    }

    /// The account of that name.
    pub(crate) fn account(&self, name: &str) -> Arc<Account> {
        match name.is_empty() {
            true => Arc::clone(&self.program),
            false => self.accounts.of(name),
        }
    }

    /// The account that the channel is charged to, or, if it is charged to none, the program's.
    pub(crate) fn owner_of(&self, channel: &ChannelName) -> Arc<Account> {
        self.map.slots.owner(channel).unwrap_or_else(|| Arc::clone(&self.program))
    }

    /// Looks at the log of a channel, which leaves nothing behind if nothing was ever published on
    /// it.
    pub(crate) fn look<T>(&self, name: &ChannelName, look: impl FnOnce(&mut Log, u64) -> T) -> T {
        let Self { options, map, meter, kept, .. } = self;
        if let Backing::Cluster(cluster) = kept {
            return self.look_at(cluster, name, look);
        }
        match map.find(name) {
            Ok(channel) if channel.is_whole() => {
                channel.touch();
                channel.read(options, meter, look)
            }
            Err(floor) if !self.is_kept() => {
                look(&mut Log::new(map.epoch(), floor), options.clock.now())
            }
            _ => {
                let (channel, _) = self.join(name);
                let looked = channel.read(options, meter, look);
                self.leave(&channel);
                looked
            }
        }
    }

    /// The same with a backplane: at what is known of the channel here.
    fn look_at<T>(
        &self,
        cluster: &Cluster,
        name: &ChannelName,
        look: impl FnOnce(&mut Log, u64) -> T,
    ) -> T {
        let Self { options, map, meter, .. } = self;
        // Asked first: all that came up to there is in the channel by then.
        let (place, end) = {
            let known = cluster.hold(name);
            (known.place(), known.ends.of(name))
        };
        match map.find(name) {
            Ok(channel) => {
                channel.touch();
                channel.read(options, meter, |log, now| {
                    log.raise(place);
                    look(log, now)
                })
            }
            Err(_) => {
                let mut log = Log::new(place.epoch, place.offset);
                end.into_iter().for_each(|end| log.end_known(end.offset));
                look(&mut log, options.clock.now())
            }
        }
    }

    /// Whether what is not in memory is kept elsewhere.
    pub(crate) fn is_kept(&self) -> bool {
        !matches!(self.kept, Backing::Here)
    }

    /// Puts a new reader into a channel that was joined, where `locate` says.
    pub(crate) fn enter<T>(&self, channel: &Channel, locate: impl FnOnce(&mut Log, u64) -> T) -> T {
        let place = self.kept.cluster().map(|cluster| cluster.place(&channel.name));
        channel.read(&self.options, &self.meter, |log, now| {
            place.into_iter().for_each(|place| log.raise(place));
            locate(log, now)
        })
    }

    /// The channel, held so that the hub does not let go of it, and read from the store unless it
    /// has been. It may block as long as a disk does.
    ///
    /// The channel is there also after an error, and to be [left](Self::leave) in any case.
    pub(crate) fn join(&self, name: &ChannelName) -> (Arc<Channel>, Result<(), StoreError>) {
        let channel = self.map.join(name, &self.meter);
        channel.touch();
        let restored = self.restore(&channel);
        (channel, restored)
    }

    /// Ends what [`join`](Self::join) began.
    pub(crate) fn leave(&self, channel: &Arc<Channel>) {
        channel.touch();
        self.map.leave(channel, &self.meter);
    }

    /// Whether the channel can be used without asking the store for it.
    pub(crate) fn is_at_hand(&self, name: &ChannelName) -> bool {
        !matches!(self.kept, Backing::Store(_))
            || self.map.find(name).is_ok_and(|channel| channel.is_whole())
    }

    /// Reads the channel from the store unless it has been. Its caller has joined it, or knows that
    /// it does no harm to read it in vain.
    pub(crate) fn restore(&self, channel: &Channel) -> Result<(), StoreError> {
        let Backing::Store(store) = &self.kept else { return Ok(()) };
        if channel.is_whole() {
            return Ok(());
        }
        let restore = || channel.restore(&**store, self);
        // A task that has not loaded the channel beforehand does not keep others from running.
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(restore)?,
            _ => restore()?,
        }
        self.make_room_in_memory();
        Ok(())
    }

    /// What the hub holds.
    pub(crate) fn figures(&self) -> Figures {
        let program = &self.program;
        let is_idle = program.held(Capacity::Bytes) == 0 && program.held(Capacity::Channels) == 0;
        Figures {
            presence_bytes: self.presence.bytes(),
            accounts: self.accounts.count() as u64 - u64::from(is_idle),
            ..self.meter.figures()
        }
    }
}
