//! Data directories as a crash or a bad disk leaves them.

use std::fs;
use std::path::{Path, PathBuf};

use sockeye_hub::{Hub, Options, Publication, Start};
use tempfile::TempDir;

use crate::{name, texts};

/// A directory on a file system in memory, if there is one: the tests sync often.
pub(crate) fn memory_dir() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A data directory in memory: its files, and the journals without the zeroes at their ends.
#[derive(Clone)]
pub(crate) struct Image(pub(crate) Vec<(PathBuf, Vec<u8>)>);

impl Image {
    pub(crate) fn of(dir: &Path) -> Self {
        let mut files = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(parent) = dirs.pop() {
            for entry in fs::read_dir(parent).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let mut bytes = fs::read(&path).unwrap();
                if path.extension().is_some_and(|ending| ending == "jnl") {
                    bytes.truncate(written(&bytes));
                }
                files.push((path.strip_prefix(dir).unwrap().to_owned(), bytes));
            }
        }
        Self(files)
    }

    pub(crate) fn write_to(&self, dir: &Path) {
        let _ = fs::remove_dir_all(dir);
        for (path, bytes) in &self.0 {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // The directories of trees without tables.
            if path.ends_with("current") {
                fs::create_dir_all(path.with_file_name("tables")).unwrap();
            }
            fs::write(path, bytes).unwrap();
        }
    }

    pub(crate) fn file(&mut self, name: &str) -> &mut Vec<u8> {
        let file = self.0.iter_mut().find(|(path, _)| path.ends_with(name));
        &mut file.unwrap_or_else(|| panic!("no {name}")).1
    }
}

/// The length without the zeroes at the end. They are 64 MiB, so they are compared in pieces.
fn written(mut bytes: &[u8]) -> usize {
    static ZEROES: [u8; 64 << 10] = [0; 64 << 10];
    while let Some(rest) = bytes.strip_suffix(&ZEROES) {
        bytes = rest;
    }
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

pub(crate) fn open(dir: &Path) -> Hub {
    Hub::open(Options::default().data(dir.to_owned())).unwrap()
}

pub(crate) fn say(hub: &Hub, text: &str) -> u64 {
    hub.publish(&name("chat"), Publication::text(text)).wait().unwrap().offset
}

pub(crate) fn said(hub: &Hub) -> Vec<String> {
    let page = hub.read(&name("chat"), Start::Earliest, 100);
    texts(&page.entries).into_iter().map(str::to_owned).collect()
}

/// What was set aside: the files in the directories `damaged-…`.
pub(crate) fn set_aside(dir: &Path) -> Vec<PathBuf> {
    let damaged = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let damaged = damaged.filter(|path| path.to_string_lossy().contains("damaged-"));
    damaged.flat_map(|dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path())).collect()
}
