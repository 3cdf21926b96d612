//! redb: a copy-on-write B-tree in one file.

use std::path::Path;

use anyhow::Result;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::engine::{Batch, Engine};

const ENTRIES: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("entries");

pub struct Store {
    database: Database,
    /// Whether each commit writes down which pages are free, so that a start after a crash need not
    /// walk through the file.
    quick_repair: bool,
}

impl Store {
    pub fn open(dir: &Path, quick_repair: bool) -> Result<Self> {
        let database = Database::builder().set_cache_size(64 << 20).create(dir.join("redb"))?;
        Ok(Self { database, quick_repair })
    }
}

impl Engine for Store {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut writing = self.database.begin_write()?;
        writing.set_quick_repair(self.quick_repair);
        {
            let mut entries = writing.open_table(ENTRIES)?;
            for (key, value) in &batch.added {
                entries.insert(key, value.as_slice())?;
            }
            for [first, end] in &batch.removed {
                entries.retain_in::<&[u8; 16], _>(first..end, |_, _| false)?;
            }
        }
        Ok(writing.commit()?)
    }

    fn read(&mut self, [first, end]: [[u8; 16]; 2]) -> Result<(usize, usize)> {
        let entries = self.database.begin_read()?.open_table(ENTRIES)?;
        let (mut count, mut bytes) = (0, 0);
        for entry in entries.range::<&[u8; 16]>(&first..&end)? {
            count += 1;
            bytes += entry?.1.value().len();
        }
        Ok((count, bytes))
    }
}
