//! Whether files have changed since they were read.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
};

/// What some files had in them, as far as to tell whether that has changed: of a secret nothing is kept
/// that says something of it without the key of the hash.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints {
    key: RandomState,
    known: BTreeMap<&'static str, Option<u64>>,
}

impl Fingerprints {
    /// Looks at these files, each of an option; what cannot be read counts as nothing.
    pub(crate) fn of<'p>(files: impl IntoIterator<Item = (&'static str, &'p Path)>) -> Self {
        let mut fingerprints = Self::default();
        fingerprints.look_again(files);
        fingerprints
    }

    /// Looks again, and says of each option whether its file has other content than before.
    pub(crate) fn look_again<'p>(
        &mut self,
        files: impl IntoIterator<Item = (&'static str, &'p Path)>,
    ) -> BTreeMap<&'static str, &'static str> {
        let look = |(option, path)| {
            // What is read from a pipe is not there for others any more.
            let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
            let content = if is_file { fs::read(path).ok() } else { None };
            let now = content.map(|content| self.key.hash_one(content));
            let before = self.known.insert(option, now);
            (option, if before == Some(now) { "unchanged" } else { "changed" })
        };
        files.into_iter().map(look).collect()
    }
}

/// The files that are named.
pub(crate) fn named<'p>(
    files: [(&'static str, Option<&'p PathBuf>); 3],
) -> impl Iterator<Item = (&'static str, &'p Path)> {
    files.into_iter().filter_map(|(option, path)| Some((option, path?.as_path())))
}
