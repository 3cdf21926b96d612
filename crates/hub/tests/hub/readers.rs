//! Readers: waiting, taking many at once, and what they cost.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use sockeye_hub::{Budget, Hub, Item, Lag, Page, Reader, Start};

use crate::{Rig, entry, gap, name, text, texts};

/// Counts how often it is woken.
#[derive(Default)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>, alarm: &Arc<Alarm>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(alarm))))
}

#[test]
fn a_reader_gets_each_entry_once_and_in_order() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    rig.say(&chat, "before");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    assert!(reader.try_next().is_none());
    rig.count_to(&chat, 3);
    for number in ["1", "2", "3"] {
        let entry = entry(reader.try_next());
        assert_eq!(text(&entry), number);
        assert_eq!(reader.position(), entry.position);
    }
    assert!(reader.try_next().is_none());
}

#[test]
fn readers_share_one_entry() {
    let rig = Rig::keeping(10);
    let chat = name("chat");
    let mut readers = [(); 2].map(|()| rig.hub.subscribe(&chat, Start::Now));
    rig.say(&chat, "hello");
    let [one, other] = readers.each_mut().map(|reader| entry(reader.try_next()));
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn waiting_for_something_to_read_takes_nothing() {
    let rig = Rig::keeping(2);
    let (chat, alarm) = (name("chat"), Arc::<Alarm>::default());
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    let begun = reader.position();
    {
        let mut readable = pin!(reader.readable());
        assert!(poll(readable.as_mut(), &alarm).is_pending());
        rig.say(&chat, "hello");
        assert_eq!(alarm.0.load(Relaxed), 1);
        assert!(poll(readable.as_mut(), &alarm).is_ready());
    }
    assert_eq!(reader.position(), begun);
    assert!(poll(pin!(reader.readable()), &alarm).is_ready());
    assert_eq!(text(&entry(reader.try_next())), "hello");
    assert!(poll(pin!(reader.readable()), &alarm).is_pending());
    // A gap is something to read, too.
    rig.hub.forget(&chat).wait().unwrap();
    assert!(poll(pin!(reader.readable()), &alarm).is_ready());
}

#[test]
fn a_waiting_reader_is_woken_by_a_publication() {
    let rig = Rig::keeping(10);
    let (chat, news, alarm) = (name("chat"), name("news"), Arc::<Alarm>::default());
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    let mut next = pin!(reader.next());
    assert!(poll(next.as_mut(), &alarm).is_pending());
    rig.say(&news, "somewhere else");
    assert_eq!(alarm.0.load(Relaxed), 0);
    rig.say(&chat, "here");
    assert_eq!(alarm.0.load(Relaxed), 1);
    assert!(matches!(poll(next, &alarm), Poll::Ready(Item::Entry(_))));
}

#[test]
fn a_waiting_reader_is_woken_when_the_history_is_forgotten() {
    let rig = Rig::keeping(10);
    let (chat, alarm) = (name("chat"), Arc::<Alarm>::default());
    rig.say(&chat, "hello");
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    let mut next = pin!(reader.next());
    assert!(poll(next.as_mut(), &alarm).is_pending());
    rig.hub.forget(&chat).wait().unwrap();
    assert_eq!(alarm.0.load(Relaxed), 1);
    assert!(matches!(poll(next, &alarm), Poll::Ready(Item::Gap(_))));
}

#[test]
fn a_wait_that_is_given_up_takes_nothing() {
    let rig = Rig::keeping(10);
    let (chat, alarm) = (name("chat"), Arc::<Alarm>::default());
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    // Given up before it was woken,
    assert!(poll(pin!(reader.next()), &alarm).is_pending());
    // after it was woken,
    {
        let mut woken = pin!(reader.next_page(Budget::default()));
        assert!(poll(woken.as_mut(), &alarm).is_pending());
        rig.count_to(&chat, 3);
    }
    // and before it was polled at all.
    drop(reader.next());
    drop(reader.next_page(Budget::default()));
    let page = reader.try_next_page(Budget::default()).unwrap();
    assert_eq!((page.gap, texts(&page.entries)), (None, vec!["1", "2", "3"]));
}

#[test]
fn a_page_waits_for_news_and_takes_all_that_is_there() {
    let rig = Rig::keeping(10);
    let (chat, alarm) = (name("chat"), Arc::<Alarm>::default());
    let mut reader = rig.hub.subscribe(&chat, Start::Now);
    let mut page = pin!(reader.next_page(Budget::default()));
    assert!(poll(page.as_mut(), &alarm).is_pending());
    rig.count_to(&chat, 3);
    assert_eq!(alarm.0.load(Relaxed), 1, "a burst wakes a reader once");
    let Poll::Ready(Page { gap: None, entries, at, end: false }) = poll(page, &alarm) else {
        panic!()
    };
    assert_eq!((texts(&entries), at), (vec!["1", "2", "3"], rig.at(3)));
}

#[test]
fn a_page_is_within_its_budget() {
    let rig = Rig::keeping(100);
    let chat = name("chat");
    rig.repeat(&chat, &"x".repeat(100), 10);
    rig.say(&chat, &"y".repeat(10_000));
    let mut reader = rig.hub.subscribe(&chat, Start::Earliest);
    let mut take = |entries, bytes| {
        let page = reader.try_next_page(Budget::entries(entries).bytes(bytes));
        page.map_or(0, |page| page.entries.len())
    };
    let size = rig.hub.read(&chat, Start::Earliest, 1).entries[0].encoded_len();
    assert_eq!(take(4, u64::MAX), 4);
    assert_eq!(take(4, 2 * size), 2);
    assert_eq!(take(4, 2 * size - 1), 1);
    assert_eq!(take(9, 4 * size), 3, "the large one has to wait");
    assert_eq!(take(9, 1), 1, "but nothing is too large to be read");
    assert_eq!(take(9, 1), 0);
}

#[test]
fn a_reader_tells_how_far_it_is_behind() {
    let rig = Rig::keeping(3);
    let chat = name("chat");
    rig.count_to(&chat, 2);
    let mut reader = rig.hub.subscribe(&chat, Start::After(rig.at(1)));
    assert_eq!(reader.channel(), &chat);
    assert_eq!(reader.lag(), Lag { end: rig.at(2), entries: 1, gap: None, ended: false });
    entry(reader.try_next());
    assert_eq!(reader.lag(), Lag { end: rig.at(2), entries: 0, gap: None, ended: false });
    rig.count_to(&chat, 5);
    let lag = reader.lag();
    assert_eq!((lag.end, lag.entries), (rig.at(7), 3));
    gap(reader.try_next());
    assert_eq!(reader.lag().gap, None);
}

#[test]
fn a_reader_costs_a_few_dozen_bytes() {
    assert!(size_of::<Reader>() <= 56);
    let rig = Rig::keeping(1);
    let mut reader = rig.hub.subscribe(&name("chat"), Start::Now);
    // What it costs more while it waits.
    assert!(size_of_val(&reader.next()) <= 128);
    assert!(size_of_val(&reader.next_page(Budget::default())) <= 128);
}

#[test]
fn readers_and_their_futures_may_move_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    fn shareable<T: Send + Sync>() {}
    shareable::<Hub>();
    shareable::<Reader>();
    let rig = Rig::keeping(1);
    let mut reader = rig.hub.subscribe(&name("chat"), Start::Now);
    sendable(&reader.next());
    sendable(&reader.next_page(Budget::default()));
}
