//! What a power failure or a bad disk leaves of the journal: a torn write costs only itself.
//!
//! `SOCKEYE_TORN_STEP=1` damages every byte of the large record and cuts it at every length, instead
//! of a sample.

use std::ops::Range;

use sockeye_hub::{Epoch, Hub};
use tempfile::TempDir;

use crate::image::{Image, memory_dir, open, said, say};

const PAGE: usize = 4096;

/// A store with three messages that are acknowledged, and one more write, which is not.
struct Torn {
    /// As the power failed, with the last write whole.
    image: Image,
    /// Where that is in the journal.
    last: Range<usize>,
    last_text: String,
    epoch: Epoch,
    dir: TempDir,
}

impl Torn {
    fn new(last_text: &str) -> Self {
        let dir = memory_dir();
        let data = dir.path().join("data");
        let hub = open(&data);
        for text in ["1", "2", "3"] {
            say(&hub, text);
        }
        let epoch = hub.epoch();
        drop(hub);
        let mut acknowledged = Image::of(&data);
        say(&open(&data), last_text);
        let mut image = Image::of(&data);
        image.file("written").clone_from(acknowledged.file("written"));
        let last = acknowledged.file("0.jnl").len()..image.file("0.jnl").len();
        Self { image, last, last_text: last_text.to_owned(), epoch, dir }
    }

    /// Opens the store as `tear` leaves its journal.
    fn open(&self, tear: impl FnOnce(&mut Vec<u8>)) -> Hub {
        let mut image = self.image.clone();
        tear(image.file("0.jnl"));
        let data = self.dir.path().join("data");
        image.write_to(&data);
        open(&data)
    }

    /// Asserts that nothing is lost but, at most, the last write. Whether that is there.
    #[track_caller]
    fn costs_only_itself(&self, what: &str, tear: impl FnOnce(&mut Vec<u8>)) -> bool {
        let hub = self.open(tear);
        assert_eq!(hub.epoch(), self.epoch, "{what}: the epoch");
        let mut expected = vec!["1", "2", "3"];
        let found = said(&hub);
        let is_there = found.len() > expected.len();
        if is_there {
            expected.push(&self.last_text);
        }
        assert!(found == expected, "{what}: {} messages", found.len());
        assert_eq!(say(&hub, "next"), expected.len() as u64 + 1, "{what}");
        is_there
    }

    fn flipped(&self, offset: usize, bits: u8) {
        let tear = |journal: &mut Vec<u8>| journal[offset] ^= bits;
        self.costs_only_itself(&format!("bits {bits:#x} of byte {offset} flipped"), tear);
    }

    fn cut(&self, len: usize) {
        let is_there = self.costs_only_itself(&format!("cut at {len}"), |journal| {
            journal.truncate(len);
        });
        assert_eq!(is_there, len == self.last.end);
    }

    fn zeroed(&self, pages: impl IntoIterator<Item = usize>) {
        let pages: Vec<_> = pages.into_iter().collect();
        let is_there = self.costs_only_itself(&format!("pages {pages:?} zeroed"), |journal| {
            // As in a journal that is allocated ahead.
            journal.resize(self.last.end + PAGE, 0);
            for page in &pages {
                let page = page * PAGE..(page + 1) * PAGE;
                let torn = page.start.max(self.last.start)..page.end.min(self.last.end);
                journal[torn].fill(0);
            }
        });
        assert!(!is_there);
    }
}

fn large() -> String {
    let mut state = 7_u32;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    });
    letters.take(64_000).collect()
}

#[test]
fn each_byte_of_a_torn_write_may_be_wrong() {
    let torn = Torn::new("4");
    for offset in torn.last.clone() {
        torn.flipped(offset, [0x01, 0x80, 0xff][offset % 3]);
    }
}

#[test]
fn a_torn_write_may_end_anywhere() {
    let torn = Torn::new("4");
    for len in torn.last.start..=torn.last.end {
        torn.cut(len);
    }
}

#[test]
fn each_page_of_a_torn_write_may_be_missing() {
    let torn = Torn::new(&large());
    let pages = torn.last.start / PAGE..torn.last.end.div_ceil(PAGE);
    assert!(pages.len() >= 16);
    for page in pages.clone() {
        torn.zeroed([page]);
        torn.zeroed(pages.start..page + 1);
        torn.zeroed(page..pages.end);
        torn.zeroed([page, pages.end - 1]);
    }
    torn.zeroed(pages.clone().step_by(2));
    torn.zeroed(pages.start + 1..pages.end - 1);
}

#[test]
fn a_large_torn_write_may_have_any_byte_wrong_and_end_anywhere() {
    let torn = Torn::new(&large());
    let step = std::env::var("SOCKEYE_TORN_STEP").map_or(1601, |step| step.parse().unwrap());
    let last = torn.last.clone();
    for offset in last.clone().step_by(step) {
        torn.flipped(offset, 0x10);
        torn.cut(offset);
    }
}
