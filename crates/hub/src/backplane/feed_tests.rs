//! What a feed gives, holds back and refuses.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Arrival, Feed, What};
use crate::Payload;

const ROOM: u64 = 1 << 20;

fn message(offset: u64, payload: Payload) -> Arrival {
    let what = What::Message { channel: "a".parse().unwrap(), payload, event: None, id: None };
    Arrival { offset, ts: 1000 + offset, what }
}

fn at(offset: u64) -> Arrival {
    message(offset, Payload::Text("hello".into()))
}

fn feed() -> Feed {
    Feed::new(10, 1000, ROOM)
}

/// The offsets that are given, and up to where.
fn taken(feed: &mut Feed) -> Option<(Vec<u64>, u64)> {
    let (arrivals, upto) = feed.take()?;
    Some((arrivals.iter().map(|arrival| arrival.offset).collect(), upto))
}

#[test]
fn an_answer_that_is_too_old_leaves_what_is_missing_missing() {
    let mut feed = feed();
    feed.expect(12);
    assert_eq!(feed.fill(), Some(11));
    feed.filled(Vec::new(), None);
    assert_eq!(feed.fill(), Some(11), "the copy was behind: it is asked again at once");
    feed.filled(vec![at(11)], None);
    assert_eq!((taken(&mut feed), feed.fill()), (Some((vec![11], 11)), Some(12)));
    feed.filled(vec![at(12)], None);
    assert_eq!((taken(&mut feed), feed.fill()), (Some((vec![12], 12)), None));
}

#[test]
fn what_the_engine_does_not_have_is_not_waited_for() {
    let mut feed = feed();
    feed.live(at(13));
    feed.live(at(16));
    assert_eq!((feed.fill(), taken(&mut feed)), (Some(11), None));
    // When the leader was asked, 13 had been announced.
    feed.disbelieve(13);
    assert_eq!(feed.fill(), Some(11), "16 came since");
    feed.disbelieve(16);
    assert_eq!((feed.fill(), feed.bytes()), (None, 0));
    feed.live(at(11));
    assert_eq!(taken(&mut feed), Some((vec![11], 11)));
}

#[test]
fn an_answer_in_parts_is_given_when_all_of_them_are_there() {
    let mut feed = feed();
    feed.expect(14);
    // 11 was trimmed because of one of those that follow.
    feed.filled(vec![at(12)], Some(14));
    assert_eq!((taken(&mut feed), feed.fill()), (None, Some(13)));
    feed.filled(vec![at(13)], Some(14));
    assert_eq!((taken(&mut feed), feed.fill()), (None, Some(14)));
    feed.live(at(14));
    assert_eq!((taken(&mut feed), feed.fill()), (Some((vec![12, 13, 14], 14)), None));
}

#[test]
fn what_came_in_parts_is_given_when_the_rest_is_gone() {
    let mut feed = feed();
    feed.expect(14);
    feed.filled(vec![at(12)], Some(14));
    feed.disbelieve(feed.expected());
    assert_eq!((taken(&mut feed), feed.fill()), (Some((vec![12], 12)), None));
}

#[test]
fn what_comes_behind_a_hole_is_bounded_in_bytes() {
    let mut feed = feed();
    let large = |offset| message(offset, Payload::Bytes(vec![0; 300 << 10].into()));
    (12..40).for_each(|offset| feed.live(large(offset)));
    assert!((ROOM..2 * ROOM).contains(&feed.bytes()), "{}", feed.bytes());
    assert!(!feed.is_too_far_behind(), "what found no room can be fetched");
    feed.filled(vec![at(11)], None);
    let (given, upto) = taken(&mut feed).unwrap();
    assert_eq!((given.len(), upto, feed.bytes()), (5, 15, 0));
    assert_eq!(feed.fill(), Some(16), "the rest is known to be there");
}

#[test]
fn what_is_fetched_in_parts_is_bounded_in_bytes() {
    let mut feed = feed();
    feed.expect(1000);
    let large = |offset| message(offset, Payload::Bytes(vec![0; 300 << 10].into()));
    for offset in 11..14 {
        feed.filled(vec![large(offset)], Some(1000));
        assert!(!feed.is_too_far_behind());
    }
    feed.filled(vec![large(14)], Some(1000));
    assert!(feed.is_too_far_behind());
    feed.restart(1000, 5000);
    assert_eq!((feed.bytes(), feed.fill()), (0, None));
}

