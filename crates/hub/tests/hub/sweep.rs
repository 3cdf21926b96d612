//! Sweeping in slices: nothing is left out, and no slice does much.

use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use sockeye_hub::{Budget, ENTRY_OVERHEAD, EntryForm, IdempotencyKey, Options, Publication, Start};

use crate::{Rig, name};

static FORM: EntryForm = EntryForm::new();

/// The most that one slice may drop.
const WORK: u64 = 512;

/// Sweeps, and looks after each slice; gives how many there were.
fn slices(rig: &Rig, mut look: impl FnMut()) -> usize {
    let mut sweep = rig.hub.begin_sweep();
    let mut count = 1;
    while sweep.slice() {
        look();
        count += 1;
    }
    look();
    count
}

#[test]
fn a_slice_drops_a_part_of_a_long_history() {
    let options = Options::default().history_count(100_000);
    let rig = Rig::new(options.history_age(Duration::from_secs(1)));
    let chat = name("chat");
    rig.repeat(&chat, "hello", 20_000);
    rig.pass(1_001);
    let mut before = 20_000;
    slices(&rig, || {
        let entries = rig.hub.figures().entries;
        assert!(before - entries <= WORK, "{} at once", before - entries);
        before = entries;
    });
    assert_eq!((before, rig.hub.figures().bytes), (0, 0));
}

#[test]
fn a_slice_drops_a_part_of_the_forms() {
    let options = Options::default().history_count(100_000);
    let rig = Rig::new(options);
    let chat = name("chat");
    rig.repeat(&chat, "hello", 5_000);
    let mut reader = rig.hub.subscribe(&chat, Start::Earliest);
    while let Some(page) = reader.try_next_page(Budget::default()) {
        page.entries.iter().for_each(|entry| drop(entry.form(&FORM, Bytes::new)));
    }
    rig.hub.sweep();
    let mut before = rig.hub.figures().form_bytes;
    let of_one = before / 5_000;
    assert!(before >= 5_000);
    slices(&rig, || {
        let forms = rig.hub.figures().form_bytes;
        assert!((before - forms) / of_one <= WORK, "{} at once", (before - forms) / of_one);
        before = forms;
    });
    assert_eq!(before, 0);
}

/// The time for which this thread has had a processor.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Prints the longest slice, in CPU time: run it with `--release -- --nocapture`. What it asserts is how much a
/// slice does.
#[test]
fn a_sweep_of_a_hundred_thousand_channels_is_made_of_many_small_slices() {
    const CHANNELS: u64 = 100_000;
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(1)));
    for number in 0..CHANNELS {
        rig.say(&name(&format!("room-{number}")), "hello");
    }
    assert_eq!(rig.hub.figures().bytes, CHANNELS * (5 + ENTRY_OVERHEAD));
    // One that finds nothing, one that finds forms to drop, one that empties every channel, and one
    // that lets go of half of them.
    for (case, age) in [("nothing", 0), ("forms", 0), ("entries", 1_001), ("channels", 0)] {
        rig.pass(age);
        let before = rig.hub.figures();
        let (mut sweep, mut times) = (rig.hub.begin_sweep(), Vec::new());
        let mut known = before;
        loop {
            let begun = cpu_time();
            let has_more = sweep.slice();
            times.push(cpu_time() - begun);
            let now = rig.hub.figures();
            assert!(known.entries - now.entries <= WORK && known.channels - now.channels <= WORK);
            known = now;
            if !has_more {
                break;
            }
        }
        times.sort();
        let (all, longest) = (times.iter().sum::<Duration>(), times[times.len() - 1]);
        let p99 = times[times.len() * 99 / 100];
        eprintln!("{case}: {all:?} in {} slices, p99 {p99:?}, longest {longest:?}", times.len());
        assert!(times.len() as u64 >= CHANNELS / WORK);
    }
    assert_eq!(rig.hub.figures().entries, 0);
    assert_eq!(rig.hub.figures().channels, CHANNELS / 2);
}

/// How many of what is large: a test that is not optimised has fewer.
const HUGE: usize = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
const KEYS: usize = HUGE / 10;

