//! The store on disk: the rows in a log-structured merge tree with a journal (`fjall`).
//!
//! A write goes to the journal and is synced; the tree is made of it in the background. What a
//! crash cuts off at the end of the journal was not acknowledged.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::compaction::Compaction;
use super::quarantine::Quarantine;
use super::recovery::{Known, recover};
use super::rows::{self, ChannelRow, Malformed, Meta};
use super::write_counter::WriteCounter;
use super::{Change, Listed, OpenError, Saved, Store, StoreError, files};
use crate::{ChannelName, Epoch};

/// Blocks of the tree kept in memory, in bytes.
const CACHE: u64 = 32 << 20;
/// Files of the tree kept open. They come out of the descriptors that a server keeps from its connections.
const OPEN_FILES: usize = 64;
/// What is written between two steps of making the tree, in bytes. A start reads as much of the
/// journal again.
const MEMTABLE: u64 = 16 << 20;
/// What is written to find out whether writing works, in bytes: as much as the largest message by
/// default.
const PROBE: usize = 64 << 10;

/// Channels in a directory.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    epoch: Epoch,
    /// `None` after it failed and could not be opened again.
    tables: RwLock<Option<Tables>>,
    /// What the row about the store says. Only the thread that writes changes it.
    meta: Mutex<Meta>,
    acknowledged: WriteCounter,
    /// Held as long as the directory is used, also while the tables are closed.
    _lock: File,
}

struct Tables {
    compaction: Compaction,
    // Dropped before the database, which waits for all that uses it.
    rows: Keyspace,
    database: Database,
}

impl Disk {
    /// Opens the store in `dir`, which is made if there is none. What a crash left half written is cut
    /// off. A store whose tables cannot be read is set aside, and a new one, in a new epoch, takes its
    /// place.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Io { path: dir.to_owned(), error };
        let lock =
            prepare(dir).map_err(failed)?.ok_or_else(|| OpenError::Locked(dir.to_owned()))?;
        let acknowledged = WriteCounter::open(&dir.join("written")).map_err(failed)?;
        let known = acknowledged.read().map_err(failed)?;
        let path = dir.join("channels");
        let (tables, meta) = match Tables::open(&path, Known::AtStart(known)) {
            Ok(opened) => opened,
            Err(fjall::Error::Locked) => return Err(OpenError::Locked(dir.to_owned())),
            Err(fjall::Error::InvalidVersion(_)) => return Err(OpenError::Version(dir.to_owned())),
            Err(error) => {
                let damage = io_error(error).map_or_else(Ok, |error| Err(failed(error)))?;
                set_aside(&path, &damage).map_err(failed)?;
                let opened = Tables::open(&path, Known::AtStart(0));
                opened.map_err(io::Error::other).map_err(failed)?
            }
        };
        let mut meta = meta.ok_or_else(|| OpenError::Version(dir.to_owned()))?;
        if let Some(lost) = known.checked_sub(meta.writes).filter(|lost| *lost > 0) {
            tracing::error!(
                store = %path.display(), acknowledged = known, lost,
                "acknowledged writes are lost: a new epoch is begun"
            );
            meta.epoch = Epoch::random();
            tables.put(&meta).map_err(io::Error::other).map_err(failed)?;
        }
        acknowledged.record(meta.writes);
        // The names of what was made above.
        files::sync_dir(dir).map_err(failed)?;
        let (tables, epoch) = (RwLock::new(Some(tables)), meta.epoch);
        Ok(Self { path, epoch, tables, meta: Mutex::new(meta), acknowledged, _lock: lock })
    }

    fn tables(&self) -> RwLockReadGuard<'_, Option<Tables>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(&self) -> MutexGuard<'_, Meta> {
        // It is replaced whole.
        self.meta.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads something from the tables, if they are there.
    fn read<T>(
        &self,
        read: impl FnOnce(&Tables) -> Result<T, fjall::Error>,
    ) -> Result<T, StoreError> {
        let tables = self.tables();
        let tables = tables.as_ref().ok_or(StoreError::Failed)?;
        read(tables).map_err(|error| {
            tracing::error!(%error, store = %self.path.display(), "reading failed");
            StoreError::Failed
        })
    }

    /// Writes the changes; when this returns, they are on disk and synced.
    fn commit(&self, changes: &[Change]) -> Result<(), fjall::Error> {
        let mut meta = *self.meta();
        let tables = self.tables();
        let tables = tables.as_ref().ok_or(fjall::Error::Poisoned)?;
        let batch = tables.batch(changes, &mut meta)?;
        // Before it can be seen that a channel is gone.
        self.meta().floor = meta.floor;
        batch.commit()?;
        *self.meta() = meta;
        self.acknowledged.record(meta.writes);
        Ok(())
    }

    /// Closes and opens the tables: after an error they take no more. They have then what was
    /// acknowledged, and nothing else.
    fn reopen(&self) -> Result<(), fjall::Error> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        *tables = None;
        let known = *self.meta();
        let (opened, meta) = Tables::open(&self.path, Known::Running(known.writes))?;
        let meta = meta.ok_or(fjall::Error::Unrecoverable)?;
        if meta.writes != known.writes {
            // To go on would give positions twice. A new start begins a new epoch.
            return Err(fjall::Error::Unrecoverable);
        }
        // What is read back may be in the system's memory alone.
        opened.database.persist(PersistMode::SyncAll)?;
        *tables = Some(opened);
        Ok(())
    }

    /// After `error`: opens the tables again, without the write that failed.
    fn recover(&self, error: &fjall::Error) -> StoreError {
        tracing::error!(%error, store = %self.path.display(), "writing failed");
        match self.reopen() {
            Ok(()) => refusal(error),
            Err(error) => {
                tracing::error!(%error, store = %self.path.display(), "opening again failed");
                StoreError::Unknown
            }
        }
    }
}

