//! A store that is slow, full or broken: what publishers and readers see of it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use sockeye_hub::store::{Change, Listed, Saved, SavedEntry, Store, StoreError};
use sockeye_hub::{
    ChannelName, Epoch, Hub, IdempotencyKey, MAX_QUEUED_BYTES, Options, Publication, PublishError,
    Start,
};
use sockeye_testing::eventually;

use crate::{entry, name, text, texts};

/// A store in memory that does what a test says.
#[derive(Debug)]
struct FaultyStore {
    channels: Mutex<BTreeMap<ChannelName, Saved>>,
    fault: Mutex<Fault>,
}

#[derive(Debug, Default)]
enum Fault {
    #[default]
    None,
    /// Writing fails, and keeps nothing.
    Write(StoreError),
    /// It is not known what became of a write, which is kept.
    KeptInDoubt,
    Load,
    /// The thread that writes panics.
    Panic,
    /// Each write says that it has begun, and waits until it may end.
    Slow(Sender<()>, Receiver<()>),
}

impl FaultyStore {
    fn hub() -> (Arc<Self>, Hub) {
        let store = Arc::new(Self { channels: Mutex::default(), fault: Mutex::default() });

        (Arc::clone(&store), Hub::with_store(Options::default(), store).unwrap())
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn keep(&self, changes: &[Change]) {
        let mut channels = self.channels.lock().unwrap();
        for change in changes {
            let Change::Save { channel, head, entries, keys, .. } = change else {
                panic!("{change:?}")
            };
            let empty = Saved { head: *head, entries: Vec::new(), keys: Vec::new() };
            let saved = channels.entry(channel.clone()).or_insert(empty);
            saved.head = *head;
            saved.entries.extend(entries.iter().map(|entry| SavedEntry {
                offset: entry.position.offset,
                ts: entry.ts,
                payload: entry.payload.clone(),
                event: entry.event.clone(),
            }));
            saved.entries.retain(|entry| entry.offset > head.start);
            saved.keys.extend(keys.iter().cloned());
            saved.keys.retain(|key| key.offset > head.keys_start);
        }
    }
}

impl Store for FaultyStore {
    fn epoch(&self) -> Epoch {
        "k3f9".parse().unwrap()
    }

    fn floor(&self) -> u64 {
        0
    }

    fn channels(&self) -> u64 {
        self.channels.lock().unwrap().len() as u64
    }

    fn load(&self, channel: &ChannelName) -> Result<Option<Saved>, StoreError> {
        match *self.fault.lock().unwrap() {
            Fault::Load => Err(StoreError::Failed),
            _ => Ok(self.channels.lock().unwrap().get(channel).cloned()),
        }
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        match &*self.fault.lock().unwrap() {
            Fault::Write(error) => return Err(*error),
            Fault::Slow(begun, may_end) => {
                begun.send(()).unwrap();
                may_end.recv().unwrap();
            }
            Fault::KeptInDoubt => {
                self.keep(changes);
                return Err(StoreError::Unknown);
            }
            Fault::Panic => panic!("as the test wants it"),
            Fault::None | Fault::Load => {}
        }
        self.keep(changes);
        Ok(())
    }

