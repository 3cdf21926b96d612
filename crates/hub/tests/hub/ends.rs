//! Channels that have ended: what readers are told, what publishers are, and for how long.

use std::time::Duration;

use sockeye_hub::{
    Budget, Capacity, GapReason, Hub, IdempotencyKey, Item, Missing, Options, Position,
    Publication, PublishError, Start,
};

use crate::{Rig, entry, full, gap, name, text, texts};

/// A channel with two messages that has ended, and the position of its end.
fn ended() -> (Rig, Position) {
    let rig = Rig::keeping(10);
    rig.count_to(&name("chat"), 2);
    let end = rig.hub.end(&name("chat"), "ann").wait().unwrap();
    (rig, end)
}

/// The position of the end, which is what is told next.
#[track_caller]
fn end(item: Option<Item>) -> Position {
    match item {
        Some(Item::End(at)) => at,
        other => panic!("the end was due, not {other:?}"),
    }
}

#[test]
fn readers_get_what_is_there_and_then_the_end_once() {
    let (rig, at) = ended();
    assert_eq!(at, rig.at(3));
    for start in [Start::Earliest, Start::After(rig.at(0)), Start::Last(2)] {
        let mut reader = rig.hub.subscribe(&name("chat"), start);
        assert_eq!((reader.lag().entries, reader.lag().ended), (2, true));
        assert_eq!(text(&entry(reader.try_next())), "1");
        assert_eq!(text(&entry(reader.try_next())), "2");
        assert!(!reader.is_over());
        assert_eq!(end(reader.try_next()), at);
        assert_eq!((reader.position(), reader.is_over()), (at, true));
        assert!(reader.try_next().is_none() && reader.try_next_page(Budget::default()).is_none());
    }
    for start in [Start::Now, Start::After(rig.at(2)), Start::After(at), Start::Last(0)] {
        assert_eq!(end(rig.hub.subscribe(&name("chat"), start).try_next()), at, "{start:?}");
    }
}

#[test]
fn a_page_tells_the_end_where_nothing_follows() {
    let (rig, at) = ended();
    let chat = name("chat");
    let first = rig.hub.read(&chat, Start::Earliest, 1);
    assert_eq!((texts(&first.entries), first.at, first.end), (vec!["1"], rig.at(1), false));
    let last = rig.hub.read(&chat, Start::After(first.at), 1);
    assert_eq!((texts(&last.entries), last.at, last.end), (vec!["2"], at, true));
    let none = rig.hub.read(&chat, Start::After(at), 1);
    assert_eq!((none.entries.len(), none.at, none.end), (0, at, true));
    assert_eq!(rig.hub.position(&chat), at);
    assert!(rig.hub.is_same_place(&chat, at, at));
    assert!(!rig.hub.is_same_place(&chat, rig.at(2), at), "the end is still to be told");
}

#[tokio::test]
async fn readers_that_wait_are_told() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    let mut paging = rig.hub.subscribe(&chat, Start::Now);
    let looking = rig.hub.subscribe(&chat, Start::Now);
    let (item, page, (), at) = tokio::join!(
        reader.next(),
        paging.next_page(Budget::default()),
        looking.readable(),
        async { rig.hub.end(&chat, "ann").await.unwrap() }
    );
    assert_eq!(end(Some(item)), at);
    assert!(page.end && page.at == at && page.entries.is_empty());
}

#[test]
fn nothing_is_published_behind_the_end_and_what_was_before_is_known() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let say = |key: &str| {
        let key = IdempotencyKey::new("ann", key).unwrap();
        rig.hub.publish(&chat, Publication::text("once").key(key)).wait()
    };
    let first = say("1").unwrap();
    let at = rig.hub.end(&chat, "ann").wait().unwrap();
    assert_eq!(rig.hub.end(&chat, "bob").wait(), Ok(at), "it has ended once");
    assert_eq!(say("2"), Err(PublishError::Ended));
    assert_eq!(say("1"), Ok(first), "a repetition of what was taken");
    assert_eq!(rig.hub.position(&chat), at);
}

#[test]
fn a_channel_that_is_forgotten_is_open_again() {
    let (rig, at) = ended();
    let chat = name("chat");
    let mut behind = rig.hub.subscribe(&chat, Start::Earliest);
    rig.hub.forget(&chat).wait().unwrap();
    assert_eq!(gap(behind.try_next()).why, GapReason::Reset);
    assert!(behind.try_next().is_none());
    let next = rig.say(&chat, "anew");
    assert_eq!(next, rig.at(4));
    assert_eq!(text(&entry(behind.try_next())), "anew");
    let mut resumed = rig.hub.subscribe(&chat, Start::After(at));
    assert_eq!(text(&entry(resumed.try_next())), "anew", "nothing is missing after the end");
}