/// Makes the directory of the store, and locks it; `None` if another process has.
fn prepare(dir: &Path) -> io::Result<Option<File>> {
    files::create_dir(dir)?;
    let lock = files::open(&dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    files::secure(dir)?;
    Ok(Some(lock))
}

/// Moves a store whose tables cannot be read out of the way.
fn set_aside(store: &Path, damage: &fjall::Error) -> io::Result<()> {
    let set_aside = Quarantine::beside(store)?.take(store)?;
    tracing::error!(
        error = %damage, store = %store.display(), set_aside = %set_aside.display(),
        "the tables of the store cannot be read: it was set aside, and a new one is begun"
    );
    Ok(())
}

impl Store for Disk {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn floor(&self) -> u64 {
        self.meta().floor
    }

    fn channels(&self) -> u64 {
        self.meta().channels
    }

    fn load(&self, channel: &ChannelName) -> Result<Option<Saved>, StoreError> {
        self.read(|tables| tables.load(channel))
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        if self.tables().is_none() {
            self.reopen().map_err(|error| refusal(&error))?;
        }
        let Err(error) = self.commit(changes) else { return Ok(()) };
        match self.recover(&error) {
            // What broke it may have been long ago, in the background.
            StoreError::Failed if matches!(error, fjall::Error::Poisoned) => {
                self.commit(changes).map_err(|error| self.recover(&error))
            }
            failure => Err(failure),
        }
    }

    fn list(&self, after: Option<&ChannelName>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.read(|tables| tables.list(after, limit))
    }

    fn owners(
        &self,
        each: &mut dyn FnMut(ChannelName, Option<&str>, u64),
    ) -> Result<(), StoreError> {
        self.read(|tables| {
            for row in tables.rows.range(rows::CHANNELS[0]..rows::CHANNELS[1]) {
                let (key, value) = row.into_inner()?;
                let ChannelRow { head, owner, .. } = ChannelRow::decode(&value)?;
                each(rows::channel_of_key(&key)?, owner.as_deref(), head.last_ts);
            }
            Ok(())
        })
    }

    fn compact(&self) -> Result<(), StoreError> {
        let bytes = self.meta().bytes;
        self.read(|tables| tables.compaction.step(&tables.rows, bytes))
    }
}

impl Tables {
    /// The tables in a directory, and the row about the store, which is written if it is new;
    /// `None` if it is of another format.
    fn open(path: &Path, known: Known) -> Result<(Self, Option<Meta>), fjall::Error> {
        recover(path, known)?;
        files::create_dir(path)?;
        let database = Database::builder(path).cache_size(CACHE);
        let database = database.max_cached_files(Some(OPEN_FILES)).worker_threads(2).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE);
        let rows = database.keyspace("rows", options)?;
        // `fjall` syncs what is in the directories of trees, and not their names.
        files::sync_dir(&path.join("keyspaces"))?;
        let tables = Self { compaction: Compaction::default(), rows, database };
        if let Some(row) = tables.rows.get(rows::META)? {
            return Ok((tables, Meta::decode(&row)?));
        }
        let meta =
            Meta { epoch: Epoch::random(), floor: 0, next: 0, channels: 0, bytes: 0, writes: 0 };
        tables.put(&meta)?;
        Ok((tables, Some(meta)))
    }

    fn put(&self, meta: &Meta) -> Result<(), fjall::Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.rows, rows::META, meta.encode());
        batch.commit()
    }

    fn channel(&self, channel: &ChannelName) -> Result<Option<ChannelRow>, fjall::Error> {
        let row = self.rows.get(rows::channel_key(channel))?;
        Ok(row.map(|row| ChannelRow::decode(&row)).transpose()?)
    }

    fn load(&self, channel: &ChannelName) -> Result<Option<Saved>, fjall::Error> {
        let Some(ChannelRow { number, head, .. }) = self.channel(channel)? else {
            return Ok(None);
        };
        let mut saved = Saved { head, entries: Vec::new(), keys: Vec::new() };
        if head.start < head.last {
            let first = rows::entry_key(number, head.start + 1);
            for row in self.rows.range(first..=rows::entry_key(number, head.last)) {
                let (key, value) = row.into_inner()?;
                saved.entries.push(rows::decode_entry(&key, &value)?);
            }
        }
        if head.keys_start < head.last {
            let first = rows::idempotency_key(number, head.keys_start + 1);
            for row in self.rows.range(first..=rows::idempotency_key(number, head.last)) {
                let (key, value) = row.into_inner()?;
                saved.keys.push(rows::decode_key(&key, &value)?);
            }
        }
        Ok(Some(saved))
    }

    fn list(&self, after: Option<&ChannelName>, limit: usize) -> Result<Vec<Listed>, fjall::Error> {
        // Behind a name comes first the name with a zero at its end, which is none.
        let first = after.map_or(rows::CHANNELS[0].to_vec(), |name| {
            [&rows::channel_key(name)[..], &[0]].concat()
        });
        let channels = self.rows.range(first..rows::CHANNELS[1].to_vec()).take(limit);
        channels.map(|row| self.listed(row.into_inner()?)).collect()
    }

    fn listed(&self, (key, value): fjall::KvPair) -> Result<Listed, fjall::Error> {
        let ChannelRow { number, head, .. } = ChannelRow::decode(&value)?;
        let oldest = |kind: fn(u64, u64) -> [u8; 17], start: u64| {
            if start >= head.last {
                return Ok(None);
            }
            let mut rows = self.rows.range(kind(number, start + 1)..=kind(number, head.last));
            let oldest = rows.next().map(fjall::Guard::value).transpose()?;
            Ok::<_, fjall::Error>(oldest.map(|row| rows::timestamp(&row)).transpose()?)
        };
        Ok(Listed {
            channel: rows::channel_of_key(&key)?,
            oldest: oldest(rows::entry_key, head.start)?,
            oldest_key: oldest(rows::idempotency_key, head.keys_start)?,
            ended: head.ended.then_some(head.last_ts),
        })
    }
}

