//! Publishing, what a channel keeps of it, and reading it page by page.

use std::sync::Arc;
use std::time::Duration;

use sockeye_hub::{
    ENTRY_OVERHEAD, Json, Options, Payload, PayloadRef, Publication, PublishError, Start,
};

use crate::{Rig, foreign, name, text, texts};

#[test]
fn offsets_begin_at_one_and_rise_by_one_in_each_channel() {
    let rig = Rig::keeping(10);
    let (chat, news) = (name("chat"), name("news"));
    assert_eq!(rig.hub.position(&chat), rig.at(0));
    assert_eq!(rig.say(&chat, "a"), rig.at(1));
    assert_eq!(rig.say(&chat, "b"), rig.at(2));
    assert_eq!(rig.say(&news, "c"), rig.at(1));
    assert_eq!(rig.hub.position(&chat), rig.at(2));
}

#[test]
fn an_entry_says_what_was_published_where_and_when() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let named =
        Publication::json(Json::parse(r#"{"by":"ann"}"#).unwrap()).event("joined".parse().unwrap());
    rig.hub.publish(&chat, named).wait().unwrap();
    rig.hub.publish(&chat, Publication::bytes(&[0xff, 0])).wait().unwrap();
    rig.hub.publish(&chat, Publication::text("")).wait().unwrap();

    let page = rig.hub.read(&chat, Start::Earliest, 10);
    let [json, bytes, empty] = &page.entries[..] else { panic!("{page:?}") };
    assert_eq!(json.payload, Payload::Json(r#"{"by":"ann"}"#.into()));
    assert_eq!(json.event.as_ref().unwrap().as_str(), "joined");
    assert_eq!((json.position, json.ts), (rig.at(1), rig.time()));
    assert_eq!(bytes.payload.as_ref(), PayloadRef::Bytes(&[0xff, 0]));
    assert_eq!(bytes.event, None);
    assert_eq!(empty.payload, Payload::Text("".into()));
}

#[test]
fn a_payload_takes_its_own_memory_and_not_the_buffer_it_was_read_into() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let buffer = vec![b'x'; 1 << 16];
    rig.hub.publish(&chat, Publication::bytes(&buffer[..3])).wait().unwrap();
    let entry = rig.hub.read(&chat, Start::Earliest, 1).entries[0].clone();
    rig.hub.forget(&chat).wait().unwrap();
    // Nothing else holds the entry now, so its payload shows how much memory it has.
    let Payload::Bytes(payload) = Arc::into_inner(entry).unwrap().payload else { panic!() };
    let memory = payload.try_into_mut().unwrap();
    assert_eq!((&memory[..], memory.capacity()), (&b"xxx"[..], 3));
}

#[test]
fn time_in_a_channel_waits_for_a_clock_that_was_set_back_a_little() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let noon = rig.time();
    rig.say(&chat, "noon");
    rig.set_time(noon - 60_000);
    rig.say(&chat, "the clock was set back");
    rig.set_time(noon + 1);
    rig.say(&chat, "after noon");
    let page = rig.hub.read(&chat, Start::Earliest, 10);
    let times: Vec<u64> = page.entries.iter().map(|entry| entry.ts).collect();
    assert_eq!(times, [noon, noon, noon + 1]);
}

/// A year, in milliseconds.
const YEAR: u64 = 365 * 24 * 3_600_000;

#[test]
fn time_in_a_channel_follows_a_clock_that_was_a_year_ahead() {
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(60)));
    let (chat, idle) = (name("chat"), name("idle"));
    let noon = rig.time();
    rig.say(&chat, "early");
    rig.set_time(noon + YEAR);
    rig.say(&idle, "ahead");
    rig.say(&chat, "ahead");
    rig.say(&chat, "ahead, too");
    rig.set_time(noon + 1_000);
    rig.say(&chat, "corrected");
    rig.hub.sweep();
    let page = rig.hub.read(&chat, Start::Earliest, 10);
    let times: Vec<u64> = page.entries.iter().map(|entry| entry.ts).collect();
    assert_eq!(times, [noon + YEAR, noon + YEAR, noon + 1_000], "the early one was a year old");

    // What the clock said does not count for its age, nor for a reader that asks for the last seconds.
    rig.pass(30_000);
    rig.say(&chat, "half a minute later");
    let since = |secs| rig.hub.read(&chat, Start::Since(Duration::from_secs(secs)), 10).entries;
    assert_eq!(texts(&since(10)), ["half a minute later"]);
    assert_eq!(since(40).len(), 4);
    assert_eq!(rig.hub.figures().entries, 5);
    rig.pass(30_001);
    rig.hub.sweep();
    assert_eq!(texts(&rig.hub.read(&chat, Start::Earliest, 10).entries), ["half a minute later"]);
    assert_eq!(rig.hub.figures().entries, 1, "nothing new was said on the other channel");
}

