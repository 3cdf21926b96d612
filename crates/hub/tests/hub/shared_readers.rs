//! One reader in the place of many: what it is given is what each of them would be.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sockeye_hub::{Budget, GapReason, Page, SharedReader, Start};

use crate::{Rig, name, texts};

const BUDGET: Budget = Budget::entries(2);

/// The next page, if there is one now.
fn next(shared: &mut SharedReader) -> Option<Page> {
    match pin!(shared.next_page(BUDGET)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(page) => Some(page),
        Poll::Pending => None,
    }
}

#[test]
fn it_reads_what_each_would_and_they_go_on_behind_it() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    rig.say(&chat, "before");
    let mut readers = [(); 3].map(|()| rig.hub.subscribe(&chat, Start::Now));
    let mut shared = readers[0].shared().unwrap();
    assert!(readers.iter().all(|reader| reader.outlook() == readers[0].outlook()));
    assert_eq!((readers[0].readers(), rig.hub.figures().readers), (3, 3), "it is not counted");
    assert!(next(&mut shared).is_none());
    rig.count_to(&chat, 3);
    let page = next(&mut shared).unwrap();
    assert_eq!(texts(&page.entries), ["1", "2"]);
    assert_eq!(shared.offset(), page.at.offset);
    for reader in &mut readers {
        reader.pass(shared.offset());
        assert_eq!(reader.position(), page.at);
        assert_eq!(texts(&reader.try_next_page(BUDGET).unwrap().entries), ["3"]);
        // It never goes back.
        reader.pass(shared.offset());
        assert!(reader.try_next_page(BUDGET).is_none());
    }
    assert_eq!(texts(&next(&mut shared).unwrap().entries), ["3"]);
}

#[test]
fn what_is_told_to_one_reader_alone_is_not_shared() {
    let rig = Rig::keeping(2);
    let (chat, other) = (name("chat"), name("other"));
    let begun = rig.hub.subscribe(&chat, Start::Now);
    rig.count_to(&chat, 5);
    let late = rig.hub.subscribe(&chat, Start::After(begun.position()));
    assert!(late.lag().gap.is_some());
    assert!(late.outlook().is_none() && late.shared().is_none());
    // The others see it coming: their shared reader is told, and so is each of them.
    let mut shared = begun.shared().unwrap();
    let gap = next(&mut shared).unwrap().gap.unwrap();
    assert_eq!((gap.why, begun.lag().gap), (GapReason::Slow, Some(GapReason::Slow)));
    // After a deletion the outlook is another.
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    let before = reader.outlook();
    rig.hub.forget(&chat).wait().unwrap();
    assert_eq!(reader.outlook(), before, "it has not been told");
    assert!(reader.try_next_page(BUDGET).unwrap().gap.is_some());
    assert_ne!(reader.outlook(), before);
    assert_ne!(rig.hub.subscribe(&other, Start::Now).outlook(), reader.outlook());
    // One that was told the end has nothing to share.
    rig.hub.end(&chat, "").wait().unwrap();
    assert!(reader.try_next_page(BUDGET).unwrap().end);
    assert!(reader.outlook().is_none());
}

#[test]
fn pages_that_follow_each_other_are_one_within_the_budget() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let reader = rig.hub.subscribe(&chat, Start::Now);
    let mut shared = reader.shared().unwrap();
    assert!(shared.try_next_page(BUDGET).is_none());
    rig.count_to(&chat, 3);
    let [one, two] = [(); 2].map(|()| shared.try_next_page(BUDGET).unwrap());
    assert!(one.followed_by(&two, BUDGET).is_none());
    let both = one.followed_by(&two, Budget::entries(3)).unwrap();
    assert_eq!((texts(&both.entries), both.at), (vec!["1", "2", "3"], two.at));
    assert!(one.followed_by(&two, Budget::entries(3).bytes(1)).is_none());
    let offsets: Vec<_> = both.entries.iter().map(|entry| entry.position.offset).collect();
    assert_eq!(texts(&both.after(offsets[0]).entries), ["2", "3"]);
    assert_eq!(texts(&both.after(offsets[0] - 1).entries), ["1", "2", "3"]);
    let none = both.after(offsets[2]);
    assert_eq!((none.entries.len(), none.at), (0, two.at));
    // Neither a gap nor an end goes with anything.
    rig.hub.forget(&chat).wait().unwrap();
    let gap = shared.try_next_page(BUDGET).unwrap();
    assert!(gap.gap.is_some() && both.followed_by(&gap, BUDGET).is_none());
    rig.hub.end(&chat, "").wait().unwrap();
    let end = shared.try_next_page(BUDGET).unwrap();
    assert!(end.end && both.followed_by(&end, Budget::entries(9)).is_none());
}