/// Writing.
impl Tables {
    /// The changes as rows, and what the row about the store is after them.
    fn batch(&self, changes: &[Change], meta: &mut Meta) -> Result<OwnedWriteBatch, fjall::Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for change in changes {
            match change {
                Change::Save { .. } => self.save(&mut batch, change, meta)?,
                Change::Remove(channel) => self.remove(&mut batch, channel, meta)?,
            }
        }
        if changes.is_empty() {
            batch.insert(&self.rows, rows::PROBE, [0; PROBE]);
        }
        meta.writes += 1;
        batch.insert(&self.rows, rows::META, meta.encode());
        Ok(batch)
    }

    fn save(
        &self,
        batch: &mut OwnedWriteBatch,
        change: &Change,
        meta: &mut Meta,
    ) -> Result<(), fjall::Error> {
        let Change::Save { channel, head, entries, keys, owner } = change else { return Ok(()) };
        let (number, owner) = match self.channel(channel)? {
            Some(old) => {
                for offset in old.head.start + 1..=head.start.min(old.head.last) {
                    batch.remove(&self.rows, rows::entry_key(old.number, offset));
                }
                // Most channels never have any, and a look for some takes as long as writing several entries.
                if old.head.keys_start < old.head.last {
                    let first = rows::idempotency_key(old.number, old.head.keys_start);
                    for row in
                        self.rows.range(first..=rows::idempotency_key(old.number, head.keys_start))
                    {
                        batch.remove(&self.rows, row.key()?);
                    }
                }
                meta.bytes = meta.bytes.saturating_sub(old.head.bytes);
                (old.number, old.owner)
            }
            None => {
                meta.next += 1;
                meta.channels += 1;
                (meta.next, owner.as_deref().map(Box::from))
            }
        };
        meta.bytes += head.bytes;
        for entry in entries {
            let key = rows::entry_key(number, entry.position.offset);
            batch.insert(&self.rows, key, rows::encode_entry(entry));
        }
        for key in keys {
            let row = rows::encode_key(key);
            batch.insert(&self.rows, rows::idempotency_key(number, key.offset), row);
        }
        let row = ChannelRow { number, head: *head, owner };
        batch.insert(&self.rows, rows::channel_key(channel), row.encode());
        Ok(())
    }

    fn remove(
        &self,
        batch: &mut OwnedWriteBatch,
        channel: &ChannelName,
        meta: &mut Meta,
    ) -> Result<(), fjall::Error> {
        let Some(ChannelRow { number, head, .. }) = self.channel(channel)? else { return Ok(()) };
        let [entries, keys] = [rows::entry_key, rows::idempotency_key];
        for kind in [entries, keys] {
            for row in self.rows.range(kind(number, 0)..=kind(number, u64::MAX)) {
                batch.remove(&self.rows, row.key()?);
            }
        }
        batch.remove(&self.rows, rows::channel_key(channel));
        meta.floor = meta.floor.max(head.last);
        meta.bytes = meta.bytes.saturating_sub(head.bytes);
        meta.channels = meta.channels.saturating_sub(1);
        Ok(())
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tables")
    }
}

impl From<Malformed> for fjall::Error {
    fn from(_: Malformed) -> Self {
        Self::Unrecoverable
    }
}

/// The system's error behind this one, if that is what it is.
fn io_error(error: fjall::Error) -> Result<io::Error, fjall::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))
            // What is missing or too short is damage, not a system that refuses.
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData
            ) =>
        {
            Ok(error)
        }
        error => Err(error),
    }
}

fn is_full(error: &fjall::Error) -> bool {
    let (fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))) = error
    else {
        return false;
    };
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

fn refusal(error: &fjall::Error) -> StoreError {
    if is_full(error) { StoreError::NoSpace } else { StoreError::Failed }
}
