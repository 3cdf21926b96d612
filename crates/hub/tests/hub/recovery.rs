//! What a damaged store is opened with: everything up to the damage, and never less without a word.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sockeye_hub::store::OpenError;
use sockeye_hub::{Epoch, Hub, Options, Publication, Start};
use sockeye_testing::eventually;
use tempfile::TempDir;

use crate::image::{Image, memory_dir, open, said, say, set_aside};
use crate::name;

/// A store with the messages `1` to `5`, all of them acknowledged.
struct Five {
    image: Image,
    /// The ends of the writes in the journal: before the first message, and after each.
    ends: Vec<usize>,
    epoch: Epoch,
    dir: TempDir,
}

impl Five {
    fn new() -> Self {
        let dir = memory_dir();
        let hub = open(dir.path());
        let mut ends = vec![Image::of(dir.path()).file("0.jnl").len()];
        for number in 1..=5 {
            say(&hub, &number.to_string());
            ends.push(Image::of(dir.path()).file("0.jnl").len());
        }
        let epoch = hub.epoch();
        drop(hub);
        Self { image: Image::of(dir.path()), ends, epoch, dir }
    }

    /// Opens the store after `damage`.
    fn open(&self, damage: impl FnOnce(&mut Image)) -> Hub {
        let mut image = self.image.clone();
        damage(&mut image);
        image.write_to(self.dir.path());
        open(self.dir.path())
    }

    /// Distributes the writes over journals; each ends behind that many messages.
    fn split(&self, image: &mut Image, messages: &[usize]) {
        let journal = std::mem::take(image.file("0.jnl"));
        let path = Path::new("channels");
        image.0.retain(|(path, _)| !path.ends_with("0.jnl"));
        let mut begin = 0;
        for (number, messages) in messages.iter().enumerate() {
            let piece = journal[begin..self.ends[*messages]].to_vec();
            image.0.push((path.join(format!("{number}.jnl")), piece));
            begin = self.ends[*messages];
        }
    }

    #[track_caller]
    fn is_whole(&self, hub: &Hub) {
        assert_eq!(said(hub), ["1", "2", "3", "4", "5"]);
        assert_eq!(hub.epoch(), self.epoch);
        assert_eq!(say(hub, "6"), 6);
    }
}

#[test]
fn a_write_that_was_acknowledged_and_is_damaged_costs_what_follows_and_a_new_epoch_begins() {
    let five = Five::new();
    for damaged in 1..=5 {
        let hub = five.open(|image| image.file("0.jnl")[five.ends[damaged - 1] + 60] ^= 4);
        assert_ne!(hub.epoch(), five.epoch);
        assert_eq!(said(&hub), ["1", "2", "3", "4", "5"][..damaged - 1]);
        assert_eq!(say(&hub, "next"), damaged as u64);
        // What was cut off is there to be looked into.
        let set_aside = set_aside(five.dir.path());
        let [tail] = &set_aside[..] else { panic!("{set_aside:?}") };
        assert_eq!(tail.file_name().unwrap(), &*format!("0.jnl.from-{}", five.ends[damaged - 1]));
        assert_eq!(
            fs::metadata(tail).unwrap().len() as usize,
            five.ends[5] - five.ends[damaged - 1]
        );
        // The new epoch stays.
        let epoch = hub.epoch();
        drop(hub);
        assert_eq!(open(five.dir.path()).epoch(), epoch);
    }
}

#[test]
fn several_journals_are_one() {
    let five = Five::new();
    five.is_whole(&five.open(|image| five.split(image, &[2, 3, 5])));
    five.is_whole(&five.open(|image| five.split(image, &[0, 5])));
    five.is_whole(&five.open(|image| {
        five.split(image, &[2, 5]);
        image.0.push(("channels/2.jnl".into(), vec![0; 8192]));
    }));
    assert!(set_aside(five.dir.path()).is_empty());
}

