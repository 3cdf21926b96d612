//! Memory: what is counted, what is bounded, and what leaves nothing behind.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use sockeye_hub::{
    Budget, Capacity, ENTRY_OVERHEAD, Entry, EntryForm, FORM_OVERHEAD, GapReason, Options, Page,
    Publication, RunForm, Start,
};

use crate::{Rig, entry, full, gap, name};

static ONE: EntryForm = EntryForm::new();
static TWO: EntryForm = EntryForm::new();
static OF_RUN: RunForm = RunForm::new();

/// Options with room for that many channels, whose entries live for a second.
fn channels(max_channels: u64) -> Options {
    Options::default().max_channels(max_channels).history_age(Duration::from_secs(1))
}

#[test]
fn asking_about_a_channel_leaves_nothing_behind() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    rig.hub.position(&chat);
    rig.hub.read(&chat, Start::Earliest, 10);
    rig.hub.forget(&chat).wait().unwrap();
    assert_eq!(rig.hub.figures().channels, 0);

    let readers = [(); 3].map(|()| rig.hub.subscribe(&chat, Start::Now));
    let figures = rig.hub.figures();
    assert_eq!((figures.channels, figures.readers), (1, 3));
    drop(readers);
    assert_eq!(rig.hub.figures(), Default::default());
}

#[test]
fn a_refused_publication_leaves_nothing_behind() {
    let rig = Rig::new(Options::default().max_channels(0));
    let refused = rig.hub.publish(&name("chat"), Publication::text("hello")).wait();
    assert_eq!(refused, Err(full(Capacity::Channels)));
    assert_eq!(rig.hub.figures(), Default::default());
}

#[test]
fn a_channel_outlives_its_readers_once_something_was_published() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let reader = rig.hub.subscribe(&chat, Start::Now);
    rig.say(&chat, "hello");
    drop(reader);
    assert_eq!(rig.hub.position(&chat), rig.at(1));
    assert_eq!(rig.hub.figures().channels, 1);
}

#[test]
fn figures_tell_what_the_hub_holds() {
    let rig = Rig::keeping(2);
    let (chat, news) = (name("chat"), name("news"));
    rig.count_to(&chat, 3);
    rig.count_to(&news, 1);
    let _reader = rig.hub.subscribe(&news, Start::Now);
    let figures = rig.hub.figures();
    assert_eq!((figures.channels, figures.readers), (2, 1));
    assert_eq!((figures.entries, figures.published), (3, 4));
    assert_eq!(figures.bytes, 3 * (1 + ENTRY_OVERHEAD));
}

#[test]
fn channels_are_kept_up_to_their_limit() {
    let rig = Rig::new(channels(3));
    for channel in ["a", "b", "c"] {
        rig.say(&name(channel), "hello");
    }
    let hello = Publication::text("hello");
    assert_eq!(rig.hub.publish(&name("d"), hello.clone()).wait(), Err(full(Capacity::Channels)));
    rig.say(&name("a"), "known channels go on");

    rig.pass(1_001);
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().channels, 1, "idle ones go until half of the room is free");
    rig.hub.publish(&name("d"), hello).wait().unwrap();
}

#[test]
fn with_room_to_spare_an_idle_channel_is_remembered() {
    let rig = Rig::new(channels(100));
    let chat = name("chat");
    rig.count_to(&chat, 3);
    rig.pass(1_001);
    rig.hub.sweep();
    assert_eq!(rig.hub.position(&chat), rig.at(3));
    assert_eq!(rig.hub.read(&chat, Start::After(rig.at(3)), 10).gap, None);
}

#[test]
fn a_channel_with_readers_or_entries_is_never_let_go_of() {
    let rig = Rig::new(channels(1));
    let chat = name("chat");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    rig.say(&chat, "one");
    rig.hub.sweep();
    rig.pass(1_001);
    rig.hub.sweep();
    assert_eq!(gap(reader.try_next()).why, GapReason::Slow);
    rig.say(&chat, "two");
    rig.hub.sweep();
    assert_eq!(entry(reader.try_next()).position, rig.at(2));
}

#[test]
fn no_position_means_two_entries_even_when_channels_are_let_go_of() {
    let rig = Rig::new(channels(1));
    let chat = name("chat");
    let mut newest = 0;
    for round in 1..=5 {
        rig.count_to(&chat, round);
        let position = rig.hub.position(&chat);
        assert_eq!(position, rig.at(newest + round as u64));
        newest = position.offset;
        rig.pass(1_001);
        rig.hub.sweep();
        assert_eq!(rig.hub.figures().channels, 0);
    }
    // What was read long ago is told as missing, not as something else.
    rig.say(&chat, "new");
    let page = rig.hub.read(&chat, Start::After(rig.at(2)), 10);
    assert_eq!(page.gap.unwrap().why, GapReason::Expired);
    assert_eq!(page.entries[0].position, rig.at(newest + 1));
}

