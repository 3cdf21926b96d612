//! Publishers and readers on many threads: no loss, no duplicate, and honest gaps.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sockeye_hub::{
    Budget, ChannelName, Clock, GapReason, Hub, Item, Options, Position, Publication, Reader, Start,
};
use tokio::task::{JoinSet, yield_now};

use crate::{name, text};

const PUBLISHERS: usize = 4;
const EACH: usize = 500;
const TOTAL: u64 = (PUBLISHERS * EACH) as u64;

/// What a reader saw: the text at each offset, and how much was missing.
type Seen = (BTreeMap<u64, String>, u64);

/// How a reader reads.
#[derive(Clone, Copy)]
enum Manner {
    OneByOne,
    Pages,
    /// Gives up waiting again and again.
    Fickle,
    /// Comes back with its position again and again.
    Resuming,
}

const MANNERS: [Manner; 4] = [Manner::OneByOne, Manner::Pages, Manner::Fickle, Manner::Resuming];

async fn publish_all(hub: Hub, channel: ChannelName, publisher: usize) -> Vec<(Position, String)> {
    let mut acknowledged = Vec::new();
    for number in 0..EACH {
        let text = format!("{publisher}:{number}");
        let position = hub.publish(&channel, Publication::text(&text)).wait().unwrap();
        acknowledged.push((position, text));
        if number % 7 == 0 {
            yield_now().await;
        }
    }
    assert!(acknowledged.is_sorted_by(|one, next| one.0 < next.0), "in the publisher's order");
    acknowledged
}

async fn read_all(hub: Hub, mut reader: Reader, manner: Manner) -> Seen {
    let (mut seen, mut missing) = (BTreeMap::new(), 0);
    while reader.position().offset < TOTAL {
        let before = reader.position();
        let items = take(&mut reader, manner).await;
        let mut at = before;
        for item in items {
            match item {
                Item::Entry(entry) => {
                    assert_eq!(entry.position.offset, at.offset + 1, "nothing is skipped silently");
                    at = entry.position;
                    assert_eq!(seen.insert(at.offset, text(&entry).to_owned()), None);
                }
                Item::Gap(gap) => {
                    assert_eq!(gap.after, at, "a gap begins where the reader stood");
                    assert!(gap.next > gap.after, "and something is missing in it");
                    assert!(matches!(gap.why, GapReason::Slow | GapReason::Expired));
                    missing += gap.next.offset - gap.after.offset;
                    at = gap.next;
                }
                Item::End(at) => panic!("ended at {at}"),
            }
        }
        assert_eq!(reader.position(), at);
        if matches!(manner, Manner::Resuming) {
            reader = hub.subscribe(reader.channel(), Start::After(reader.position()));
        }
    }
    (seen, missing)
}

async fn take(reader: &mut Reader, manner: Manner) -> Vec<Item> {
    match manner {
        Manner::OneByOne | Manner::Resuming => vec![reader.next().await],
        Manner::Pages => {
            let page = reader.next_page(Budget::default()).await;
            let entries = page.entries.iter().cloned().map(Item::Entry);
            page.gap.map(Item::Gap).into_iter().chain(entries).collect()
        }
        Manner::Fickle => loop {
            tokio::select! {
                biased;
                item = reader.next() => break vec![item],
                () = yield_now() => {}
            }
        },
    }
}

/// Runs publishers and readers of every manner, and gives what was acknowledged and what was seen.
async fn run(history_count: usize) -> (BTreeMap<u64, String>, Vec<Seen>) {
    let hub = Hub::new(Options::default().history_count(history_count));
    let channel = name("chat");
    let (mut readers, mut publishers) = (JoinSet::new(), JoinSet::new());
    for manner in MANNERS.into_iter().cycle().take(4 * MANNERS.len()) {
        let reader = hub.subscribe(&channel, Start::Now);
        readers.spawn(read_all(hub.clone(), reader, manner));
    }
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish_all(hub.clone(), channel.clone(), publisher));
    }
    let acknowledged = publishers.join_all().await.into_iter().flatten();
    let acknowledged: BTreeMap<u64, String> =
        acknowledged.map(|(position, text)| (position.offset, text)).collect();
    assert!(acknowledged.keys().copied().eq(1..=TOTAL), "each offset once");
    let seen = readers.join_all().await;
    assert_eq!(hub.figures().readers, 0);
    (acknowledged, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_reader_sees_every_acknowledged_message_once_and_in_order() {
    let (acknowledged, seen) = run(TOTAL as usize).await;
    for (seen, missing) in seen {
        assert_eq!(missing, 0);
        assert_eq!(seen, acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_slow_reader_misses_is_exactly_what_its_gaps_say() {
    let (acknowledged, seen) = run(3).await;
    for (seen, missing) in seen {
        assert_eq!(seen.len() as u64 + missing, TOTAL);
        assert!(seen.iter().all(|(offset, text)| acknowledged.get(offset) == Some(text)));
        assert_eq!(seen.last_key_value(), acknowledged.last_key_value());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_readers_of_one_channel_all_get_everything() {
    let hub = Hub::default();
    let channel = name("stadium");
    let mut readers = JoinSet::new();
    for _ in 0..10_000 {
        let mut reader = hub.subscribe(&channel, Start::Now);
        readers.spawn(async move {
            while reader.position().offset < 5 {
                assert!(matches!(reader.next().await, Item::Entry(_)));
            }
        });
    }
    for _ in 0..5 {
        hub.publish(&channel, Publication::text("goal")).wait().unwrap();
        yield_now().await;
    }
    readers.join_all().await;
    assert_eq!(hub.figures().readers, 0);
}

#[test]
fn the_first_message_is_kept_while_the_only_reader_leaves() {
    let hub = Hub::default();
    for round in 0..500 {
        let channel = name(&format!("room-{round}"));
        let reader = hub.subscribe(&channel, Start::Now);
        std::thread::scope(|scope| {
            scope.spawn(|| drop(reader));
            scope.spawn(|| hub.publish(&channel, Publication::text("hello")).wait().unwrap());
        });
        assert_eq!(hub.read(&channel, Start::Earliest, 10).entries.len(), 1);
    }
    let figures = hub.figures();
    assert_eq!((figures.channels, figures.entries), (500, 500));
}

#[test]
fn no_position_is_given_twice_while_channels_are_let_go_of() {
    // Every look at this clock takes longer than an entry lives, so each sweep empties everything.
    let ticks = AtomicU64::new(0);
    let clock = Clock::new(move || ticks.fetch_add(10, Relaxed));
    let history_age = Duration::from_millis(5);
    let hub = Hub::new(Options::default().max_channels(4).history_age(history_age).clock(clock));
    let channels = ["a", "b", "c"].map(name);
    let done = Arc::new(AtomicBool::new(false));
    let given = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let hello = || Publication::text("hello");
                    let publish = |n: usize| hub.publish(&channels[n % 3], hello()).wait().unwrap();
                    (0..3_000).map(|n| (n % 3, publish(n).offset)).collect::<Vec<_>>()
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Relaxed) {
                hub.sweep();
            }
        });
        let given: Vec<_> = publishers.into_iter().map(|thread| thread.join().unwrap()).collect();
        done.store(true, Relaxed);
        given
    });
    for each in &given {
        for channel in 0..3 {
            let own = each.iter().filter(|(of, _)| *of == channel).map(|(_, offset)| offset);
            assert!(own.is_sorted_by(|one, next| one < next), "offsets rise for ever");
        }
    }
    let all: Vec<_> = given.into_iter().flatten().collect();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    hub.sweep();
    assert_eq!((hub.figures().entries, hub.figures().bytes), (0, 0));
}