#[test]
fn a_clock_may_be_corrected_often() {
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(60)));
    let chat = name("chat");
    let noon = rig.time();
    for round in 0..20 {
        rig.set_time(noon + round * 1_000 + YEAR * (round + 1));
        rig.say(&chat, "ahead");
        rig.set_time(noon + round * 1_000);
        rig.say(&chat, "right");
    }
    // Each time the clock was ahead all that was there before was old.
    assert_eq!(texts(&rig.hub.read(&chat, Start::Earliest, 100).entries), ["ahead", "right"]);
    rig.pass(60_001);
    rig.hub.sweep();
    assert_eq!(rig.hub.figures().entries, 0);
}

#[test]
fn a_history_is_bounded_by_count() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    assert_eq!(texts(&rig.hub.read(&chat, Start::Earliest, 10).entries), ["3", "4", "5"]);
}

#[test]
fn a_history_is_bounded_by_bytes() {
    // Three entries of 36 bytes fill it exactly.
    let history_bytes = 3 * (36 + ENTRY_OVERHEAD);
    let rig = Rig::new(Options::default().history_bytes(history_bytes));
    let chat = name("chat");
    let payload = "x".repeat(36);
    rig.repeat(&chat, &payload, 3);
    assert_eq!(rig.hub.read(&chat, Start::Earliest, 10).entries.len(), 3);
    rig.say(&chat, "one more");
    let kept = rig.hub.read(&chat, Start::Earliest, 10).entries;
    assert_eq!(kept[0].position, rig.at(2));
    assert_eq!(rig.hub.figures().bytes, kept.iter().map(|entry| entry.charge()).sum());
    assert!(rig.hub.figures().bytes <= history_bytes);
}

#[test]
fn the_name_of_an_event_is_charged_too() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let named = Publication::text("four").event("eight-by".parse().unwrap());
    rig.hub.publish(&chat, named).wait().unwrap();
    assert_eq!(rig.hub.figures().bytes, 4 + 8 + ENTRY_OVERHEAD);
}

#[test]
fn a_history_is_bounded_by_age() {
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(10)));
    let chat = name("chat");
    rig.say(&chat, "old");
    rig.pass(5_000);
    rig.say(&chat, "young");
    rig.pass(5_000);
    assert_eq!(texts(&rig.hub.read(&chat, Start::Earliest, 10).entries), ["old", "young"]);
    rig.pass(1);
    assert_eq!(texts(&rig.hub.read(&chat, Start::Earliest, 10).entries), ["young"]);
    rig.pass(5_000);
    assert_eq!(rig.hub.read(&chat, Start::Earliest, 10).entries.len(), 0);
    assert_eq!(rig.say(&chat, "next"), rig.at(3));
}

#[test]
fn a_sweep_drops_what_is_too_old_in_unused_channels() {
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(10)));
    for number in 0..200 {
        rig.say(&name(&format!("room-{number}")), "hello");
    }
    rig.pass(10_001);
    assert_eq!(rig.hub.figures().entries, 200);
    rig.hub.sweep();
    assert_eq!((rig.hub.figures().entries, rig.hub.figures().bytes), (0, 0));
}

