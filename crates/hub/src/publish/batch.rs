//! A batch: what a group of publications will make of one channel, once the store has kept it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::accounts::Account;
use crate::channels::Channel;
use crate::channels::Registry;
use crate::log::channel_time;
use crate::log::{Content, Dropped};
use crate::publish::Outcome;
use crate::store::{Change, Head, SavedKey, StoreError};
use crate::{
    Capacity, ChannelName, Entry, Epoch, EventName, IdempotencyKey, Payload, Position, Publication,
    PublishError, Share,
};

/// A publication on its way to the store.
#[derive(Debug)]
pub(crate) struct PendingPublish {
    pub(crate) channel: ChannelName,
    /// `None` ends the channel.
    payload: Option<Payload>,
    event: Option<EventName>,
    key: Option<IdempotencyKey>,
    pub(crate) account: Arc<Account>,
    /// What is charged for all of it, in bytes.
    pub(crate) charge: u64,
    publisher: oneshot::Sender<Outcome<Position>>,
}

/// One channel's part of a group. The channel is joined as long as the batch lives.
#[derive(Debug)]
pub(crate) struct ChannelBatch {
    channel: Arc<Channel>,
    epoch: Epoch,
    /// Where the log stands then.
    head: Head,
    /// Whether this ends the channel.
    is_end: bool,
    entries: Vec<Arc<Entry>>,
    keys: Vec<SavedKey>,
    /// The accounts of the entries, and what each is charged for entry and key, in bytes.
    charges: Vec<(Arc<Account>, u64)>,
    /// The offsets of the keys.
    offsets: HashMap<IdempotencyKey, u64>,
    /// What is charged for entries and keys, in bytes.
    charge: u64,
    /// How much of the history has to go for that, in bytes.
    surplus: u64,
    /// The publishers and the positions that they are told, if the store keeps it.
    publishers: Vec<(oneshot::Sender<Outcome<Position>>, Position)>,
}

impl PendingPublish {
    /// Copies the publication; gives also where its outcome will be told.
    pub(crate) fn new(
        channel: &ChannelName,
        publication: Publication<'_>,
        account: Arc<Account>,
    ) -> (Self, oneshot::Receiver<Outcome<Position>>) {
        let (publisher, outcome) = oneshot::channel();
        let pending = Self {
            channel: channel.clone(),
            charge: publication.charge_in_all(),
            payload: Some(publication.payload.to_payload()),
            event: publication.event,
            key: publication.key,
            account,
            publisher,
        };
        (pending, outcome)
    }

    /// The end of the channel.
    pub(crate) fn end(
        channel: &ChannelName,
        account: Arc<Account>,
    ) -> (Self, oneshot::Receiver<Outcome<Position>>) {
        let (publisher, outcome) = oneshot::channel();
        let channel = channel.clone();
        let (payload, event, key, charge) = (None, None, None, 0);
        (Self { channel, payload, event, key, account, charge, publisher }, outcome)
    }

    pub(crate) fn refuse(self, error: PublishError) {
        // A publisher that does not wait does not want to know.
        let _ = self.publisher.send(Err(error));
    }
}

impl ChannelBatch {
    /// An empty batch for a channel that was joined.
    pub(crate) fn new(channel: Arc<Channel>) -> Self {
        let (epoch, head) = {
            let state = channel.lock();
            (state.log.end().epoch, state.head())
        };
        Self {
            channel,
            epoch,
            head,
            is_end: false,
            entries: Vec::new(),
            keys: Vec::new(),
            charges: Vec::new(),
            offsets: HashMap::new(),
            charge: 0,
            surplus: 0,
            publishers: Vec::new(),
        }
    }

    /// What is charged for what was added so far, in bytes.
    pub(crate) fn charge(&self) -> u64 {
        self.charge
    }

    /// Whether the channel is one that nothing was published on, this included.
    pub(crate) fn is_new(&self) -> bool {
        self.adds_nothing() && !self.channel.lock().persistent
    }

    /// Whether nothing was added.
    fn adds_nothing(&self) -> bool {
        self.entries.is_empty() && !self.is_end
    }

