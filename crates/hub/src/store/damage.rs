//! Damage: what a crash or a bad disk leaves behind is found out, said, and set aside if need be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Remembers, apart from the store, how many writes were acknowledged. A store that knows of fewer
/// has lost some, be its own files ever so well in order.
///
/// It is not synced. After a power failure it may know of too few, never of too many.
#[derive(Debug)]
pub(super) struct Witness(File);

impl Witness {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(path).map(Self)
    }

    /// Whether more writes were acknowledged.
    pub(super) fn has_seen_more_than(&self, writes: u64) -> io::Result<bool> {
        let mut seen = [0; 8];
        match self.0.read_exact_at(&mut seen, 0) {
            Ok(()) => Ok(u64::from_be_bytes(seen) > writes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// So many writes are acknowledged.
    pub(super) fn saw(&self, writes: u64) {
        // If this fails, a loss may go unseen, which alone is no reason to refuse to work.
        if let Err(error) = self.0.write_all_at(&writes.to_be_bytes(), 0) {
            tracing::debug!(%error, "the number of writes is not noted down");
        }
    }
}

/// How far a journal was written before the store was opened.
pub(super) struct Written {
    journal: PathBuf,
    end: u64,
}

/// How far the newest journal of the store at `path` is written, zeroes at its end not counted.
pub(super) fn written(path: &Path) -> io::Result<Option<Written>> {
    let number = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let mut newest = None;
    for file in fs::read_dir(path)? {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "jnl") {
            newest = newest.max(number(&path).map(|number| (number, path)));
        }
    }
    let end = |(_, journal): (u64, PathBuf)| Ok(Written { end: last_byte(&journal)?, journal });
    newest.map(end).transpose()
}

impl Written {
    /// Says so if the store has cut off the end of the journal since.
    pub(super) fn compare(&self, store: &Path) {
        let now = self.journal.metadata().map_or(self.end, |journal| journal.len());
        if now < self.end {
            tracing::warn!(
                store = %store.display(), bytes = self.end - now,
                "the store ended in the middle of a write: that was cut off"
            );
        }
    }
}

/// The length of a file without the zeroes at its end.
fn last_byte(path: &Path) -> io::Result<u64> {
    static ZEROES: [u8; 256 << 10] = [0; 256 << 10];
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(ZEROES.len() as u64);
        file.seek(SeekFrom::Start(begin))?;
        piece.clear();
        (&file).take(end - begin).read_to_end(&mut piece)?;
        // Compared as a whole first: a new journal is 64 MiB of zeroes.
        if piece != ZEROES[..piece.len()] {
            let last = piece.iter().rposition(|&byte| byte != 0).unwrap_or(0);
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// Moves a store that can not be read out of the way, for whoever wants to look into it.
pub(super) fn set_aside(store: &Path, damage: &fjall::Error) -> io::Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let place = store.with_file_name(format!("damaged-{}", since.as_millis()));
    fs::rename(store, &place)?;
    tracing::error!(
        error = %damage, store = %store.display(), set_aside = %place.display(),
        "the store is damaged beyond repair: it was set aside, and a new one is begun"
    );
    Ok(())
}