/// Prints the time of this thread, in CPU time: run it with `--release -- --nocapture`. What it asserts is
/// what there is afterwards.
#[test]
fn deleting_a_huge_history_takes_no_time_of_its_caller() {
    let options = Options::default().history_count(HUGE).history_bytes(1 << 30);
    let rig = Rig::new(options.max_bytes(1 << 32));
    let chat = name("chat");
    rig.repeat(&chat, "hello", HUGE);
    let key = IdempotencyKey::new("ann", "key").unwrap();
    rig.hub.publish(&chat, Publication::text("with a key").key(key.clone())).wait().unwrap();
    let begun = cpu_time();
    rig.hub.forget(&chat).wait().unwrap();
    let (forgotten, figures) = (cpu_time() - begun, rig.hub.figures());
    assert_eq!((figures.entries, figures.bytes), (0, 0));
    // What is charged for a key stays with it.
    assert!(figures.key_bytes > 0);
    let begun = cpu_time();
    rig.say(&chat, "the next");
    eprintln!("DELETE of {HUGE}: {forgotten:?}, the next publication {:?}", cpu_time() - begun);
    rig.pass(5 * 60_000 + 1);
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().key_bytes, 0);
    rig.hub.forget(&chat).wait().unwrap();
    assert_eq!(rig.hub.figures().bytes, 0);
}

#[test]
fn keys_that_expire_at_once_are_forgotten_a_few_at_a_time() {
    let rig = Rig::new(Options::default().history_count(1));
    let chat = name("chat");
    for number in 0..KEYS {
        let key = IdempotencyKey::new("ann", &format!("key-{number}")).unwrap();
        rig.hub.publish(&chat, Publication::text("x").key(key)).wait().unwrap();
    }
    rig.pass(5 * 60_000 + 1);
    let before = rig.hub.figures().key_bytes;
    let of_one = before / KEYS as u64;
    let begun = cpu_time();
    rig.say(&chat, "the next");
    let published = cpu_time() - begun;
    let mut known = rig.hub.figures().key_bytes;
    assert!(known < before && before - known <= WORK * of_one * 2, "{before} {known}");
    let (mut sweep, mut times) = (rig.hub.begin_sweep(), Vec::new());
    loop {
        let begun = cpu_time();
        let has_more = sweep.slice();
        times.push(cpu_time() - begun);
        let now = rig.hub.figures().key_bytes;
        assert!(known - now <= WORK * of_one * 2, "{known} {now}");
        known = now;
        if !has_more {
            break;
        }
    }
    assert_eq!(known, 0);
    let longest = times.iter().max().unwrap();
    eprintln!("{KEYS} keys: a publication {published:?}, the longest slice {longest:?}");
}

/// Loading is done by a thread that may wait; a sweep meanwhile does not wait for it.
#[test]
#[cfg(feature = "fjall")]
fn a_huge_history_is_loaded_beside_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let options = || {
        Options::default()
            .data(dir.path().to_owned())
            .history_count(HUGE)
            .history_bytes(1 << 30)
            .max_bytes(1 << 32)
    };
    let chat = name("chat");
    {
        let rig = Rig::open(options(), None);
        let texts = (0..HUGE).map(|_| rig.hub.publish(&chat, Publication::text("hello")));
        for publishing in texts.collect::<Vec<_>>() {
            publishing.wait().unwrap();
        }
    }
    let rig = Rig::open(options(), None);
    let is_loaded = std::sync::atomic::AtomicBool::new(false);
    let (mut longest, mut sweeps) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let begun = cpu_time();
            let position = rig.hub.subscribe(&chat, Start::Now).position();
            is_loaded.store(true, std::sync::atomic::Ordering::Release);
            (position, cpu_time() - begun)
        });
        while !is_loaded.load(std::sync::atomic::Ordering::Acquire) {
            let begun = std::time::Instant::now();
            rig.hub.begin_sweep().slice();
            longest = longest.max(begun.elapsed());
            sweeps += 1;
        }
        let (position, took) = loading.join().unwrap();
        assert_eq!(position, rig.at(HUGE as u64));
        eprintln!("loading {HUGE}: {took:?}, and the longest of {sweeps} slices {longest:?}");
    });
}