#[test]
fn an_end_is_remembered_as_long_as_a_history() {
    let options = Options::default().max_channels(2).history_age(Duration::from_secs(60));
    let rig = Rig::new(options);
    let chat = name("chat");
    let at = rig.hub.end(&chat, "ann").wait().unwrap();
    rig.say(&name("other"), "1");
    rig.pass(60_000);
    rig.hub.sweep();
    assert_eq!(rig.hub.end(&chat, "ann").wait(), Ok(at));
    assert!(rig.hub.read(&chat, Start::Now, 1).end);
    // Then it goes when the room for channels is used.
    rig.say(&name("other"), "2");
    rig.pass(1);
    rig.hub.sweep();
    assert!(!rig.hub.read(&chat, Start::Now, 1).end);
    assert!(rig.say(&chat, "anew") > at);
}

#[test]
fn an_end_takes_the_place_of_a_channel() {
    let rig = Rig::new(Options::default().max_channels(1));
    let at = rig.hub.end(&name("chat"), "ann").wait().unwrap();
    assert_eq!(at, rig.at(1));
    let reader = rig.hub.subscribe(&name("chat"), Start::Now);
    let refused = rig.hub.end(&name("other"), "ann").wait();
    assert_eq!(refused, Err(full(Capacity::Channels)));
    drop(reader);
}

#[test]
fn a_message_is_found_by_its_position() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 5);
    let find = |hub: &Hub, offset| hub.entry(&chat, rig.at(offset)).map(|it| text(&it).to_owned());
    assert_eq!(find(&rig.hub, 0), Err(Missing::Never));
    assert_eq!(find(&rig.hub, 2), Err(Missing::Gone));
    assert_eq!(find(&rig.hub, 3), Ok("3".to_owned()));
    assert_eq!(find(&rig.hub, 5), Ok("5".to_owned()));
    assert_eq!(find(&rig.hub, 6), Err(Missing::Never));
    assert_eq!(rig.hub.entry(&chat, crate::foreign()).unwrap_err(), Missing::Never);
    let end = rig.hub.end(&chat, "ann").wait().unwrap();
    assert_eq!(find(&rig.hub, end.offset), Err(Missing::Never), "an end is no message");
    assert_eq!(find(&rig.hub, 5), Ok("5".to_owned()));
    rig.hub.forget(&chat).wait().unwrap();
    assert_eq!(find(&rig.hub, 5), Err(Missing::Gone));
    assert_eq!(rig.hub.entry(&name("other"), rig.at(1)).unwrap_err(), Missing::Never);
}

#[cfg(feature = "fjall")]
mod kept {
    use super::*;
    use crate::restart::Kept;

    #[test]
    fn an_end_holds_over_a_restart_and_so_does_its_own_end() {
        let mut kept = Kept::keeping(10);
        let chat = name("chat");
        kept.rig.count_to(&chat, 2);
        let at = kept.rig.hub.end(&chat, "ann").wait().unwrap();
        for _ in 0..2 {
            kept.restart();
            let page = kept.rig.hub.read(&chat, Start::Earliest, 10);
            assert_eq!((texts(&page.entries), page.at, page.end), (vec!["1", "2"], at, true));
            let refused = kept.rig.hub.publish(&chat, Publication::text("3")).wait();
            assert_eq!(refused, Err(PublishError::Ended));
        }
        kept.rig.hub.forget(&chat).wait().unwrap();
        kept.restart();
        assert_eq!(kept.rig.say(&chat, "anew"), kept.rig.at(4));
        kept.restart();
        let page = kept.rig.hub.read(&chat, Start::Earliest, 10);
        assert_eq!((texts(&page.entries), page.end), (vec!["anew"], false));
    }

    #[test]
    fn ends_keep_the_order_of_what_is_under_way() {
        let kept = Kept::keeping(10);
        let (hub, chat) = (&kept.rig.hub, name("chat"));
        let before = hub.publish(&chat, Publication::text("1"));
        let ending = hub.end(&chat, "ann");
        let again = hub.end(&chat, "ann");
        let behind = hub.publish(&chat, Publication::text("2"));
        assert_eq!(before.wait(), Ok(kept.rig.at(1)));
        assert_eq!((ending.wait(), again.wait()), (Ok(kept.rig.at(2)), Ok(kept.rig.at(2))));
        assert_eq!(behind.wait(), Err(PublishError::Ended));
    }

    /// Sweeps, and waits until the thread that writes has, too.
    fn sweep(kept: &Kept) {
        kept.rig.hub.sweep();
        kept.rig.hub.forget(&name("third")).wait().unwrap();
    }

    #[test]
    fn an_end_on_disk_is_remembered_as_long_as_a_history() {
        let options = Options::default().max_channels(2).history_age(Duration::from_secs(60));
        let mut kept = Kept::new(options);
        let chat = name("chat");
        let at = kept.rig.hub.end(&chat, "ann").wait().unwrap();
        kept.rig.say(&name("other"), "1");
        kept.restart();
        kept.rig.pass(60_000);
        sweep(&kept);
        kept.restart();
        assert_eq!(kept.rig.hub.end(&chat, "ann").wait(), Ok(at));
        kept.restart();
        kept.rig.pass(1);
        sweep(&kept);
        assert!(!kept.rig.hub.read(&chat, Start::Now, 1).end);
        assert!(kept.rig.say(&chat, "anew") > at);
    }
}
