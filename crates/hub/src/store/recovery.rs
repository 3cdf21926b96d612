//! Recovery: what a crash or a bad disk left of a store is made fit to be opened, before `fjall` sees
//! it.
//!
//! `fjall` refuses a whole store for one bad batch in a journal or for a missing lock file, and deletes
//! tables that it believes unused. Here a journal is cut behind its last whole batch, and what
//! can be made again is made again. Everything that is taken away is set aside first. Each step can be
//! interrupted, and is done again by the next start.

use std::fs::{self, File, FileType, TryLockError};
use std::io::{self, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use super::files;
use super::journal::{self, End};
use super::quarantine::{Quarantine, last_byte};

/// The beginning of the version marker, and all of it.
const VERSION: (&[u8], &[u8]) = (b"FJL", b"FJL\x03");
/// The length of the file that names the current version of a tree: number, checksum, its kind.
const CURRENT: u64 = 8 + 16 + 1;
/// The length of what tables and versions end with.
const TRAILER: u64 = 38;

/// What is known of a store that is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// How many writes were acknowledged at least, before the program started.
    AtStart(u64),
    /// How many were acknowledged by this program. What else is in the journal was refused, and goes:
    /// after a sync that failed it may look whole and be on no disk.
    Running(u64),
}

/// Makes the store at `path` fit to be opened, if there is one.
///
/// # Errors
///
/// `Locked` if another process uses it, `Unrecoverable` if its tables cannot be found, and those of the
/// system.
pub(super) fn recover(path: &Path, known: Known) -> Result<(), fjall::Error> {
    if !path.is_dir() {
        return Ok(());
    }
    // A journal that is being written is not cut.
    let _lock = lock(&path.join("lock"))?;
    let mut recovery = Recovery { store: path, aside: Quarantine::beside(path)?, known };
    let has_batches = recovery.journals()?;
    recovery.tables(has_batches)?;
    files::sync_dir(path)?;
    Ok(())
}

/// The store's lock, whose file is made again if it is missing.
fn lock(path: &Path) -> Result<File, fjall::Error> {
    let file = files::open(path)?;
    for attempt in 0.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(error.into()),
            // A database that was just dropped lets go of it a little later.
            Err(TryLockError::WouldBlock) if attempt < 3 => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(TryLockError::WouldBlock) => return Err(fjall::Error::Locked),
        }
    }
    Ok(file)
}

struct Recovery<'a> {
    store: &'a Path,
    aside: Quarantine,
    known: Known,
}

