//! What becomes of readers that the log no longer reaches back to.

use std::time::Duration;

use sockeye_hub::{Budget, Gap, GapReason, Options, Reader, Start};

use crate::{Rig, entry, gap, name, text, texts};

/// A hub that keeps three entries of a channel, under this rule.
fn rig(rule: &str) -> Rig {
    Rig::new(Options::default().history_count(3).policies(vec![rule.parse().unwrap()]))
}

fn rest(reader: &mut Reader) -> Vec<String> {
    let entries = std::iter::from_fn(|| reader.try_next());
    entries.map(|item| text(&entry(Some(item))).to_owned()).collect()
}

#[test]
fn a_slow_reader_of_latest_gets_a_gap_and_the_newest() {
    let (rig, load) = (rig("load:*=latest"), name("load:cpu"));
    let mut reader = rig.hub.subscribe(&load, Start::Now);
    rig.count_to(&load, 9);
    assert_eq!(reader.lag().entries, 1);
    assert_eq!(
        gap(reader.try_next()),
        Gap { after: rig.at(0), next: rig.at(8), why: GapReason::Slow }
    );
    assert_eq!(rest(&mut reader), ["9"]);
    rig.say(&load, "10");
    assert_eq!(rest(&mut reader), ["10"], "and goes on");
}

#[test]
fn a_reader_of_latest_that_keeps_up_gets_everything() {
    let (rig, load) = (rig("load:*=latest"), name("load:cpu"));
    let mut reader = rig.hub.subscribe(&load, Start::Now);
    rig.count_to(&load, 3);
    assert_eq!(rest(&mut reader), ["1", "2", "3"]);
}

#[test]
fn a_reader_that_resumes_latest_too_late_gets_the_newest() {
    let (rig, load) = (rig("load:*=latest"), name("load:cpu"));
    rig.count_to(&load, 9);
    let expired = Gap { after: rig.at(2), next: rig.at(8), why: GapReason::Expired };
    let mut reader = rig.hub.subscribe(&load, Start::After(rig.at(2)));
    assert_eq!((reader.lag().entries, reader.lag().gap), (1, Some(GapReason::Expired)));
    assert_eq!(gap(reader.try_next()), expired);
    assert_eq!(rest(&mut reader), ["9"]);
    let page = rig.hub.read(&load, Start::After(rig.at(2)), 10);
    assert_eq!((page.gap, texts(&page.entries)), (Some(expired), vec!["9"]));
    // In time is in time.
    let page = rig.hub.read(&load, Start::After(rig.at(6)), 10);
    assert_eq!((page.gap, page.entries.len()), (None, 3));
}

#[test]
fn a_deleted_history_skips_nothing_of_what_came_after() {
    let (rig, load) = (rig("load:*=latest"), name("load:cpu"));
    rig.count_to(&load, 3);
    let mut reader = rig.hub.subscribe(&load, Start::Now);
    rig.hub.forget(&load).wait().unwrap();
    rig.count_to(&load, 2);
    assert_eq!(
        gap(reader.try_next()),
        Gap { after: rig.at(3), next: rig.at(3), why: GapReason::Reset }
    );
    assert_eq!(rest(&mut reader), ["1", "2"]);
}

#[test]
fn with_nothing_left_to_skip_to_latest_goes_on_at_the_end() {
    let rig = Rig::new(
        Options::default()
            .history_age(Duration::from_secs(1))
            .policies(vec!["*=latest".parse().unwrap()]),
    );
    let load = name("load");
    rig.count_to(&load, 3);
    rig.pass(2000);
    let page = rig.hub.read(&load, Start::After(rig.at(1)), 10);
    assert_eq!(page.gap, Some(Gap { after: rig.at(1), next: rig.at(3), why: GapReason::Expired }));
    assert_eq!((page.entries.len(), page.at), (0, rig.at(3)));
}

#[tokio::test]
async fn a_slow_reader_of_close_gets_the_gap_and_nothing_more() {
    let (rig, orders) = (rig("orders=close"), name("orders"));
    for pages in [false, true] {
        let mut reader = rig.hub.subscribe(&orders, Start::Now);
        let after = reader.position();
        assert!(!reader.is_over());
        rig.count_to(&orders, 5);
        let told = if pages {
            let page = reader.try_next_page(Budget::default()).unwrap();
            assert_eq!(page.entries.len(), 0);
            page.gap.unwrap()
        } else {
            gap(reader.try_next())
        };
        assert_eq!((told.after, told.why), (after, GapReason::Slow));
        assert!(reader.is_over());
        rig.count_to(&orders, 5);
        rig.hub.forget(&orders).wait().unwrap();
        rig.count_to(&orders, 5);
        assert!(reader.try_next().is_none());
        assert!(reader.try_next_page(Budget::default()).is_none());
        let wait = reader.next();
        assert!(tokio::time::timeout(Duration::ZERO, wait).await.is_err());
    }
}

#[test]
fn a_reader_that_was_cut_off_can_subscribe_again() {
    let (rig, orders) = (rig("orders=close"), name("orders"));
    rig.count_to(&orders, 5);
    let mut reader = rig.hub.subscribe(&orders, Start::After(rig.at(1)));
    let expired = Gap { after: rig.at(1), next: rig.at(2), why: GapReason::Expired };
    assert_eq!(gap(reader.try_next()), expired);
    assert!(!reader.is_over());
    assert_eq!(rest(&mut reader), ["3", "4", "5"]);
}

#[test]
fn other_channels_catch_up() {
    let (rig, chat) = (rig("orders=close"), name("chat"));
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    rig.count_to(&chat, 5);
    assert_eq!(gap(reader.try_next()).next, rig.at(2));
    assert_eq!(rest(&mut reader), ["3", "4", "5"]);
}
