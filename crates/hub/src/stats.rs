//! What the hub holds, in numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::log::{Dropped, FormCache, Log};
use crate::{Entry, Options, Position};

/// What publications may be charged for that wait for the store, or the backplane, in bytes: beyond it the disk, or
/// the engine, does not keep up.
pub const MAX_QUEUED_BYTES: u64 = 64 << 20;

/// What a hub holds at a moment, for a metrics page. The numbers are read one after another, so
/// under load they may be some entries apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Channels the hub remembers: with entries, with readers, or with neither but an offset to go
    /// on from.
    pub channels: u64,
    /// Readers that are open.
    pub readers: u64,
    /// Entries in all logs.
    pub entries: u64,
    /// What these are charged for, in bytes (see [`Entry::charge`](crate::Entry::charge)).
    pub bytes: u64,
    /// What wire forms that are kept are charged for, in bytes: each its own and
    /// [`FORM_OVERHEAD`](crate::FORM_OVERHEAD). See [`Entry::form`](crate::Entry::form).
    pub form_bytes: u64,
    /// Wire forms that were made for one reader alone because
    /// [`Options::max_form_bytes`](crate::Options::max_form_bytes) was reached, since the hub began.
    pub forms_not_kept: u64,
    /// What idempotency keys that are remembered are charged for, in bytes.
    pub key_bytes: u64,
    /// What presence is charged for, in bytes (see
    /// [`Options::max_presence_bytes`](crate::Options::max_presence_bytes)).
    pub presence_bytes: u64,
    /// What publications are charged for that wait for the store or the backplane, in bytes. With
    /// [`MAX_QUEUED_BYTES`] of them further ones are refused ([`PublishError::Busy`](crate::PublishError::Busy)).
    pub queued_bytes: u64,
    /// Entries published since the hub began.
    pub published: u64,
    /// Accounts that hold something.
    pub accounts: u64,
    /// Channels that made room for accounts that hold less, since the hub began.
    pub evicted_channels: u64,
    /// The same of entries of channels that stayed.
    pub evicted_entries: u64,
    /// The same of idempotency keys of channels that stayed.
    pub evicted_keys: u64,
}

/// What a hub has in memory of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelFigures {
    /// Where the channel is: the position of its last entry, also if that is not kept any more.
    pub at: Position,
    /// Entries that are kept.
    pub entries: u64,
    /// What these are charged for, in bytes (see [`Entry::charge`](crate::Entry::charge)).
    pub bytes: u64,
    /// When the last entry was published, in milliseconds since the Unix epoch; `None` if nothing is known of one.
    pub last_ts: Option<u64>,
    /// Whether the channel has ended.
    pub ended: bool,
}

/// What one account holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holdings {
    /// Channels that it published on first.
    pub channels: u64,
    /// Bytes in memory of entries and idempotency keys that it published.
    pub bytes: u64,
}

/// What makes room for accounts that hold less.
#[derive(Clone, Copy)]
pub(crate) enum Evicted {
    Channels,
    Messages,
    Keys,
}

/// The counters behind [`Figures`]. They order nothing, so all of them are relaxed.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) channels: AtomicU64,
    /// Those of the channels that something was published on.
    pub(crate) persistent: AtomicU64,
    pub(crate) readers: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    pub(crate) forms: FormCache,
    key_bytes: AtomicU64,
    published: AtomicU64,
    evicted: [AtomicU64; 3],
}

impl Meter {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            channels: AtomicU64::new(0),
            persistent: AtomicU64::new(0),
            readers: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            forms: FormCache::new(options.form_budget()),
            key_bytes: AtomicU64::new(0),
            published: AtomicU64::new(0),
            evicted: Default::default(),
        }
    }

    pub(crate) fn published(&self, charge: u64) {
        self.entries.fetch_add(1, Relaxed);
        self.bytes.fetch_add(charge, Relaxed);
        self.published.fetch_add(1, Relaxed);
    }

    /// Counts in an entry in whose place another one is counted out, under the lock under which that was counted in.
    pub(crate) fn exchanged(&self, charge: u64, dropped: u64) {
        self.bytes.fetch_add(charge.wrapping_sub(dropped), Relaxed);
        self.published.fetch_add(1, Relaxed);
    }

    /// Counts in entries that were published long ago.
    pub(crate) fn restored<'a>(&self, entries: impl IntoIterator<Item = &'a Arc<Entry>>) {
        for entry in entries {
            self.entries.fetch_add(1, Relaxed);
            self.bytes.fetch_add(entry.charge(), Relaxed);
        }
    }

    /// Counts entries out. To be called under the lock under which they were counted in, so that
    /// no sum is ever below zero.
    pub(crate) fn dropped(&self, entries: &Dropped) {
        let add = |(count, bytes), entry: &Arc<Entry>| (count + 1, bytes + entry.charge());
        let (count, bytes) = entries.iter().fold((0, 0), add);
        self.entries.fetch_sub(count, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Counts out all entries of a log, without a look at each.
    pub(crate) fn dropped_all(&self, log: &Log) {
        self.entries.fetch_sub(log.len() as u64, Relaxed);
        self.bytes.fetch_sub(log.bytes(), Relaxed);
    }

    pub(crate) fn add_key(&self, charge: u64) {
        self.key_bytes.fetch_add(charge, Relaxed);
    }

    pub(crate) fn remove_keys(&self, charge: u64) {
        self.key_bytes.fetch_sub(charge, Relaxed);
    }

    /// What counts against the hub's bound of bytes: what was published. What is made of it for the
    /// wire does not, so no reader is a reason to refuse a publication.
    pub(crate) fn bytes_in_all(&self) -> u64 {
        self.bytes.load(Relaxed) + self.key_bytes.load(Relaxed)
    }

    pub(crate) fn evicted(&self, what: Evicted, count: usize) {
        self.evicted[what as usize].fetch_add(count as u64, Relaxed);
    }

    /// All that is counted here.
    pub(crate) fn figures(&self) -> Figures {
        let evicted = |what: Evicted| self.evicted[what as usize].load(Relaxed);
        Figures {
            channels: self.channels.load(Relaxed),
            readers: self.readers.load(Relaxed),
            entries: self.entries.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            form_bytes: self.forms.bytes(),
            forms_not_kept: self.forms.not_kept(),
            key_bytes: self.key_bytes.load(Relaxed),
            published: self.published.load(Relaxed),
            evicted_channels: evicted(Evicted::Channels),
            evicted_entries: evicted(Evicted::Messages),
            evicted_keys: evicted(Evicted::Keys),
            ..Figures::default()
        }
    }
}
