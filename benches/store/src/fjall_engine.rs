//! fjall: a log-structured merge tree with a journal.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::engine::{Batch, Engine};

pub struct Store {
    database: Database,
    entries: Keyspace,
}

impl Store {
    pub fn open(dir: &Path) -> Result<Self> {
        let database = Database::builder(dir.join("fjall")).cache_size(64 << 20).open()?;
        let entries = database.keyspace("entries", KeyspaceCreateOptions::default)?;
        Ok(Self { database, entries })
    }
}

impl Engine for Store {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut writing = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in &batch.added {
            writing.insert(&self.entries, *key, value.as_slice());
        }
        for [first, end] in &batch.removed {
            for guard in self.entries.range(*first..*end) {
                writing.remove(&self.entries, guard.key()?);
            }
        }
        Ok(writing.commit()?)
    }

    fn read(&mut self, [first, end]: [[u8; 16]; 2]) -> Result<(usize, usize)> {
        let (mut count, mut bytes) = (0, 0);
        for guard in self.entries.range(first..end) {
            count += 1;
            bytes += guard.value()?.len();
        }
        Ok((count, bytes))
    }
}