    /// Gives the publication its place, or refuses it; `share` stands in its way, if anything does.
    pub(crate) fn add(&mut self, pending: PendingPublish, share: Share, registry: &Registry) {
        let Registry { options, meter, map, .. } = registry;
        let now = options.clock.now();
        let mut state = self.channel.lock();
        let _dropped = state.expire(options.history_of(&self.channel.name), meter, now);
        let first = match (state.repeated(pending.key.as_ref()), &pending.key) {
            (None, Some(key)) => self.offsets.get(key).map(|&offset| self.position(offset)),
            (first, _) => first,
        };
        if let Some(position) = first {
            return self.publishers.push((pending.publisher, position));
        }
        if self.head.ended {
            return match pending.payload {
                None => self.publishers.push((pending.publisher, self.position(self.head.last))),
                Some(_) => pending.refuse(PublishError::Ended),
            };
        }
        let is_new = !state.persistent && self.adds_nothing();
        let charge = self.charge + pending.charge;
        let surplus = match pending.payload {
            Some(_) => state.surplus(charge, share, options, meter),
            None => Ok(self.surplus),
        };
        drop(state);
        match surplus {
            Ok(_) if is_new && !map.slots.take(&self.channel.name, &pending.account) => {
                return pending.refuse(PublishError::Full { capacity: Capacity::Channels, share });
            }
            Ok(surplus) => self.surplus = surplus,
            Err(error) => return pending.refuse(error),
        }
        self.append(pending, now, registry);
    }

    fn append(&mut self, pending: PendingPublish, now: u64, registry: &Registry) {
        let PendingPublish { payload, event, key, account, charge, publisher, .. } = pending;
        let payer = account.number;
        self.charge += charge;
        // Where no key is remembered, that is so behind this one, too.
        if key.is_none() && self.head.keys_start == self.head.last {
            self.head.keys_start += 1;
        }
        self.head.last += 1;
        self.head.last_ts = channel_time(self.head.last_ts, now);
        let Head { last: offset, last_ts: ts, .. } = self.head;
        let position = self.position(offset);
        self.charges.push((account, charge));
        self.publishers.push((publisher, position));
        let Some(payload) = payload else {
            (self.is_end, self.head.ended) = (true, true);
            return;
        };
        let content = Content::new(payload, event, payer);
        let entry = Entry::new(position, ts, content, &registry.meter.forms);
        self.head.bytes += entry.charge();
        self.entries.push(Arc::new(entry));
        if let Some(key) = key {
            self.offsets.insert(key.clone(), offset);
            self.keys.push(SavedKey { offset, ts, key });
        }
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    /// What the store is to be told, if anything.
    pub(crate) fn change(&self) -> Option<Change> {
        (!self.adds_nothing()).then(|| Change::Save {
            channel: self.channel.name.clone(),
            head: self.head,
            entries: self.entries.clone(),
            keys: self.keys.clone(),
            owner: self.charges.first().map(|(account, _)| Arc::clone(&account.name)),
        })
    }

    /// Ends the batch: what the store has kept is there for all readers, and what it has not reaches
    /// none.
    pub(crate) fn settle(mut self, outcome: Result<(), StoreError>, registry: &Registry) {
        match outcome {
            Ok(()) => self.keep(registry),
            // Of a channel that may be kept the slot stays taken.
            Err(StoreError::Unknown) => self.channel.invalidate(),
            Err(_) if !self.channel.lock().persistent => {
                registry.map.slots.free(&self.channel.name);
            }
            Err(_) => {}
        }
        registry.leave(&self.channel);
        for (publisher, position) in self.publishers {
            // A publisher that does not wait does not want to know.
            let _ = publisher.send(outcome.map(|()| position).map_err(PublishError::from));
        }
    }

    fn keep(&mut self, registry: &Registry) {
        if self.adds_nothing() {
            return;
        }
        let Registry { options, meter, .. } = registry;
        let now = options.clock.now();
        let _dropped = {
            let mut state = self.channel.lock();
            let mut dropped = Dropped::default();
            state.log.make_room(self.surplus, &mut dropped);
            state.release(&dropped, meter);
            for (account, charge) in self.charges.iter().filter(|(_, charge)| *charge > 0) {
                state.stakes.charge(account, *charge, &self.channel.name);
            }
            let first = self.entries.first().map_or(0, |first| first.position.offset);
            for SavedKey { offset, ts, key } in self.keys.drain(..) {
                meter.add_key(key.charge());
                let payer = self.entries[(offset - first) as usize].payer();
                state.keys.remember(key, offset, ts, payer);
            }
            for entry in self.entries.drain(..) {
                meter.published(entry.charge());
                state.log.push(entry);
            }
            if self.is_end {
                state.log.end_at(self.head.last, self.head.last_ts);
            }
            state.mark_persistent(meter);
            state.saved = self.head;
            dropped.append(state.expire(options.history_of(&self.channel.name), meter, now));
            dropped
        };
        self.channel.grown.notify_waiters();
    }
}