/// The journals.
impl Recovery<'_> {
    /// Cuts the journals behind the last whole batch. Whether there is any.
    fn journals(&mut self) -> io::Result<bool> {
        let limit = match self.known {
            Known::AtStart(_) => None,
            Known::Running(acknowledged) => Some(acknowledged),
        };
        let journals = self.list()?;
        let mut end = End::default();
        let mut has_batches = false;
        for (nth, journal) in journals.iter().enumerate() {
            let file = BufReader::with_capacity(64 << 10, File::open(journal)?);
            end = journal::read(file, end, limit)?;
            has_batches |= end.batches > 0;
            let written = last_byte(journal)?;
            if written > end.offset {
                // The newest first: whenever this is interrupted, none is left behind a hole.
                journals[nth + 1..].iter().rev().try_for_each(|later| self.drop_whole(later))?;
                self.cut(journal, nth, end, written)?;
                break;
            }
        }
        Ok(has_batches)
    }

    /// Sets a journal aside that builds upon what is missing.
    fn drop_whole(&mut self, journal: &Path) -> io::Result<()> {
        let bytes = last_byte(journal)?;
        if bytes == 0 {
            return fs::remove_file(journal);
        }
        let set_aside = self.aside.take(journal)?;
        tracing::warn!(
            journal = %journal.display(), bytes, set_aside = %set_aside.display(),
            "a journal follows one that is damaged: it was set aside"
        );
        Ok(())
    }

    /// The journals, oldest first.
    fn list(&mut self) -> io::Result<Vec<PathBuf>> {
        let looks_like_one = |name: &Path| {
            let ending = name.extension();
            name.to_str().is_none() || ending.is_some_and(|end| end.eq_ignore_ascii_case("jnl"))
        };
        let mut journals = self.numbered(self.store, ".jnl", FileType::is_file, looks_like_one)?;
        journals.sort();
        Ok(journals.into_iter().map(|(_, path)| path).collect())
    }

    /// What is called by a number in a directory. What is not, and is not `of_interest` by its name
    /// either, is left alone; the rest is set aside, for it would keep `fjall` from opening the store.
    fn numbered(
        &mut self,
        dir: &Path,
        ending: &str,
        kind: fn(&FileType) -> bool,
        of_interest: impl Fn(&Path) -> bool,
    ) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut numbered = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            let number = name.to_str().and_then(|name| name.strip_suffix(ending)?.parse().ok());
            match number {
                Some(number) if kind(&entry.file_type()?) => numbered.push((number, path)),
                _ if of_interest(Path::new(&name)) => {
                    let set_aside = self.aside.take(&path)?;
                    tracing::warn!(
                        file = %path.display(), set_aside = %set_aside.display(),
                        "a file is none of the store's, and was set aside"
                    );
                }
                _ => {}
            }
        }
        Ok(numbered)
    }

    /// Cuts a journal, the nth, off at `end`; it is written up to `written`.
    fn cut(&mut self, journal: &Path, nth: usize, end: End, written: u64) -> io::Result<()> {
        let bytes = written - end.offset;
        let set_aside = match (self.known, end.writes) {
            // What a failed write of this program left was refused.
            (Known::Running(acknowledged), writes) if writes.is_none_or(|n| n >= acknowledged) => {
                None
            }
            // Nothing acknowledged is cut off, so a disk that is full is no reason not to start.
            (Known::AtStart(acknowledged), Some(writes)) if writes >= acknowledged => {
                self.aside.copy(journal, end.offset, bytes).ok()
            }
            _ => Some(self.aside.copy(journal, end.offset, bytes)?),
        };
        if end.batches == 0 && nth > 0 {
            // The one before it goes on: the next batch may follow from tables that know more than
            // any journal does, and the count of writes is compared between files.
            fs::remove_file(journal)?;
        } else {
            let file = File::options().write(true).open(journal)?;
            file.set_len(end.offset)?;
            file.sync_all()?;
        }
        files::sync_dir(self.store)?;
        if let (Known::Running(_), None) = (self.known, &set_aside) {
            tracing::debug!(journal = %journal.display(), bytes, "a refused write was cut off");
            return Ok(());
        }
        tracing::warn!(
            journal = %journal.display(), offset = end.offset, bytes,
            set_aside = set_aside.map(|path| path.display().to_string()),
            "the journal ended in the middle of a write: that was cut off"
        );
        Ok(())
    }
}

