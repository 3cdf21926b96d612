//! How many writes were acknowledged, noted apart from the store: a store that knows of fewer has lost
//! some, however sound its own files are.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;

use super::files;

/// A file with a number.
///
/// It is written after the journal is synced, and is not synced itself: after a power failure it may
/// know of too few writes, never of too many.
#[derive(Debug)]
pub(super) struct WriteCounter(File);

impl WriteCounter {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        files::open(path).map(Self)
    }

    /// How many writes were acknowledged at least.
    pub(super) fn read(&self) -> io::Result<u64> {
        let mut number = [0; 8];
        let mut file = &self.0;
        match file.rewind().and_then(|()| file.read_exact(&mut number)) {
            Ok(()) => Ok(u64::from_be_bytes(number)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Notes that that many writes are acknowledged. Only the thread that writes does so.
    pub(super) fn record(&self, writes: u64) {
        let mut file = &self.0;
        let written = file.rewind().and_then(|()| file.write_all(&writes.to_be_bytes()));
        // If this fails, a loss may go unseen, which alone is no reason to refuse to work.
        if let Err(error) = written {
            tracing::debug!(%error, "the number of writes is not noted down");
        }
    }
}
