//! A draft: what a group of publications will make of one channel, once the store has kept it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::accounts::Account;
use crate::channel::Channel;
use crate::entry::Content;
use crate::log::channel_time;
use crate::publishing::Outcome;
use crate::shared::Shared;
use crate::store::{Change, Head, SavedKey, StoreError};
use crate::{
    ChannelName, Entry, Epoch, EventName, IdempotencyKey, Payload, Position, Publication,
    PublishError, Room, Share,
};

/// A publication on its way to the store.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) channel: ChannelName,
    payload: Payload,
    event: Option<EventName>,
    key: Option<IdempotencyKey>,
    pub(crate) account: Arc<Account>,
    /// What is charged for all of it, in bytes.
    pub(crate) charge: u64,
    publisher: oneshot::Sender<Outcome<Position>>,
}

/// One channel's part of a group. The channel is joined as long as the draft lives.
#[derive(Debug)]
pub(crate) struct Draft {
    channel: Arc<Channel>,
    epoch: Epoch,
    /// Where the log stands then.
    head: Head,
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
    /// Who will be told of which position, if the store keeps it.
    publishers: Vec<(oneshot::Sender<Outcome<Position>>, Position)>,
}

impl Submission {
    /// Copies the publication; gives also where its outcome will be told.
    pub(crate) fn new(
        channel: &ChannelName,
        publication: Publication<'_>,
        account: Arc<Account>,
    ) -> (Self, oneshot::Receiver<Outcome<Position>>) {
        let (publisher, outcome) = oneshot::channel();
        let submission = Self {
            channel: channel.clone(),
            charge: publication.charge_in_all(),
            payload: publication.payload.to_payload(),
            event: publication.event,
            key: publication.key,
            account,
            publisher,
        };
        (submission, outcome)
    }

    pub(crate) fn refuse(self, error: PublishError) {
        // Whoever does not wait does not want to know.
        let _ = self.publisher.send(Err(error));
    }
}

impl Draft {
    /// An empty draft for a channel that was joined.
    pub(crate) fn new(channel: Arc<Channel>) -> Self {
        let (epoch, head) = {
            let state = channel.lock();
            (state.log.end().epoch, state.head())
        };
        Self {
            channel,
            epoch,
            head,
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
        self.entries.is_empty() && !self.channel.lock().lasting
    }

    /// Gives the publication its place, or refuses it; `share` stands in its way, if anything does.
    pub(crate) fn add(&mut self, submission: Submission, share: Share, shared: &Shared) {
        let Shared { options, meter, shards, .. } = shared;
        let now = options.clock.now();
        let mut state = self.channel.lock();
        let _dropped = state.expire(options, meter, now);
        let first = match (state.repeated(submission.key.as_ref()), &submission.key) {
            (None, Some(key)) => self.offsets.get(key).map(|&offset| self.position(offset)),
            (first, _) => first,
        };
        if let Some(position) = first {
            return self.publishers.push((submission.publisher, position));
        }
        let is_new = !state.lasting && self.entries.is_empty();
        let charge = self.charge + submission.charge;
        let surplus = state.surplus(charge, share, options, meter);
        drop(state);
        match surplus {
            Ok(_) if is_new && !shards.slots.take(&self.channel.name, &submission.account) => {
                return submission.refuse(PublishError::Full { room: Room::Channels, share });
            }
            Ok(surplus) => self.surplus = surplus,
            Err(error) => return submission.refuse(error),
        }
        self.append(submission, now, shared);
    }

    fn append(&mut self, submission: Submission, now: u64, shared: &Shared) {
        let Submission { payload, event, key, account, charge, publisher, .. } = submission;
        self.charge += charge;
        self.head.last += 1;
        self.head.last_ts = channel_time(self.head.last_ts, now);
        let Head { last: offset, last_ts: ts, .. } = self.head;
        let position = self.position(offset);
        let content = Content::new(payload, event, account.number);
        let entry = Entry::new(position, ts, content, &shared.meter.forms);
        self.charges.push((account, charge));
        self.head.bytes += entry.charge();
        self.entries.push(Arc::new(entry));
        if let Some(key) = key {
            self.offsets.insert(key.clone(), offset);
            self.keys.push(SavedKey { offset, ts, key });
        }
        self.publishers.push((publisher, position));
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    /// What the store is to be told, if anything.
    pub(crate) fn change(&self) -> Option<Change> {
        (!self.entries.is_empty()).then(|| Change::Save {
            channel: self.channel.name.clone(),
            head: self.head,
            entries: self.entries.clone(),
            keys: self.keys.clone(),
            owner: self.charges.first().map(|(account, _)| Arc::clone(&account.name)),
        })
    }

    /// Ends the draft: what the store has kept is there for everybody, and what it has not reaches
    /// nobody.
    pub(crate) fn settle(mut self, outcome: Result<(), StoreError>, shared: &Shared) {
        match outcome {
            Ok(()) => self.keep(shared),
            // Of a channel that may be kept the slot stays taken.
            Err(StoreError::Unknown) => self.channel.doubt(),
            Err(_) if !self.channel.lock().lasting => {
                shared.shards.slots.free(&self.channel.name);
            }
            Err(_) => {}
        }
        shared.leave(&self.channel);
        for (publisher, position) in self.publishers {
            // Whoever does not wait does not want to know.
            let _ = publisher.send(outcome.map(|()| position).map_err(PublishError::from));
        }
    }

    fn keep(&mut self, shared: &Shared) {
        if self.entries.is_empty() {
            return;
        }
        let Shared { options, meter, .. } = shared;
        let now = options.clock.now();
        let _dropped = {
            let mut state = self.channel.lock();
            let mut dropped = state.log.make_room(self.surplus);
            state.release(&dropped, meter);
            for (account, charge) in &self.charges {
                state.stakes.charge(account, *charge, &self.channel.name);
            }
            let first = self.entries[0].position.offset;
            for SavedKey { offset, ts, key } in self.keys.drain(..) {
                meter.add_key(key.charge());
                let payer = self.entries[(offset - first) as usize].payer();
                state.keys.remember(key, offset, ts, payer);
            }
            for entry in self.entries.drain(..) {
                meter.published(entry.charge());
                state.log.push(entry);
            }
            state.last(meter);
            state.saved = self.head;
            dropped.append(&mut state.expire(options, meter, now));
            dropped
        };
        self.channel.grown.notify_waiters();
    }
}