/// What `fjall` needs beside the journals.
impl Recovery<'_> {
    fn tables(&mut self, has_batches: bool) -> Result<(), fjall::Error> {
        let keyspaces = self.store.join("keyspaces");
        let trees = match keyspaces.is_dir() {
            true => self.numbered(&keyspaces, "", FileType::is_dir, |_| true)?,
            false => Vec::new(),
        };
        let trees: Vec<_> = trees.into_iter().map(|(_, path)| path).collect();
        let mut is_used = has_batches;
        for tree in &trees {
            let tables = match tree.join("tables") {
                tables if tables.is_dir() => {
                    self.numbered(&tables, "", FileType::is_file, |_| true)?
                }
                _ => Vec::new(),
            };
            self.take_short_tables(&tables)?;
            is_used |= !tables.is_empty();
            if !tables.is_empty() && !has_current(tree) {
                restore_current(tree)?;
            }
        }
        self.version(is_used)?;
        if !is_used {
            return Ok(files::create_dir(&keyspaces)?);
        }
        // The tree of names and the one of rows. Without the first, `fjall` deletes the second.
        match trees.iter().filter(|tree| has_current(tree)).count() {
            0 | 1 => Err(fjall::Error::Unrecoverable),
            _ => Ok(()),
        }
    }

    /// Sets aside files that are too short to be tables. A crash leaves one where a table was begun:
    /// no version names it yet, and what goes into it is still in the journal. If a version does name
    /// it, `fjall` misses it and says so.
    fn take_short_tables(&mut self, tables: &[(u64, PathBuf)]) -> io::Result<()> {
        for (_, table) in tables.iter().filter(|(_, table)| is_too_short(table)) {
            let set_aside = match self.aside.take(table) {
                Ok(set_aside) => Some(set_aside.display().to_string()),
                // It holds nothing, so a disk that is full is no reason not to start.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    fs::remove_file(table)?;
                    None
                }
                Err(error) => return Err(error),
            };
            tracing::warn!(
                table = %table.display(), set_aside,
                "a table was begun and not written: it was taken out of the store"
            );
        }
        Ok(())
    }

    /// Makes the version marker again if it is missing or is none.
    fn version(&mut self, is_used: bool) -> io::Result<()> {
        let path = self.store.join("version");
        match fs::read(&path) {
            Ok(marker) if marker.len() >= VERSION.1.len() && marker.starts_with(VERSION.0) => {
                return Ok(());
            }
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if is_used {
            tracing::warn!(file = %path.display(), "a file of the store was missing: it was made again");
            return files::write(&path, VERSION.1);
        }
        // The power failed while the store was made, before anything was in it.
        self.list()?.iter().try_for_each(fs::remove_file)
    }
}

/// Whether a file is too short to be a table or a version. The error of `fjall` would be one of the
/// system's.
fn is_too_short(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() < TRAILER)
}

/// Whether it is known which version of a tree is the current one.
fn has_current(tree: &Path) -> bool {
    let Ok(current) = fs::read(tree.join("current")) else { return false };
    let version = current.first_chunk().map(|number| u64::from_le_bytes(*number));
    current.len() as u64 == CURRENT
        && version
            .map(|version| tree.join(format!("v{version}")))
            .is_some_and(|version| version.is_file() && !is_too_short(&version))
}

/// Makes the newest version of a tree the current one, if there is any.
fn restore_current(tree: &Path) -> io::Result<()> {
    let mut newest = None;
    for entry in fs::read_dir(tree)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix('v'));
        newest = newest.max(number.and_then(|number| number.parse::<u64>().ok()));
    }
    let Some(version) = newest else { return Ok(()) };
    let checksum = xxh3_128(&fs::read(tree.join(format!("v{version}")))?);
    let path = tree.join("current");
    tracing::warn!(file = %path.display(), "a file of the store was missing: it was made again");
    files::write(&path, &[&version.to_le_bytes()[..], &checksum.to_le_bytes(), &[0]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, Disk, Head, Store};

    #[test]
    fn a_write_that_was_refused_is_gone_though_it_is_whole_in_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("channels");
        let changes = |last| {
            let head = Head { start: last, last, ..Head::default() };
            let channel = "chat".parse().unwrap();
            [Change::Save { channel, head, entries: Vec::new(), keys: Vec::new(), owner: None }]
        };
        let store = Disk::open(dir.path()).unwrap();
        store.write(&changes(1)).unwrap();
        store.write(&changes(2)).unwrap();
        drop(store);
        // Only the first is known to be on disk.
        recover(&path, Known::Running(1)).unwrap();
        fs::remove_file(dir.path().join("written")).unwrap();
        let store = Disk::open(dir.path()).unwrap();
        assert_eq!(store.load(&"chat".parse().unwrap()).unwrap().unwrap().head.last, 1);
        let files = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
        assert_eq!(files.filter(|name| name.to_string_lossy().starts_with("damaged")).count(), 0);
    }
}