#[test]
fn what_is_held_back_does_not_hold_what_the_connection_has_read() {
    let read = Bytes::from(vec![b'x'; 1 << 16]);
    let part = |offset, from| message(offset, Payload::Bytes(read.slice(from..from + 8)));
    let is_copy = |arrival: &Arrival| {
        let What::Message { payload, .. } = &arrival.what else { panic!("a message") };
        !read.as_ptr_range().contains(&payload.as_bytes().as_ptr())
    };
    let mut feed = feed();
    feed.live(part(12, 0));
    feed.filled(vec![part(11, 8)], Some(13));
    feed.live(part(13, 16));
    let (given, _) = feed.take().unwrap();
    assert!(given[..2].iter().all(is_copy));
}

#[test]
fn what_does_not_fit_is_given_when_the_engine_was_asked() {
    let mut feed = feed();
    feed.live(at(11));
    let again = at(11);
    feed.live(again.clone());
    assert!(!feed.is_suspect(), "the same message again");
    feed.live(Arrival { ts: 2000, ..again });
    feed.live(at(12));
    assert!(feed.is_suspect());
    assert_eq!((taken(&mut feed), feed.fill()), (None, None));
    feed.clear_suspicion();
    // What came meanwhile was kept: it may be trimmed before it could be fetched.
    assert_eq!((taken(&mut feed), feed.fill()), (Some((vec![11, 12], 12)), None));
}

#[test]
fn what_is_missing_for_longer_than_anything_is_held_may_be_lost() {
    let mut feed = feed();
    assert!(!feed.may_have_lost(5000), "nothing is missing");
    feed.mark_complete(4000);
    feed.expect(12);
    assert!(!feed.may_have_lost(4000), "it came after 4000");
    assert!(feed.may_have_lost(4001));
    // What is missing now came after this one.
    feed.filled(vec![Arrival { ts: 4500, ..at(11) }], None);
    assert!(!feed.may_have_lost(4500) && feed.may_have_lost(4501));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever is lost, repeated and answered too early, all that is there is given in order and once.
    #[test]
    fn everything_is_given_in_order_and_once(
        last in 11..60_u64,
        announced in prop::collection::vec(11..60_u64, 0..60),
        copies in prop::collection::vec((10..60_u64, 1..8_u64), 0..30),
    ) {
        let mut feed = feed();
        let mut given = Vec::new();
        let answers = copies.into_iter().map(|(upto, limit)| (upto.min(last), limit));
        let mut announced = announced.into_iter().filter(|offset| *offset <= last);
        for (upto, limit) in answers.chain((0..100).map(|_| (last, 7))) {
            announced.by_ref().take(2).for_each(|offset| feed.live(at(offset)));
            if upto == last {
                feed.expect(last);
            }
            given.extend(feed.take().into_iter().flat_map(|(arrivals, _)| arrivals));
            let Some(from) = feed.fill() else { continue };
            let answer: Vec<_> = (from..=upto).take(limit as usize).map(at).collect();
            let is_all = answer.last().map_or(from - 1, |newest| newest.offset) >= upto;
            feed.filled(answer, (!is_all).then_some(last));
            given.extend(feed.take().into_iter().flat_map(|(arrivals, _)| arrivals));
        }
        let given: Vec<_> = given.iter().map(|arrival| arrival.offset).collect();
        prop_assert_eq!(given, (11..=last).collect::<Vec<_>>());
        prop_assert_eq!((feed.verified(), feed.fill(), feed.bytes()), (last, None, 0));
    }
}

#[test]
fn texts_are_counted_too() {
    let mut feed = feed();
    let id: Arc<str> = "0123456789".into();
    let what = What::Message {
        channel: "abc".parse().unwrap(),
        payload: Payload::Text("hello".into()),
        event: Some("joined".parse().unwrap()),
        id: Some(id),
    };
    feed.live(Arrival { offset: 12, ts: 1, what });
    assert_eq!(feed.bytes(), 256 + 10 + 3 + 5 + 6);
}