#[test]
fn when_the_hub_is_full_a_channel_makes_room_in_its_own_history() {
    let size = 36 + ENTRY_OVERHEAD;
    let rig = Rig::new(Options::default().max_bytes(3 * size));
    let (chat, news, payload) = (name("chat"), name("news"), "x".repeat(36));
    rig.say(&chat, &payload);
    rig.say(&chat, &payload);
    rig.say(&news, &payload);
    rig.say(&chat, &payload);
    assert_eq!(rig.hub.figures().bytes, 3 * size);
    assert_eq!(rig.hub.read(&chat, Start::Earliest, 10).entries.len(), 2);
    assert_eq!(rig.hub.read(&news, Start::Earliest, 10).entries.len(), 1);

    let refused = rig.hub.publish(&name("third"), Publication::text(&payload)).wait();
    assert_eq!(refused, Err(full(Capacity::Bytes)));
    assert_eq!(rig.hub.figures().channels, 2);
    rig.hub.forget(&chat).wait().unwrap();
    rig.say(&name("third"), &payload);
}

#[test]
fn a_wire_form_is_made_once_and_shared() {
    let rig = Rig::keeping(1);
    let chat = name("chat");
    rig.say(&chat, "hello");
    let hello = rig.hub.read(&chat, Start::Earliest, 1).entries[0].clone();
    let made = AtomicUsize::new(0);
    let make = |form: &'static str| {
        made.fetch_add(1, Relaxed);
        Bytes::from_static(form.as_bytes())
    };
    let [zero, seven, last] = [const { EntryForm::new() }; 3];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (key, form) in
                    [(&zero, "zero"), (&seven, "seven"), (&last, "last"), (&zero, "zero")]
                {
                    assert_eq!(hello.form(key, || make(form)), form);
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 3);
}

#[test]
fn wire_forms_are_counted_as_long_as_their_entry_lives() {
    let rig = Rig::keeping(1);
    let chat = name("chat");
    rig.say(&chat, "hello");
    let hello = rig.hub.read(&chat, Start::Earliest, 1).entries[0].clone();
    hello.form(&ONE, || Bytes::from_static(b"ten bytes!"));
    hello.form(&TWO, || Bytes::from_static(b"two"));
    assert_eq!(rig.hub.figures().form_bytes, 13 + 2 * FORM_OVERHEAD);
    rig.say(&chat, "pushes the first out of the log");
    let held = 13 + 2 * FORM_OVERHEAD;
    assert_eq!(rig.hub.figures().form_bytes, held, "a reader still holds it");
    drop(hello);
    assert_eq!(rig.hub.figures().form_bytes, 0);
}

#[test]
fn wire_forms_neither_shorten_a_history_nor_refuse_a_publication() {
    let size = 36 + ENTRY_OVERHEAD;
    let options = Options::default().history_bytes(2 * size).max_bytes(4 * size);
    let rig = Rig::new(options);
    let (chat, payload) = (name("chat"), "x".repeat(36));
    rig.say(&chat, &payload);
    let entry = rig.hub.read(&chat, Start::Earliest, 1).entries[0].clone();
    entry.form(&ONE, || Bytes::from(vec![0; 2 * size as usize]));
    rig.say(&chat, &payload);
    assert_eq!(rig.hub.read(&chat, Start::Earliest, 10).entries.len(), 2);
    for channel in ["news", "sport"] {
        rig.hub.publish(&name(channel), Publication::text(&payload)).wait().unwrap();
    }
    let refused = rig.hub.publish(&name("one-too-many"), Publication::text(&payload)).wait();
    assert_eq!(refused, Err(full(Capacity::Bytes)), "histories alone fill the hub");
}

/// The form of the entry, and whether it was made for this.
fn made(entry: &Entry) -> bool {
    let mut is_made = false;
    entry.form(&ONE, || {
        is_made = true;
        Bytes::from_static(b"ten bytes!")
    });
    is_made
}

#[test]
fn forms_are_kept_of_new_entries_only() {
    let rig = Rig::keeping(300);
    let chat = name("chat");
    // More than one lock of the channel gives out.
    rig.repeat(&chat, "hello", 150);
    let entries = rig.hub.read(&chat, Start::Earliest, 300).entries;
    entries.iter().for_each(|entry| assert!(made(entry)));
    rig.hub.sweep();
    assert!(!made(&entries[0]) && !made(&entries[149]), "kept for a while");
    rig.say(&chat, "newer");
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().form_bytes, 0);
    for entry in &entries {
        assert!(made(entry) && made(entry), "for each reader alone");
    }
    let newer = rig.hub.read(&chat, Start::Last(1), 1).entries[0].clone();
    assert!(made(&newer) && !made(&newer));
    assert_eq!(rig.hub.figures().form_bytes, 10 + FORM_OVERHEAD);
    assert_eq!(rig.hub.figures().forms_not_kept, 0, "there was room");
}

