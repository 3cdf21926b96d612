//! The documents of the repository: their links, their language, and the book made of them.

pub(crate) mod book;
pub(crate) mod language;
pub(crate) mod links;
mod markdown;
pub(crate) mod questions;

use std::fs;

use anyhow::{Context as _, Result};

use crate::shell;

/// A file of the repository.
pub(crate) struct Source {
    /// Its path from the root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The files that match one of git's patterns, such as `*.md`: those that are tracked, and new ones that are not
/// ignored.
pub(crate) fn sources(patterns: &[&str]) -> Result<Vec<Source>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "--"];
    let listed = shell::output(shell::command("git", list).args(patterns))?;
    let paths = listed.lines().filter(|path| shell::root().join(path).is_file());
    paths.map(|path| Ok(Source { path: path.to_owned(), text: read(path)? })).collect()
}

/// A file by its path from the root.
fn read(path: &str) -> Result<String> {
    fs::read_to_string(shell::root().join(path)).with_context(|| format!("read {path}"))
}

/// The number of the line that has this byte.
fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte].iter().filter(|byte| **byte == b'\n').count() + 1
}
