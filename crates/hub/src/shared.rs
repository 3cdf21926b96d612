//! What a hub and the thread that writes for it share: the channels, and how they come from a store.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::accounts::{Account, Accounts, Room};
use crate::channel::Channel;
use crate::figures::Figures;
use crate::figures::Meter;
use crate::log::Log;
use crate::presence::Rooms;
use crate::shards::Shards;
use crate::store::{Store, StoreError};
use crate::{ChannelName, Epoch, Options};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) shards: Shards,
    /// Shared with the entries, which may outlive the hub in the hands of a reader.
    pub(crate) meter: Arc<Meter>,
    pub(crate) accounts: Arc<Accounts>,
    /// The program's own account.
    pub(crate) program: Arc<Account>,
    pub(crate) rooms: Rooms,
    /// Where channels are kept, if not in memory alone.
    pub(crate) store: Option<Arc<dyn Store>>,
}

impl Shared {
    pub(crate) fn new(options: Options, store: Option<Arc<dyn Store>>) -> Arc<Self> {
        let epoch = store.as_ref().map_or_else(Epoch::random, |store| store.epoch());
        let shards = Shards::new(epoch, store.is_some(), options.max_channels);
        let meter = Arc::new(Meter::new(&options));
        let accounts = Arc::<Accounts>::default();
        let (program, rooms) = (accounts.of(""), Rooms::new(&options));
        Arc::new(Self { options, shards, meter, accounts, program, rooms, store })
    }

    /// Takes over the channels that the store keeps, in the order in which they were published on.
    /// Those of which it is not known who did so have an account of their own.
    pub(crate) fn adopt(&self) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut kept = Vec::new();
        store.owners(&mut |channel, owner, last_ts| {
            kept.push((last_ts, channel, self.account(owner.unwrap_or("unknown"))));
        })?;
        kept.sort_by_key(|(last_ts, ..)| *last_ts);
        for (_, channel, account) in &kept {
            self.shards.slots.adopt(channel, account);
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
        self.shards.slots.owner(channel).unwrap_or_else(|| Arc::clone(&self.program))
    }

    /// Looks at the log of a channel, which leaves nothing behind if nothing was ever published on
    /// it.
    pub(crate) fn look<T>(&self, name: &ChannelName, look: impl FnOnce(&mut Log, u64) -> T) -> T {
        let Self { options, shards, meter, store, .. } = self;
        match shards.find(name) {
            Ok(channel) if channel.is_ready() => {
                channel.is_used();
                channel.read(options, meter, look)
            }
            Err(floor) if store.is_none() => {
                look(&mut Log::new(shards.epoch(), floor), options.clock.now())
            }
            _ => {
                let (channel, _) = self.join(name);
                let looked = channel.read(options, meter, look);
                self.leave(&channel);
                looked
            }
        }
    }

    /// The channel, held so that the hub does not let go of it, and read from the store unless it
    /// has been. It may block as long as a disk does.
    ///
    /// The channel is there also after an error, and to be [left](Self::leave) in any case.
    pub(crate) fn join(&self, name: &ChannelName) -> (Arc<Channel>, Result<(), StoreError>) {
        let channel = self.shards.join(name, &self.meter);
        channel.is_used();
        let restored = self.restore(&channel);
        (channel, restored)
    }

    /// Ends what [`join`](Self::join) began.
    pub(crate) fn leave(&self, channel: &Arc<Channel>) {
        channel.is_used();
        self.shards.leave(channel, &self.meter);
    }

    /// Whether the channel can be used without asking the store for it.
    pub(crate) fn is_at_hand(&self, name: &ChannelName) -> bool {
        self.store.is_none() || self.shards.find(name).is_ok_and(|channel| channel.is_ready())
    }

    /// Reads the channel from the store unless it has been. Its caller has joined it, or knows that
    /// it does no harm to read it in vain.
    pub(crate) fn restore(&self, channel: &Channel) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        if channel.is_ready() {
            return Ok(());
        }
        let restore = || channel.restore(&**store, self);
        // Whoever has not loaded the channel beforehand does not keep others from running.
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(restore)?,
            _ => restore()?,
        }
        if self.meter.bytes_in_all() > self.options.max_bytes {
            self.shards
                .evict_some(&self.meter, || self.meter.bytes_in_all() > self.options.max_bytes);
        }
        Ok(())
    }

    /// What the hub holds.
    pub(crate) fn figures(&self) -> Figures {
        let program = &self.program;
        let is_idle = program.held(Room::Bytes) == 0 && program.held(Room::Channels) == 0;
        Figures {
            presence_bytes: self.rooms.bytes(),
            accounts: self.accounts.count() as u64 - u64::from(is_idle),
            ..self.meter.figures()
        }
    }
}