#[test]
fn a_message_larger_than_a_history_is_refused_and_reaches_no_reader() {
    let rig = Rig::new(Options::default().history_bytes(100));
    let chat = name("chat");
    let refused = rig.hub.publish(&chat, Publication::text(&"x".repeat(37))).wait();
    assert_eq!(refused, Err(PublishError::TooLarge { charge: 101, limit: 100 }));
    assert_eq!(rig.hub.position(&chat), rig.at(0));
    rig.hub.publish(&chat, Publication::text(&"x".repeat(36))).wait().unwrap();
}

#[test]
fn a_history_of_nothing_keeps_the_newest_for_open_readers() {
    let rig = Rig::keeping(0);
    let chat = name("chat");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    rig.say(&chat, "hello");
    assert_eq!(text(&crate::entry(reader.try_next())), "hello");
}

#[test]
fn every_start_begins_where_it_says() {
    let rig = Rig::keeping(4);
    let chat = name("chat");
    for number in 1..=6 {
        rig.say(&chat, &number.to_string());
        rig.pass(1_000);
    }
    let cases = [
        ("earliest", vec!["3", "4", "5", "6"]),
        ("now", vec![]),
        ("-2", vec!["5", "6"]),
        ("-50", vec!["3", "4", "5", "6"]),
        ("-0", vec![]),
        ("2s", vec!["5", "6"]),
        ("2001ms", vec!["5", "6"]),
        ("1999ms", vec!["6"]),
        ("7d", vec!["3", "4", "5", "6"]),
        ("0s", vec![]),
    ];
    for (after, expected) in cases {
        let page = rig.hub.read(&chat, after.parse().unwrap(), 10);
        assert_eq!(texts(&page.entries), expected, "{after}");
        assert_eq!(page.gap, None, "{after}: a reader without a position misses nothing");
        assert_eq!(page.at, rig.at(6), "{after}");
    }
    let page = rig.hub.read(&chat, Start::After(rig.at(4)), 10);
    assert_eq!(texts(&page.entries), ["5", "6"]);
}

#[test]
fn pages_lead_from_one_to_the_next_without_a_hole() {
    let rig = Rig::keeping(100);
    let chat = name("chat");
    rig.count_to(&chat, 25);
    let (mut start, mut seen) = (Start::Earliest, Vec::new());
    loop {
        let page = rig.hub.read(&chat, start, 10);
        assert_eq!(page.gap, None);
        assert!(page.entries.len() <= 10);
        if page.entries.is_empty() {
            assert_eq!(page.at, rig.hub.position(&chat));
            break;
        }
        start = Start::After(page.at);
        seen.extend(page.entries.iter().cloned());
    }
    let expected: Vec<String> = (1..=25).map(|number| number.to_string()).collect();
    assert_eq!(texts(&seen), expected);
}

#[test]
fn an_empty_page_says_where_to_go_on_from() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    assert_eq!(rig.hub.read(&chat, Start::Last(100), 100).at, rig.at(0));
    rig.count_to(&chat, 3);
    assert_eq!(rig.hub.read(&chat, Start::Now, 100).at, rig.at(3));
    let nothing_asked = rig.hub.read(&chat, Start::After(rig.at(1)), 0);
    assert_eq!(nothing_asked.at, rig.at(1), "a page of nothing skips nothing");
}

#[test]
fn forgetting_drops_the_history_and_offsets_go_on() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    rig.count_to(&chat, 3);
    rig.hub.forget(&chat).wait().unwrap();
    assert_eq!(rig.hub.position(&chat), rig.at(3));
    assert_eq!(rig.hub.read(&chat, Start::Earliest, 10).entries.len(), 0);
    assert_eq!(rig.hub.figures().entries, 0);
    assert_eq!(rig.say(&chat, "next"), rig.at(4));
    assert_eq!(texts(&rig.hub.read(&chat, Start::Earliest, 10).entries), ["next"]);
}

#[test]
fn another_hub_has_another_epoch() {
    let (one, other) = (Rig::keeping(1), Rig::keeping(1));
    assert_ne!(one.hub.epoch(), other.hub.epoch());
    assert_ne!(one.hub.epoch(), foreign().epoch);
}