    fn list(&self, _: Option<&ChannelName>, _: usize) -> Result<Vec<Listed>, StoreError> {
        Ok(Vec::new())
    }
}

fn say(hub: &Hub, text: &str) -> Result<u64, PublishError> {
    hub.publish(&name("chat"), Publication::text(text)).wait().map(|position| position.offset)
}

fn said(hub: &Hub) -> Vec<String> {
    let page = hub.read(&name("chat"), Start::Earliest, 100);
    texts(&page.entries).into_iter().map(str::to_owned).collect()
}

#[test]
fn no_reader_sees_a_message_before_it_is_kept() {
    let (store, hub) = FaultyStore::hub();
    let chat = name("chat");
    let mut reader = hub.subscribe(&chat, Start::Now);
    let ((begun, has_begun), (end, may_end)) = (channel(), channel());
    store.set(Fault::Slow(begun, may_end));
    let publishing = hub.publish(&chat, Publication::text("one"));
    has_begun.recv().unwrap();
    assert!(reader.try_next().is_none());
    assert_eq!(hub.position(&chat).offset, 0);
    assert!(said(&hub).is_empty());

    end.send(()).unwrap();
    assert_eq!(publishing.wait().unwrap().offset, 1);
    assert_eq!(text(&entry(reader.try_next())), "one");
}

#[test]
fn what_comes_while_a_write_is_under_way_shares_the_next_one() {
    let (store, hub) = FaultyStore::hub();
    let (chat, news) = (name("chat"), name("news"));
    let ((begun, has_begun), (end, may_end)) = (channel(), channel());
    store.set(Fault::Slow(begun, may_end));
    let first = hub.publish(&chat, Publication::text("first"));
    has_begun.recv().unwrap();
    let others: Vec<_> = (0..200)
        .map(|number| hub.publish([&chat, &news][number % 2], Publication::text("other")))
        .collect();
    // Two writes in all: a third would wait for ever.
    end.send(()).unwrap();
    end.send(()).unwrap();
    assert_eq!(first.wait().unwrap().offset, 1);
    let offsets: Vec<_> = others.into_iter().map(|other| other.wait().unwrap().offset).collect();
    assert_eq!((offsets[198], offsets[199]), (101, 100));
}

#[test]
fn what_waits_for_a_store_that_does_not_answer_is_bounded_and_told() {
    const LENGTH: u64 = 64 << 10;
    let (store, hub) = FaultyStore::hub();
    let (chat, text) = (name("chat"), "x".repeat(LENGTH as usize));
    let ((begun, has_begun), (end, may_end)) = (channel(), channel());
    store.set(Fault::Slow(begun, may_end));
    let mut waiting = vec![hub.publish(&chat, Publication::text("first"))];
    has_begun.recv().unwrap();
    while hub.figures().queued_bytes < MAX_QUEUED_BYTES {
        waiting.push(hub.publish(&chat, Publication::text(&text)));
        assert!(waiting.len() as u64 <= 1 + MAX_QUEUED_BYTES / LENGTH);
    }
    // One message may pass the bound, and what each is charged beside its bytes.
    let held = hub.figures().queued_bytes;
    assert!(held <= MAX_QUEUED_BYTES + LENGTH + 1024, "{held}");
    for small in ["", "x"] {
        let refused = hub.publish(&chat, Publication::text(small)).wait();
        assert_eq!(refused, Err(PublishError::Busy));
    }
    assert_eq!(hub.figures().queued_bytes, held, "nothing is held for what is refused");

    (0..=waiting.len()).for_each(|_| end.send(()).unwrap());
    for (publishing, offset) in waiting.into_iter().zip(1..) {
        assert_eq!(publishing.wait().unwrap().offset, offset);
    }
    assert_eq!(hub.figures().queued_bytes, 0);
}

#[test]
fn when_the_store_is_full_messages_are_refused_and_later_taken_again() {
    let (store, hub) = FaultyStore::hub();
    assert_eq!(say(&hub, "one"), Ok(1));
    let mut reader = hub.subscribe(&name("chat"), Start::Now);
    store.set(Fault::Write(StoreError::NoSpace));
    assert_eq!(say(&hub, "two"), Err(PublishError::NoSpace));
    assert_eq!(hub.forget(&name("chat")).wait(), Err(PublishError::NoSpace));
    assert!(reader.try_next().is_none());
    assert_eq!(said(&hub), ["one"]);

    store.set(Fault::None);
    eventually("there is room again", || say(&hub, "three") != Err(PublishError::NoSpace));
    assert_eq!(said(&hub), ["one", "three"]);
    assert_eq!(entry(reader.try_next()).position.offset, 2, "no offset is left out");
}

#[test]
fn a_message_of_which_nothing_is_known_is_there_once_or_not_at_all() {
    let key = || Publication::text("two").key(IdempotencyKey::new("", "k").unwrap());
    let chat = name("chat");
    for (fault, offset) in [(Fault::KeptInDoubt, 2), (Fault::Write(StoreError::Unknown), 2)] {
        let (store, hub) = FaultyStore::hub();
        assert_eq!(say(&hub, "one"), Ok(1));
        let mut reader = hub.subscribe(&chat, Start::Now);
        store.set(fault);
        assert_eq!(hub.publish(&chat, key()).wait(), Err(PublishError::Unknown));
        store.set(Fault::None);
        assert_eq!(hub.publish(&chat, key()).wait().unwrap().offset, offset);
        assert_eq!(say(&hub, "three"), Ok(3));
        assert_eq!(said(&hub), ["one", "two", "three"]);
        assert_eq!(text(&entry(reader.try_next())), "two");
        assert_eq!(text(&entry(reader.try_next())), "three");
        assert!(reader.try_next().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_cannot_be_read_takes_no_message() {
    let (store, hub) = FaultyStore::hub();
    let chat = name("chat");
    store.set(Fault::Load);
    assert_eq!(hub.load(&chat, Start::Earliest).await.err(), Some(StoreError::Failed));
    let refused = hub.publish(&chat, Publication::text("one")).await;
    assert_eq!(refused, Err(PublishError::Disk));
    store.set(Fault::None);
    assert!(hub.load(&chat, Start::Earliest).await.is_ok());
    assert_eq!(hub.publish(&chat, Publication::text("one")).await.unwrap().offset, 1);
}

#[test]
fn health_is_that_of_the_last_write_and_recovers_without_a_publication() {
    let (store, hub) = FaultyStore::hub();
    assert_eq!(hub.health(), Ok(()));
    // Which waits until the sweep is done, and writes nothing.
    let sweep = || {
        hub.sweep();
        hub.forget(&name("nothing")).wait().unwrap();
    };
    for error in [StoreError::NoSpace, StoreError::Failed, StoreError::Unknown] {
        store.set(Fault::Write(error));
        assert!(say(&hub, "refused").is_err());
        assert_eq!(hub.health(), Err(error));
        sweep();
        assert_eq!(hub.health(), Err(error), "it still fails");
        store.set(Fault::None);
        sweep();
        assert_eq!(hub.health(), Ok(()));
    }
    // What is published shows it as well, and at once.
    store.set(Fault::Write(StoreError::Failed));
    assert!(say(&hub, "refused").is_err());
    store.set(Fault::None);
    assert!(say(&hub, "taken").is_ok());
    assert_eq!(hub.health(), Ok(()));
    assert_eq!(Hub::default().health(), Ok(()));
}

#[test]
fn health_shows_that_the_writer_has_stopped() {
    let (store, hub) = FaultyStore::hub();
    store.set(Fault::Panic);
    assert_eq!(say(&hub, "one"), Err(PublishError::Unknown));
    eventually("the store has stopped", || match hub.health() {
        Err(StoreError::Stopped) => Ok(()),
        other => Err(other),
    });
}

#[test]
fn the_store_knows_where_no_key_is_remembered() {
    let (store, hub) = FaultyStore::hub();
    let keys_start = || store.channels.lock().unwrap()[&name("chat")].head.keys_start;
    for offset in 1..=3 {
        assert_eq!(say(&hub, "without a key"), Ok(offset));
        assert_eq!(keys_start(), offset);
    }
    let with_key = Publication::text("with one").key(IdempotencyKey::new("", "k").unwrap());
    assert_eq!(hub.publish(&name("chat"), with_key).wait().unwrap().offset, 4);
    assert_eq!(keys_start(), 3);
    assert_eq!(say(&hub, "without a key"), Ok(5));
    assert_eq!(keys_start(), 3, "the one of the fourth is remembered");
}