#[test]
fn when_the_forms_fill_their_room_further_ones_are_not_kept() {
    let charge = 10 + FORM_OVERHEAD;
    let options = Options::default().max_form_bytes(2 * charge);
    let rig = Rig::new(options);
    let chat = name("chat");
    rig.repeat(&chat, "hello", 4);
    let entries = rig.hub.read(&chat, Start::Earliest, 4).entries;
    let first_and_second = |entry| (made(entry), made(entry));
    let seen: Vec<_> = entries.iter().map(|entry| first_and_second(entry)).collect();
    assert_eq!(seen, [(true, false), (true, false), (true, true), (true, true)]);
    let figures = rig.hub.figures();
    assert_eq!((figures.form_bytes, figures.forms_not_kept), (2 * charge, 4));
    assert_eq!(rig.hub.max_form_bytes(), 2 * charge);

    // There is room again when the old ones are gone.
    rig.hub.sweep();
    rig.hub.sweep();
    rig.say(&chat, "new");
    let new = rig.hub.read(&chat, Start::Last(1), 1).entries[0].clone();
    assert_eq!(first_and_second(&new), (true, false));
}

#[test]
fn a_reader_of_history_keeps_nothing_of_what_it_takes_at_once() {
    let rig = Rig::keeping(100);
    let chat = name("chat");
    rig.repeat(&chat, "hello", 100);
    rig.hub.sweep();
    rig.hub.sweep();
    let mut reader = rig.hub.subscribe(&chat, Start::Earliest);
    let mut pages = 0;
    while let Some(page) = reader.try_next_page(Budget::entries(30)) {
        let form = || page.entries.form(&OF_RUN, |entries| crate::texts(entries).concat().into());
        assert_eq!(form(), form());
        pages += 1;
        let last = if pages == 4 { page.entries.len() as u64 * 5 + FORM_OVERHEAD } else { 0 };
        assert_eq!(rig.hub.figures().form_bytes, last, "for readers that wait at the end, too");
    }
    assert_eq!(pages, 4);
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().form_bytes, 0);
}

#[test]
fn a_page_is_bounded_by_what_it_takes_on_the_wire() {
    let rig = Rig::keeping(100);
    let chat = name("chat");
    let budget = Budget::entries(100).bytes(64 << 10);
    let page = |payload: &str| {
        rig.hub.forget(&chat).wait().unwrap();
        rig.repeat(&chat, payload, 100);
        let page = rig.hub.read_within(&chat, Start::Earliest, budget);
        let newest = rig.hub.read_newest(&chat, budget);
        assert_eq!(newest.at, rig.hub.position(&chat));
        assert_eq!(newest.entries.len(), page.entries.len());
        page.entries.len()
    };
    assert_eq!(page(&"x".repeat(1000)), (64 << 10) / 1160);
    assert_eq!(page(&"\u{7}".repeat(1000)), (64 << 10) / 7160);
    assert_eq!(page(&"\n".repeat(60_000)), 1, "nothing is too large to be read");
}

#[test]
fn a_form_of_a_run_is_made_once_for_all_its_readers() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let mut readers: Vec<_> = (0..3).map(|_| rig.hub.subscribe(&chat, Start::Now)).collect();
    let mut late = rig.hub.subscribe(&chat, Start::Now);
    let mut cautious = rig.hub.subscribe(&chat, Start::Now);
    for text in ["one", "two", "three"] {
        rig.say(&chat, text);
    }
    let made = AtomicUsize::new(0);
    let texts = |page: Page| {
        page.entries.form(&OF_RUN, |entries| {
            made.fetch_add(1, Relaxed);
            crate::texts(entries).concat().into()
        })
    };
    for reader in &mut readers {
        assert_eq!(texts(reader.try_next_page(Budget::default()).unwrap()), "onetwothree");
    }
    assert_eq!(made.load(Relaxed), 1);
    // One that takes less at once gets what it asked for.
    assert_eq!(texts(cautious.try_next_page(Budget::entries(2)).unwrap()), "onetwo");
    assert_eq!(texts(cautious.try_next_page(Budget::entries(2)).unwrap()), "three");
    // And one that comes later, all that has come since.
    rig.say(&chat, "four");
    assert_eq!(texts(late.try_next_page(Budget::default()).unwrap()), "onetwothreefour");
    assert_eq!(texts(readers[0].try_next_page(Budget::default()).unwrap()), "four");
}

#[test]
fn what_was_made_of_a_run_does_not_outlive_the_next_entry_or_sweep() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    let mut take = |text| {
        rig.say(&chat, text);
        let page = reader.try_next_page(Budget::default()).unwrap();
        page.entries.form(&OF_RUN, |_| Bytes::from_static(b"ten bytes!"));
    };
    take("one");
    assert_eq!(rig.hub.figures().form_bytes, 10 + FORM_OVERHEAD, "for the next reader");
    take("two");
    assert_eq!(rig.hub.figures().form_bytes, 10 + FORM_OVERHEAD);
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().form_bytes, 0);
}
