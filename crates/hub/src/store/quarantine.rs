//! Quarantine: what a store cannot use any more is kept beside it, for people to look into.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::files;

/// A directory `damaged-…` beside the store, which is made when something is put into it.
#[derive(Debug)]
pub(super) struct Quarantine {
    /// What the store is in.
    dir: PathBuf,
    place: Option<PathBuf>,
}

impl Quarantine {
    pub(super) fn beside(store: &Path) -> io::Result<Self> {
        let dir = store.parent().ok_or(ErrorKind::InvalidInput)?;
        Ok(Self { dir: dir.to_owned(), place: None })
    }

    fn place(&mut self) -> io::Result<&Path> {
        if self.place.is_none() {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut number = since.as_millis();
            let place = loop {
                let place = self.dir.join(format!("damaged-{number}"));
                match files::make_dir(&place) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                    made => break made.map(|()| place)?,
                }
            };
            files::sync_dir(&self.dir)?;
            self.place = Some(place);
        }
        self.place.as_deref().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Copies `bytes` of a file, from `offset` on. What is copied is on disk when this returns.
    pub(super) fn copy(&mut self, path: &Path, offset: u64, bytes: u64) -> io::Result<PathBuf> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let copy = self.place()?.join(format!("{name}.from-{offset}"));
        let copied = copy_piece(path, &copy, offset, bytes);
        if copied.is_err() {
            // Half a copy is of no use, least of all on a disk that is full.
            let _ = fs::remove_file(&copy);
            let _ = self.place.take().map(fs::remove_dir);
        }
        copied.map(|()| copy)
    }

    /// Moves a file or a directory there.
    pub(super) fn take(&mut self, path: &Path) -> io::Result<PathBuf> {
        let place = self.place()?.join(path.file_name().unwrap_or_default());
        fs::rename(path, &place)?;
        place.parent().map_or(Ok(()), files::sync_dir)?;
        path.parent().map_or(Ok(()), files::sync_dir)?;
        Ok(place)
    }
}

fn copy_piece(path: &Path, copy: &Path, offset: u64, bytes: u64) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut to = files::open(copy)?;
    io::copy(&mut file.take(bytes), &mut to)?;
    to.sync_all()?;
    copy.parent().map_or(Ok(()), files::sync_dir)
}

/// The length of a file without the zeroes at its end, in bytes.
pub(super) fn last_byte(path: &Path) -> io::Result<u64> {
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
