//! What is missing is told: when, from where to where, and why.

use std::time::Duration;

use sockeye_hub::{Budget, Gap, GapReason, Options, Start};

use crate::{Rig, entry, foreign, gap, name, text, texts};

#[test]
fn a_reader_that_resumes_in_time_gets_no_gap() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    // Entry 2 is gone, but a reader that stands behind it has read it.
    let mut reader = rig.hub.subscribe(&chat, Start::After(rig.at(2)));
    assert_eq!(reader.lag().gap, None);
    assert_eq!(text(&entry(reader.try_next())), "3");
    assert_eq!(rig.hub.read(&chat, Start::After(rig.at(2)), 10).gap, None);
}

#[test]
fn trimmed_while_the_reader_was_away_is_expired() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    let expired = Gap { after: rig.at(1), next: rig.at(2), why: GapReason::Expired };

    let mut reader = rig.hub.subscribe(&chat, Start::After(rig.at(1)));
    assert_eq!(gap(reader.try_next()), expired);
    assert_eq!(entry(reader.try_next()).position, rig.at(3));

    let page = rig.hub.read(&chat, Start::After(rig.at(1)), 10);
    assert_eq!(page.gap, Some(expired));
    assert_eq!(texts(&page.entries), ["3", "4", "5"]);
}

#[test]
fn a_reader_that_resumes_after_messages_grew_too_old_gets_expired() {
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(10)));
    let chat = name("chat");
    rig.count_to(&chat, 2);
    rig.pass(10_001);
    let page = rig.hub.read(&chat, Start::After(rig.at(1)), 10);
    assert_eq!(page.gap, Some(Gap { after: rig.at(1), next: rig.at(2), why: GapReason::Expired }));
    assert_eq!((page.entries.len(), page.at), (0, rig.at(2)));
    let mut reader = rig.hub.subscribe(&chat, Start::After(rig.at(1)));
    assert_eq!(gap(reader.try_next()).why, GapReason::Expired);
}

#[test]
fn trimmed_while_the_reader_was_connected_is_slow() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    rig.count_to(&chat, 5);
    let slow = Gap { after: rig.at(0), next: rig.at(2), why: GapReason::Slow };
    assert_eq!(reader.lag().gap, Some(GapReason::Slow));
    assert_eq!(gap(reader.try_next()), slow);
    assert_eq!(text(&entry(reader.try_next())), "3");
}

#[test]
fn a_slow_reader_of_pages_gets_the_gap_before_what_follows_it() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    rig.count_to(&chat, 5);
    let page = reader.try_next_page(Budget::default()).unwrap();
    assert_eq!(page.gap, Some(Gap { after: rig.at(0), next: rig.at(2), why: GapReason::Slow }));
    assert_eq!(texts(&page.entries), ["3", "4", "5"]);
    assert!(reader.try_next_page(Budget::default()).is_none());
}

#[test]
fn a_reader_that_has_read_all_is_not_slow_when_the_history_ages() {
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(10)));
    let chat = name("chat");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    rig.say(&chat, "hello");
    entry(reader.try_next());
    rig.pass(10_001);
    rig.hub.sweep();
    assert!(reader.try_next().is_none());
    rig.say(&chat, "again");
    assert_eq!(text(&entry(reader.try_next())), "again");
}

#[test]
fn a_position_of_another_epoch_is_reset() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    let reset = Gap { after: foreign(), next: rig.at(2), why: GapReason::Reset };
    let page = rig.hub.read(&chat, Start::After(foreign()), 10);
    assert_eq!((page.gap, texts(&page.entries)), (Some(reset), vec!["3", "4", "5"]));
    let mut reader = rig.hub.subscribe(&chat, Start::After(foreign()));
    assert_eq!(gap(reader.try_next()), reset);
    assert_eq!(text(&entry(reader.try_next())), "3");
}

#[test]
fn a_position_of_this_epoch_that_is_not_there_yet_is_reset() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    assert_eq!(rig.hub.read(&chat, Start::After(rig.at(5)), 10).gap, None);
    let page = rig.hub.read(&chat, Start::After(rig.at(6)), 10);
    assert_eq!(page.gap, Some(Gap { after: rig.at(6), next: rig.at(2), why: GapReason::Reset }));
    assert_eq!(texts(&page.entries), ["3", "4", "5"]);
}