#[test]
fn journals_that_were_rotated_are_opened_as_they_are() {
    let dir = memory_dir();
    let options = Options::default().data(dir.path().to_owned()).history_bytes(4 << 20);
    let payload = vec![b'x'; 256 << 10];
    let chat = name("chat");
    let hub = Hub::open(options.clone()).unwrap();
    // A journal has 64 MB, and the next one begins when a table is made after that.
    let mut count = 0;
    while !dir.path().join("channels/1.jnl").exists() {
        hub.publish(&chat, Publication::bytes(&payload)).wait().unwrap();
        count += 1;
        assert!(count < 2_000, "no journal is rotated");
    }
    hub.publish(&chat, Publication::bytes(&payload)).wait().unwrap();
    let position = hub.position(&chat);
    drop(hub);
    let hub = Hub::open(options).unwrap();
    assert_eq!(hub.position(&chat), position);
    let entries = hub.read(&chat, Start::Earliest, 100).entries;
    assert_eq!(entries.last().unwrap().position, position);
    assert!(set_aside(dir.path()).is_empty());
}

#[test]
fn journals_behind_a_damaged_one_are_set_aside_whole() {
    let five = Five::new();
    // In the first of the journals, the only one of the second, the first of the third.
    for kept in 1..=3 {
        let hub = five.open(|image| {
            image.file("0.jnl")[five.ends[kept] + 60] ^= 4;
            five.split(image, &[2, 3, 5]);
        });
        assert_ne!(hub.epoch(), five.epoch);
        assert_eq!(said(&hub), ["1", "2", "3", "4", "5"][..kept]);
        for number in kept + 1..=5 {
            assert_eq!(say(&hub, "again"), number as u64);
        }
        // They are not taken for the store's own by a later start.
        let epoch = hub.epoch();
        drop(hub);
        let hub = open(five.dir.path());
        assert_eq!((hub.epoch(), said(&hub).len()), (epoch, 5));
        let bytes: u64 =
            set_aside(five.dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert_eq!(bytes as usize, five.ends[5] - five.ends[kept]);
    }
}

#[test]
fn a_journal_that_is_missing_between_others_is_noticed() {
    let five = Five::new();
    let hub = five.open(|image| {
        five.split(image, &[2, 3, 5]);
        image.0.retain(|(path, _)| !path.ends_with("1.jnl"));
    });
    assert_ne!(hub.epoch(), five.epoch);
    assert_eq!(said(&hub), ["1", "2"]);
}

#[test]
fn a_torn_first_write_of_a_new_journal_costs_only_itself() {
    let five = Five::new();
    let hub = five.open(|image| {
        five.split(image, &[4, 5]);
        image.file("1.jnl")[60] ^= 4;
        *image.file("written") = (4_u64).to_be_bytes().to_vec();
    });
    assert_eq!((said(&hub).len(), hub.epoch()), (4, five.epoch));
    assert_eq!(say(&hub, "next"), 5);
    drop(hub);
    let hub = open(five.dir.path());
    assert_eq!((said(&hub).len(), hub.epoch()), (5, five.epoch));
}

impl Five {
    /// The same with the messages up to the third in tables, and the others in `1.jnl`.
    fn with_tables(&self) -> Image {
        let hub = self.open(|image| self.split(image, &[3, 5]));
        // The first journal goes when its messages are in a table.
        let journal = self.dir.path().join("channels/0.jnl");
        eventually("a table is made", || !journal.exists());
        drop(hub);
        let image = Image::of(self.dir.path());
        let tables = |path: &Path| path.to_string_lossy().contains("keyspaces/1/tables/");
        assert!(image.0.iter().any(|(path, _)| tables(path)), "{:?}", image.0);
        image
    }
}

#[test]
fn damage_in_a_journal_costs_nothing_that_is_in_tables() {
    let five = Five::new();
    let with_tables = five.with_tables();
    let journal = |image: &mut Image, messages: Range<usize>, damaged: usize| {
        let mut journal = five.image.clone().file("0.jnl").clone();
        journal[five.ends[damaged - 1] + 60] ^= 4;
        let begin = if messages.start == 0 { 0 } else { five.ends[messages.start] };
        *image.file("1.jnl") = journal[begin..five.ends[messages.end]].to_vec();
    };
    // What is damaged follows the tables, or is in them as well.
    for (messages, damaged) in [(3..5, 4), (0..5, 2), (0..5, 1)] {
        let mut image = with_tables.clone();
        journal(&mut image, messages, damaged);
        image.write_to(five.dir.path());
        let hub = open(five.dir.path());
        assert_eq!(said(&hub), ["1", "2", "3"], "{damaged}");
        assert_ne!(hub.epoch(), five.epoch, "the fourth and fifth are lost");
        assert_eq!(say(&hub, "next"), 4);
        let epoch = hub.epoch();
        drop(hub);
        let hub = open(five.dir.path());
        assert_eq!(said(&hub), ["1", "2", "3", "next"], "{damaged}");
        assert_eq!(hub.epoch(), epoch);
    }
    // Nothing is lost if the tables have everything.
    let mut image = with_tables;
    journal(&mut image, 0..3, 2);
    *image.file("written") = five.image.clone().file("written").clone();
    let count = u64::from_be_bytes(image.file("written")[..].try_into().unwrap()) - 2;
    *image.file("written") = count.to_be_bytes().to_vec();
    image.write_to(five.dir.path());
    let hub = open(five.dir.path());
    assert_eq!((said(&hub).len(), hub.epoch()), (3, five.epoch));
}

#[test]
fn a_store_whose_lock_marker_or_list_of_versions_is_missing_or_damaged_is_opened() {
    let five = Five::new();
    // With tables, so that there is something to delete.
    let image = five.with_tables();
    for file in ["lock", "version", "keyspaces/0/current", "keyspaces/1/current"] {
        let file = Path::new("channels").join(file);
        for damage in ["missing", "empty", "zeroes"] {
            let mut image = image.clone();
            image.write_to(five.dir.path());
            let path = five.dir.path().join(&file);
            let before = fs::read(&path).unwrap();
            match damage {
                "missing" => fs::remove_file(&path).unwrap(),
                "empty" => fs::write(&path, "").unwrap(),
                _ => fs::write(&path, vec![0; before.len().saturating_sub(1)]).unwrap(),
            }
            five.is_whole(&open(five.dir.path()));
            assert!(set_aside(five.dir.path()).is_empty(), "{} {damage}", file.display());
            if file.ends_with("version") {
                assert_eq!(&fs::read(&path).unwrap(), image.file("version"));
            }
        }
    }
}

#[test]
fn a_store_whose_tables_are_gone_is_set_aside_and_not_mistaken_for_a_new_one() {
    let five = Five::new();
    for lost in ["keyspaces/0", "keyspaces/1", "keyspaces"] {
        five.image.write_to(five.dir.path());
        fs::remove_dir_all(five.dir.path().join("channels").join(lost)).unwrap();
        let hub = open(five.dir.path());
        assert_ne!(hub.epoch(), five.epoch);
        assert_eq!(said(&hub).len(), 0);
        let set_aside = set_aside(five.dir.path());
        let [store] = &set_aside[..] else { panic!("{set_aside:?}") };
        let journal = fs::read(store.join("0.jnl")).unwrap();
        assert_eq!(journal.len(), five.ends[5], "the messages are there to be looked into");
    }
}

#[test]
fn a_store_with_a_table_that_is_broken_is_set_aside() {
    let five = Five::new();
    let image = five.with_tables();
    for len in [0, 10, 200] {
        let mut image = image.clone();
        let table = |path: &Path| path.to_string_lossy().contains("keyspaces/1/tables/");
        image.0.iter_mut().find(|(path, _)| table(path)).unwrap().1.truncate(len);
        image.write_to(five.dir.path());
        let hub = open(five.dir.path());
        assert_ne!(hub.epoch(), five.epoch);
        // One that is too short to be a table by itself, and then the store, which misses it.
        let parts = if len < 38 { 2 } else { 1 };
        assert_eq!((say(&hub, "first"), set_aside(five.dir.path()).len()), (1, parts));
    }
}

/// A crash between the making of a table and its writing leaves one; no version names it yet.
#[test]
fn a_table_that_was_begun_and_not_written_costs_nothing() {
    let five = Five::new();
    for image in [five.image.clone(), five.with_tables()] {
        for len in [0, 37] {
            let mut image = image.clone();
            image.0.push(("channels/keyspaces/1/tables/77".into(), vec![0; len]));
            image.write_to(five.dir.path());
            let hub = open(five.dir.path());
            assert_eq!((said(&hub).len(), hub.epoch()), (5, five.epoch), "{len}");
            drop(hub);
            five.is_whole(&open(five.dir.path()));
            let set_aside = set_aside(five.dir.path());
            let [table] = &set_aside[..] else { panic!("{set_aside:?}") };
            assert_eq!(table.file_name().unwrap(), "77");
        }
    }
}

#[test]
fn a_store_that_was_half_made_when_the_power_failed_is_made() {
    let five = Five::new();
    for file in ["version", "lock", "0.jnl", "keyspaces"] {
        let dir = five.dir.path();
        fs::remove_dir_all(dir).unwrap();
        let channels = dir.join("channels");
        fs::create_dir_all(channels.join("keyspaces")).unwrap();
        fs::write(channels.join("lock"), "").unwrap();
        fs::write(channels.join("0.jnl"), [0; 4096]).unwrap();
        fs::write(channels.join("version"), b"FJL\x03").unwrap();
        let _ = fs::remove_file(channels.join(file));
        let _ = fs::remove_dir(channels.join(file));
        let hub = open(dir);
        assert_eq!(say(&hub, "first"), 1, "{file}");
        assert!(set_aside(dir).is_empty(), "{file}");
    }
}

#[test]
fn files_of_others_do_not_keep_the_store_from_opening() {
    let five = Five::new();
    let in_trees = ["keyspaces/copy/v0", "keyspaces/x", "keyspaces/1/tables/0~"];
    for stray in ["copy of 0.jnl", "1.JNL", "x.jnl"].iter().chain(&in_trees) {
        five.is_whole(&five.open(|image| {
            image.0.push((Path::new("channels").join(stray), b"stray".to_vec()));
        }));
        let set_aside = &set_aside(five.dir.path())[0];
        let file = if set_aside.is_dir() { set_aside.join("v0") } else { set_aside.clone() };
        assert_eq!(fs::read(file).unwrap(), b"stray");
    }
}

#[test]
fn a_store_that_another_process_writes_is_not_touched() {
    let five = Five::new();
    five.image.write_to(five.dir.path());
    let journal = five.dir.path().join("channels/0.jnl");
    // As an older version of this program locks it.
    let lock = fs::File::create(five.dir.path().join("channels/lock")).unwrap();
    lock.lock().unwrap();
    let half_written = [&fs::read(&journal).unwrap()[..], b"\x01half a write"].concat();
    fs::write(&journal, &half_written).unwrap();
    let data = Some(five.dir.path().to_owned());
    let opened = Hub::open(Options::default().data(data));
    assert!(matches!(opened, Err(OpenError::Locked(_))), "{opened:?}");
    assert_eq!(fs::read(&journal).unwrap(), half_written);
    drop(lock);
    five.is_whole(&open(five.dir.path()));
}

fn mode(path: &Path) -> Option<u32> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        metadata => Some(metadata.unwrap().permissions().mode() & 0o7777),
    }
}

#[test]
fn only_the_owner_comes_to_what_is_kept() {
    let dir = memory_dir();
    let data = dir.path().join("above/data");
    say(&open(&data), "hello");
    for path in ["above", "above/data", "above/data/channels"] {
        assert_eq!(mode(&dir.path().join(path)), Some(0o700), "{path}");
    }
    for path in ["written", "lock"] {
        assert_eq!(mode(&data.join(path)), Some(0o600), "{path}");
    }
    // A directory that was made by another program stays as it is, and what is in it is closed.
    for (path, mode) in [("", 0o755), ("channels", 0o755), ("written", 0o644)] {
        fs::set_permissions(data.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(data.join("channels/0.jnl"), b"\x01torn").unwrap();
    say(&open(&data), "hello");
    assert_eq!(mode(&data), Some(0o755));
    assert_eq!(mode(&data.join("channels")), Some(0o700));
    assert_eq!(mode(&data.join("written")), Some(0o600));
    let tail = &set_aside(&data)[0];
    assert_eq!(mode(tail), Some(0o600));
    assert_eq!(mode(tail.parent().unwrap()), Some(0o700));
}
