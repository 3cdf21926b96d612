//! The file of revocations: a line of JSON for each, and a new file where many of them have become one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::revocations::Revocation;

/// Its name in the directory of `data`.
const NAME: &str = "revoked";
/// How many lines it has at least before it is written anew.
const MANY: usize = 1000;

/// The file, open for what comes next.
#[derive(Debug)]
pub(super) struct RevokedFile {
    path: PathBuf,
    /// `None` until it is written for the first time, and where that failed: then all of them are written.
    file: Option<File>,
    lines: usize,
}

impl RevokedFile {
    /// The file in this directory, and what it has. A line at its end that was not written whole is left out: it was
    /// never acknowledged.
    ///
    /// # Errors
    ///
    /// When it cannot be read; `InvalidData` with the line that is not a revocation.
    #[cfg(feature = "fjall")]
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Vec<Revocation>)> {
        let path = directory.join(NAME);
        // Not as a string: a line may have ended within a character.
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => text.map_err(|error| told(&path, &error))?,
        };
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if end < text.len() {
            tracing::warn!(file = %path.display(), "the last revocation was not written whole, and is left out");
        }
        let mut revocations = Vec::new();
        for (index, line) in text[..end].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let revocation = Revocation::from_json(line).map_err(|error| {
                let error = format!("line {} is not a revocation: {error}", index + 1);
                told(&path, &io::Error::new(io::ErrorKind::InvalidData, error))
            })?;
            revocations.push(revocation);
        }
        let lines = revocations.len();
        Ok((Self { path, file: None, lines }, revocations))
    }

    /// Stores one more; all of them where there are many lines for few.
    pub(super) fn append(
        &mut self,
        revocation: &Revocation,
        all: impl Fn() -> Vec<Revocation>,
    ) -> io::Result<()> {
        if self.lines >= MANY && self.lines.is_multiple_of(MANY) {
            let all = all();
            if self.lines / 2 >= all.len() {
                return self.rewrite(&all);
            }
        }
        let Some(file) = &mut self.file else { return self.rewrite(&all()) };
        let written = file.write_all(&line(revocation)?).and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line may be there: the next time all are written anew.
            self.file = None;
        }
        self.lines += 1;
        written
    }

    /// Writes all of them to a new file, which takes the place of the one that is there.
    fn rewrite(&mut self, all: &[Revocation]) -> io::Result<()> {
        // Until it is done there may be another file of that name than the one that is open.
        self.file = None;
        let new = self.path.with_extension("new");
        let mut text = Vec::new();
        for revocation in all {
            text.extend(line(revocation)?);
        }
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        if let Some(directory) = self.path.parent() {
            sync_directory(directory)?;
        }
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.lines = all.len();
        Ok(())
    }
}

fn line(revocation: &Revocation) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(revocation)?;
    line.push(b'\n');
    Ok(line)
}

/// The new name survives a crash.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