#[test]
fn an_unpublished_channel_resets_a_reader_that_was_further() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    let page = rig.hub.read(&chat, Start::After(rig.at(7)), 10);
    assert_eq!(page.gap, Some(Gap { after: rig.at(7), next: rig.at(0), why: GapReason::Reset }));
    assert_eq!(page.at, rig.at(0));
    let mut reader = rig.hub.subscribe(&chat, Start::After(foreign()));
    assert_eq!(gap(reader.try_next()).next, rig.at(0));
    assert!(reader.try_next().is_none());
}

#[test]
fn forgetting_tells_every_open_reader_reset_once() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    rig.count_to(&chat, 3);
    let mut behind = rig.hub.subscribe(&chat, Start::After(rig.at(1)));
    let mut done = rig.hub.subscribe(&chat, Start::Now);
    rig.hub.forget(&chat).wait().unwrap();
    rig.hub.forget(&chat).wait().unwrap();
    rig.say(&chat, "next");

    let reset = |after| Gap { after, next: rig.at(3), why: GapReason::Reset };
    assert_eq!(gap(behind.try_next()), reset(rig.at(1)));
    assert_eq!(gap(done.try_next()), reset(rig.at(3)));
    for mut reader in [behind, done] {
        assert_eq!(text(&entry(reader.try_next())), "next");
        assert!(reader.try_next().is_none());
    }
}

#[test]
fn forgetting_resets_readers_that_resume_and_missed_something() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    rig.count_to(&chat, 3);
    rig.hub.forget(&chat).wait().unwrap();
    rig.say(&chat, "next");
    let page = rig.hub.read(&chat, Start::After(rig.at(2)), 10);
    assert_eq!(page.gap, Some(Gap { after: rig.at(2), next: rig.at(3), why: GapReason::Reset }));
    let page = rig.hub.read(&chat, Start::After(rig.at(3)), 10);
    assert_eq!((page.gap, texts(&page.entries)), (None, vec!["next"]));
    // A reader that comes after it was never reset.
    assert_eq!(rig.hub.subscribe(&chat, Start::Earliest).lag().gap, None);
}

#[test]
fn a_gap_not_delivered_yet_is_delivered_again_on_resuming() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    let dropped = rig.hub.subscribe(&chat, Start::After(foreign()));
    assert_eq!(dropped.position(), foreign());
    let mut resumed = rig.hub.subscribe(&chat, Start::After(dropped.position()));
    let told = gap(resumed.try_next());
    assert_eq!((told.after, told.why), (foreign(), GapReason::Reset));
    assert_eq!(resumed.position(), told.next);
}

#[test]
fn losses_before_a_gap_is_delivered_make_one_gap() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    let mut reader = rig.hub.subscribe(&chat, Start::After(rig.at(1)));
    rig.count_to(&chat, 4);
    let told = gap(reader.try_next());
    assert_eq!(told, Gap { after: rig.at(1), next: rig.at(6), why: GapReason::Expired });
    assert_eq!(entry(reader.try_next()).position, rig.at(7));
}

#[test]
fn a_reader_knows_whether_it_missed_more_than_was_deleted() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 2);
    let mut reader = rig.hub.subscribe(&chat, Start::After(rig.at(1)));
    assert!(!reader.has_missed());
    for (count, has_missed) in [(3, false), (4, true), (0, false)] {
        rig.hub.forget(&chat).wait().unwrap();
        rig.count_to(&chat, count);
        assert_eq!(gap(reader.try_next()).why, GapReason::Reset);
        assert_eq!(reader.has_missed(), has_missed, "{count}");
        while reader.try_next().is_some() {}
    }
    // What was dropped before a deletion was deleted all the same.
    rig.count_to(&chat, 5);
    rig.hub.forget(&chat).wait().unwrap();
    gap(reader.try_next());
    assert!(!reader.has_missed());
    rig.count_to(&chat, 4);
    assert_eq!(gap(reader.try_next()).why, GapReason::Slow);
    assert!(reader.has_missed());
    let mut late = rig.hub.subscribe(&chat, Start::After(rig.at(1)));
    gap(late.try_next());
    assert!(late.has_missed(), "it came with a position");
}

#[test]
fn a_reason_is_written_as_on_the_wire() {
    let words = [GapReason::Expired, GapReason::Slow, GapReason::Reset].map(|why| why.to_string());
    assert_eq!(words, ["expired", "slow", "reset"]);
}
