//! Several hubs on one engine that loses, repeats and reorders announcements, and answers from copies
//! that are behind.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sockeye_hub::backplane::fake::{Bounds, Engine, Faults, Node};
use sockeye_hub::backplane::{Arrival, Backplane as _, What};
use sockeye_hub::store::StoreError;
use sockeye_hub::{
    Budget, Clock, Gap, GapReason, Hub, IdempotencyKey, Options, Page, Position, Publication,
    PublishError, Publishing, Reader, Start,
};
use tokio::runtime::{Builder, Runtime};

use crate::{cluster_bounds, cluster_ends, name, texts};

/// Small, so that everything is trimmed soon.
pub(crate) const BOUNDS: Bounds = Bounds { shards: 2, count: 5, age: 4_000, tick: 500 };
/// For how long messages are shown, in milliseconds.
const SHOWN: u64 = 3_000;
const CHANNELS: [&str; 3] = ["a", "b", "c"];
/// What some feeds hold back at most, in bytes: less than what is fetched at once.
const SMALL: u64 = 600;

pub(crate) struct Cluster {
    pub(crate) engine: Engine,
    pub(crate) nodes: Vec<(Arc<Node>, Hub)>,
}

impl Cluster {
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let engine = Engine::new(BOUNDS, seed);
        let nodes = (0..count).map(|_| node(&engine)).collect();
        Self { engine, nodes }
    }

    pub(crate) fn hub(&self, node: usize) -> &Hub {
        &self.nodes[node % self.nodes.len()].1
    }

    pub(crate) fn pump(&self) {
        self.nodes.iter().for_each(|(node, _)| node.pump());
    }

    pub(crate) fn tick(&self) {
        self.nodes.iter().for_each(|(node, _)| node.tick());
    }

    /// Publishes on the first node, and lets all of them see it.
    pub(crate) async fn say(&self, channel: &str, text: &str) -> Position {
        let said = self.hub(0).publish(&name(channel), Publication::text(text));
        self.pump();
        said.await.unwrap()
    }
}

pub(crate) fn node(engine: &Engine) -> (Arc<Node>, Hub) {
    hub_on(engine, engine.node())
}

/// A hub on a link of its own.
pub(crate) fn hub_on(engine: &Engine, node: Arc<Node>) -> (Arc<Node>, Hub) {
    let clock = engine.clone();
    let options = Options::default()
        .history_count(BOUNDS.count)
        .history_age(Duration::from_millis(SHOWN))
        .clock(Clock::new(move || clock.now()));
    let hub = Hub::with_backplane(options, node.clone());
    (node, hub)
}

/// A runtime whose clock runs ahead when all wait.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

pub(crate) async fn read(hub: &Hub, channel: &str, start: Start) -> Page {
    let _loaded = hub.load(&name(channel), start).await.unwrap();
    hub.read(&name(channel), start, 100)
}

pub(crate) fn why(page: &Page) -> Option<GapReason> {
    page.gap.map(|gap| gap.why)
}

#[tokio::test(start_paused = true)]
async fn what_is_published_on_one_node_is_read_on_all_at_the_same_positions() {
    let cluster = Cluster::new(3, 1);
    let mut reader = cluster.hub(1).subscribe(&name("a"), Start::Now);
    let mut said = Vec::new();
    for text in ["one", "two", "three"] {
        // Of the same shard.
        cluster.say("c", "another channel takes offsets, too").await;
        said.push(cluster.say("a", text).await);
    }
    assert!(said[1].offset > said[0].offset + 1);
    let live = reader.try_next_page(Budget::default()).unwrap();
    assert_eq!(texts(&live.entries), ["one", "two", "three"]);
    for node in 0..3 {
        let page = read(cluster.hub(node), "a", Start::Earliest).await;
        assert_eq!(page.gap, None);
        assert_eq!(page.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), said);
        let rest = read(cluster.hub(node), "a", Start::After(said[0])).await;
        assert_eq!((why(&rest), texts(&rest.entries)), (None, vec!["two", "three"]));
        let last = read(cluster.hub(node), "a", Start::Last(1)).await;
        assert_eq!(texts(&last.entries), ["three"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_reads_what_it_wrote() {
    let cluster = Cluster::new(1, 1);
    let (node, hub) = &cluster.nodes[0];
    let mut said = std::pin::pin!(hub.publish(&name("a"), Publication::text("hello")));
    let is_early = tokio::time::timeout(Duration::from_secs(1), &mut said).await.is_ok();
    assert!(!is_early, "the engine has it, and this node has not");
    node.pump();
    let at = said.await.unwrap();
    assert_eq!(read(hub, "a", Start::Earliest).await.at, at);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_has_the_first_position_on_every_node() {
    let cluster = Cluster::new(2, 1);
    let key = IdempotencyKey::new("ann", "7").unwrap();
    let publish = |node: usize, text: &'static str| {
        let publication = Publication::text(text).key(key.clone());
        let said = cluster.hub(node).publish(&name("a"), publication);
        cluster.pump();
        said
    };
    let _reader = cluster.hub(1).subscribe(&name("a"), Start::Now);
    let first = publish(0, "first").await.unwrap();
    cluster.say("a", "between").await;
    assert_eq!(publish(1, "again").await, Ok(first), "the node has seen it come");
    assert_eq!(publish(0, "again").await, Ok(first), "the engine knows it");
    assert_eq!(cluster.engine.published(&name("a")).len(), 2);
}

/// JetStream forgets a key whose message was trimmed when its server starts.
#[tokio::test(start_paused = true)]
async fn a_node_remembers_the_keys_that_were_published_on_it() {
    let cluster = Cluster::new(1, 1);
    let (node, hub) = &cluster.nodes[0];
    let key = IdempotencyKey::new("ann", "7").unwrap();
    let publish = || hub.publish(&name("a"), Publication::text("once").key(key.clone()));
    let first = publish();
    node.pump();
    let first = first.await.unwrap();
    cluster.engine.forget_keys();
    hub.sweep();
    assert_eq!(publish().await, Ok(first), "the channel has no reader");
    // One that is never taken leaves no channel behind.
    cluster.engine.stop_leader(0);
    drop(hub.publish(&name("b"), Publication::text("lost").key(key.clone())));
    assert_eq!(hub.figures().channels, 2);
    (0..2).for_each(|_| hub.sweep());
    assert_eq!(hub.figures().channels, 1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_does_not_hold_what_the_engine_has_read() {
    let cluster = Cluster::new(1, 1);
    let mut reader = cluster.hub(0).subscribe(&name("a"), Start::Now);
    cluster.say("a", "hello").await;
    let live = reader.try_next_page(Budget::default()).unwrap();
    let (_, cold) = node(&cluster.engine);
    let loaded = read(&cold, "a", Start::Earliest).await;
    let What::Message { payload, .. } = &cluster.engine.published(&name("a"))[0].what else {
        panic!("a message")
    };
    for page in [live, loaded] {
        assert_ne!(page.entries[0].payload.as_bytes().as_ptr(), payload.as_bytes().as_ptr());
    }
}

#[tokio::test(start_paused = true)]
async fn to_forget_is_told_on_every_node() {
    let cluster = Cluster::new(2, 1);
    let before = cluster.say("a", "gone").await;
    let mut reader = cluster.hub(1).subscribe(&name("a"), Start::Now);
    let forgotten = cluster.hub(0).forget(&name("a"));
    cluster.pump();
    forgotten.await.unwrap();
    let after = cluster.say("a", "there").await;
    let page = reader.try_next_page(Budget::default()).unwrap();
    assert_eq!((why(&page), texts(&page.entries)), (Some(GapReason::Reset), vec!["there"]));
    let (_, cold) = node(&cluster.engine);
    for hub in [cluster.hub(0), cluster.hub(1), &cold] {
        let page = read(hub, "a", Start::After(before)).await;
        assert_eq!((why(&page), texts(&page.entries)), (Some(GapReason::Reset), vec!["there"]));
        assert_eq!(why(&read(hub, "a", Start::After(after)).await), None);
        assert_eq!(why(&read(hub, "a", Start::Earliest).await), None);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_publishers_wait_and_nothing_is_lost() {
    let cluster = Cluster::new(1, 1);
    let hub = cluster.hub(0);
    (0..BOUNDS.shards).for_each(|shard| cluster.engine.stop_leader(shard));
    assert_eq!(hub.health(), Err(StoreError::Unavailable));
    let said = ["one", "two"].map(|text| hub.publish(&name("a"), Publication::text(text)));
    (0..BOUNDS.shards).for_each(|shard| cluster.engine.elect_leader(shard));
    cluster.pump();
    for said in said {
        said.await.unwrap();
    }
    assert_eq!(hub.health(), Ok(()));
    assert_eq!(texts(&read(hub, "a", Start::Earliest).await.entries), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_of_a_faster_node_is_waited_for() {
    let cluster = Cluster::new(2, 1);
    let ahead = cluster.hub(0).publish(&name("a"), Publication::text("hello"));
    cluster.nodes[0].0.pump();
    let ahead = ahead.await.unwrap();
    let (slow, hub) = &cluster.nodes[1];
    let late = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        slow.pump();
    };
    let chat = name("a");
    let (loaded, ()) = tokio::join!(hub.load(&chat, Start::After(ahead)), late);
    let _loaded = loaded.unwrap();
    assert_eq!(why(&hub.read(&chat, Start::After(ahead), 1)), None);
    // One that no node gave is told at once that it is none.
    let nowhere = Position { offset: ahead.offset + 100, ..ahead };
    assert_eq!(why(&read(hub, "a", Start::After(nowhere)).await), Some(GapReason::Reset));
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_a_new_epoch_and_every_reader_is_told() {
    for comes_back in [0, 1, 5] {
        let cluster = Cluster::new(2, 1);
        cluster.say("a", "kept").await;
        let lost = cluster.say("a", "lost").await;
        let mut readers = [0, 1].map(|node| cluster.hub(node).subscribe(&name("a"), Start::Now));
        let shard = 1;
        cluster.engine.lose_tail(shard, 1);
        for _ in 0..comes_back {
            // It takes the place of what was lost, or comes behind it.
            let _unknown = cluster.hub(0).publish(&name("a"), Publication::text("new"));
        }
        cluster.pump();
        cluster.tick();
        cluster.tick();
        for (node, reader) in readers.iter_mut().enumerate() {
            let page = reader.try_next_page(Budget::default()).unwrap();
            assert_eq!(why(&page), Some(GapReason::Reset), "{comes_back} came back");
            assert_ne!(page.at.epoch, lost.epoch);
            let page = read(cluster.hub(node), "a", Start::After(lost)).await;
            assert_eq!(why(&page), Some(GapReason::Reset));
            let said = texts(&page.entries);
            assert_eq!(said[0], if comes_back == 5 { "new" } else { "kept" });
        }
        let epochs = [0, 1].map(|node| cluster.hub(node).position(&name("a")).epoch);
        assert_eq!(epochs[0], epochs[1]);
        assert_eq!(cluster.say("a", "on").await.epoch, epochs[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_that_was_read_before_a_new_epoch_is_read_again() {
    let cluster = Cluster::new(1, 1);
    for text in ["kept", "lost"] {
        cluster.say("a", text).await;
    }
    let hub = cluster.hub(0);
    let held = hub.load(&name("a"), Start::Earliest).await.unwrap();
    cluster.engine.answer_reads(false);
    cluster.engine.lose_tail(1, 1);
    cluster.tick();
    assert!(hub.read(&name("a"), Start::Earliest, 9).entries.is_empty(), "it is not read yet");
    cluster.engine.answer_reads(true);
    assert_eq!(texts(&read(hub, "a", Start::Earliest).await.entries), ["kept"]);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn an_announcement_of_nothing_is_not_waited_for() {
    let cluster = Cluster::new(1, 1);
    cluster.engine.forge(1, 7);
    cluster.pump();
    cluster.tick();
    assert!(cluster.nodes[0].0.held(1) == 0);
    cluster.say("a", "hello").await;
    assert_eq!(texts(&read(cluster.hub(0), "a", Start::Earliest).await.entries), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_for_too_long_tells_it() {
    let cluster = Cluster::new(2, 1);
    cluster.say("a", "one").await;
    let mut reader = cluster.hub(1).subscribe(&name("a"), Start::Now);
    let away = |text| {
        let _said = cluster.hub(0).publish(&name("a"), Publication::text(text));
        cluster.engine.advance(BOUNDS.age / 2 + 1);
        cluster.nodes[0].0.tick();
    };
    ["two", "three", "four"].into_iter().for_each(away);
    cluster.engine.set_faults(Faults { lost: 100, ..Faults::default() });
    cluster.tick();
    let page = reader.try_next_page(Budget::default()).unwrap();
    assert_eq!(why(&page), Some(GapReason::Expired), "`two` is gone for its age");
    assert!(cluster.hub(1).load(&name("a"), Start::Earliest).await.is_ok());
}

#[test]
fn an_engine_that_does_not_answer_is_unavailable_after_some_seconds() {
    runtime().block_on(async {
        let cluster = Cluster::new(2, 1);
        cluster.say("a", "one").await;
        cluster.engine.set_faults(Faults { silent: 100, ..Faults::default() });
        let (_, cold) = node(&cluster.engine);
        let begun = tokio::time::Instant::now();
        let loaded = cold.load(&name("a"), Start::Earliest).await;
        assert_eq!(loaded.err(), Some(StoreError::Unavailable));
        assert!(begun.elapsed() < Duration::from_secs(11));
        assert!(cold.load(&name("a"), Start::Now).await.is_ok(), "that needs nothing");
    });
}

#[test]
fn a_read_whose_runtime_ends_is_begun_again_by_the_next_request() {
    let cluster = runtime().block_on(async {
        let cluster = Cluster::new(1, 1);
        cluster.say("a", "one").await;
        cluster
    });
    let (_, cold) = node(&cluster.engine);
    cluster.engine.set_faults(Faults { silent: 100, ..Faults::default() });
    runtime().block_on(async {
        let channel = name("a");
        let load = cold.load(&channel, Start::Earliest);
        let begun = tokio::time::timeout(Duration::from_millis(100), load).await;
        assert!(begun.is_err(), "the engine does not answer");
    });
    cluster.engine.set_faults(Faults::default());
    let page = runtime().block_on(read(&cold, "a", Start::Earliest));
    assert_eq!(texts(&page.entries), ["one"]);
}

#[derive(Clone, Debug)]
enum Act {
    Publish(usize, usize),
    Forget(usize, usize),
    End(usize, usize),
    Advance(u64),
    Pump(usize),
    Tick(usize),
    /// A reader goes on where it stood, on another node.
    Hop(usize, usize),
    Read(usize),
    StopLeader(u16),
    ElectLeader(u16),
    /// A node starts anew.
    Restart(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (node, channel, reader) = (0..3_usize, 0..3_usize, 0..4_usize);
    prop_oneof![
        10 => (node.clone(), channel.clone()).prop_map(|(node, channel)| Act::Publish(node, channel)),
        1 => (node.clone(), channel.clone()).prop_map(|(node, channel)| Act::Forget(node, channel)),
        1 => (node.clone(), channel).prop_map(|(node, channel)| Act::End(node, channel)),
        3 => (1..900_u64).prop_map(Act::Advance),
        8 => node.clone().prop_map(Act::Pump),
        3 => node.clone().prop_map(Act::Tick),
        5 => (reader.clone(), node.clone()).prop_map(|(reader, node)| Act::Hop(reader, node)),
        6 => reader.prop_map(Act::Read),
        1 => (0..2_u16).prop_map(Act::StopLeader),
        1 => (0..2_u16).prop_map(Act::ElectLeader),
        1 => node.prop_map(Act::Restart),
    ]
}

/// A hub whose feeds hold back little.
fn small_node(engine: &Engine) -> (Arc<Node>, Hub) {
    hub_on(engine, engine.node_that_holds(SMALL))
}

/// One that reads a channel on one node after the other, and what it knows.
struct Hopper {
    channel: &'static str,
    at: Position,
    node: Arc<Node>,
    reader: Option<Reader>,
}

impl Hopper {
    async fn hop(&mut self, (node, hub): &(Arc<Node>, Hub)) {
        (self.node, self.reader) = (Arc::clone(node), None);
        let (channel, start) = (name(self.channel), Start::After(self.at));
        if let Ok(_loaded) = hub.load(&channel, start).await {
            self.reader = Some(hub.subscribe(&channel, start));
        }
    }

    /// Reads what there is, and checks it against what was published.
    fn read(&mut self, engine: &Engine) {
        let channel = name(self.channel);
        let all = engine.published(&channel);
        let published = cluster_ends::counted(&all);
        while let Some(page) =
            self.reader.as_mut().and_then(|reader| reader.try_next_page(Budget::default()))
        {
            if let Some(gap) = page.gap {
                assert_eq!(gap.after, self.at);
                let skipped = self.node.skipped(self.node.shard(&channel));
                check_gap(gap, (&published, &all), engine.now(), skipped);
                self.at = gap.next;
            }
            for entry in &page.entries {
                let is_message = |arrival: &&Arrival| matches!(arrival.what, What::Message { .. });
                if cluster_ends::reappears((&published, &all), entry.position.offset, engine.now())
                {
                    self.at = entry.position;
                    continue;
                }
                let next = published
                    .iter()
                    .filter(is_message)
                    .find(|arrival| arrival.offset > self.at.offset)
                    .unwrap();
                assert_eq!(entry.position.offset, next.offset, "nothing is left out silently");
                assert_eq!(entry.ts, next.ts);
                let What::Message { payload, .. } = &next.what else { unreachable!() };
                assert_eq!(&entry.payload, payload);
                self.at = entry.position;
            }
            if page.end {
                let is_end = |arrival: &&Arrival| matches!(arrival.what, What::End(_));
                let passed = published.iter().filter(|arrival| {
                    arrival.offset > self.at.offset && arrival.offset <= page.at.offset
                });
                // An earlier end is of no account any more: it has been forgotten, and the channel has ended again.
                let other = passed.clone().find(|arrival| !is_end(arrival));
                assert!(other.is_none(), "{page:?} {other:?}");
                let mut ends = published.iter().filter(is_end);
                assert!(ends.any(|arrival| arrival.offset == page.at.offset));
                self.at = page.at;
            }
            assert_eq!(self.at, page.at);
        }
    }
}

/// A gap is told for a loss, or where nothing can be known any more: also of what the node has passed over, up to
/// `skipped`.
fn check_gap(gap: Gap, (published, all): (&[Arrival], &[Arrival]), now: u64, skipped: u64) {
    let passed =
        |arrival: &&Arrival| arrival.offset > gap.after.offset && arrival.offset <= gap.next.offset;
    let mut passed = published.iter().filter(passed);
    match gap.why {
        GapReason::Reset => {
            // A node that has not come to the marker yet knows of it by what the engine holds no more.
            let mut since = published.iter().filter(|arrival| arrival.offset > gap.after.offset);
            assert!(since.any(|arrival| matches!(arrival.what, What::Forget(_))));
        }
        GapReason::Expired | GapReason::Slow => {
            // The engine holds nothing any more that says what came since: that is too old, or a whole
            // history has been published after it, also if the node has not come to that yet.
            // What is void takes up its part of the history, too.
            let mut published = all.to_vec();
            published.retain(|it| matches!(it.what, What::Message { .. } | What::Forget(_)));
            let since = published.iter().rposition(|arrival| arrival.offset <= gap.after.offset);
            let is_unknown = since.is_none_or(|since| {
                published[since].ts + SHOWN <= now + 2 * BOUNDS.tick
                    || published.len() - 1 - since > BOUNDS.count
            });
            let is_passed_over = gap.next.offset <= skipped;
            assert!(passed.next().is_some() || is_unknown || is_passed_over, "a gap for nothing");
        }
    }
}

/// One reader more than there are channels, each from now on.
fn hoppers(cluster: &Cluster) -> Vec<Hopper> {
    (0..4)
        .map(|number| {
            let channel = CHANNELS[number % CHANNELS.len()];
            let (node, hub) = &cluster.nodes[number % 3];
            let reader = hub.subscribe(&name(channel), Start::Now);
            Hopper { channel, at: reader.position(), node: Arc::clone(node), reader: Some(reader) }
        })
        .collect()
}

/// A publication: the node, the channel, the text and what it is told.
type Said = (usize, &'static str, String, Publishing);

async fn run(acts: Vec<Act>, faults: Faults, seed: u64) {
    let mut cluster = Cluster::new(2, seed);
    // One that soon passes over what is missing.
    cluster.nodes.push(small_node(&cluster.engine));
    let mut readers = hoppers(&cluster);
    cluster.engine.set_faults(faults);
    let (mut said, mut ended) = (Vec::<Said>::new(), Vec::new());
    let mut told = [cluster.engine.now(); 3];
    for (number, act) in acts.into_iter().enumerate() {
        match act {
            Act::Publish(node, channel) => {
                cluster.catch_up(node, faults, &mut told);
                let text = number.to_string();
                let outcome =
                    cluster.hub(node).publish(&name(CHANNELS[channel]), Publication::text(&text));
                said.push((node, CHANNELS[channel], text, outcome));
            }
            Act::End(node, channel) => {
                ended
                    .push((CHANNELS[channel], cluster.hub(node).end(&name(CHANNELS[channel]), "")));
            }
            Act::Forget(node, channel) => {
                drop(cluster.hub(node).forget(&name(CHANNELS[channel])));
            }
            Act::Advance(millis) => cluster.engine.advance(millis),
            Act::Pump(node) => cluster.nodes[node].0.pump(),
            Act::Tick(node) => cluster.nodes[node].0.tick(),
            Act::Hop(reader, node) => readers[reader].hop(&cluster.nodes[node]).await,
            Act::Read(reader) => readers[reader].read(&cluster.engine),
            Act::StopLeader(shard) => cluster.engine.stop_leader(shard),
            Act::ElectLeader(shard) => cluster.engine.elect_leader(shard),
            Act::Restart(number) => {
                cluster.nodes[number] =
                    if number == 2 { small_node(&cluster.engine) } else { node(&cluster.engine) };
                // What the old one is told of what comes is nothing.
                let of_old = said.extract_if(.., |(node, ..)| *node == number);
                of_old.for_each(drop);
            }
        }
    }
    // All is well again: every publication was taken, and every reader gets what is left.
    cluster.engine.set_faults(Faults::default());
    (0..BOUNDS.shards).for_each(|shard| cluster.engine.elect_leader(shard));
    cluster.tick();
    cluster.tick();
    for reader in &mut readers {
        reader.hop(&cluster.nodes[0]).await;
        reader.read(&cluster.engine);
        let published = cluster_ends::counted(&cluster.engine.published(&name(reader.channel)));
        let is_known = |arrival: &&Arrival| match arrival.what {
            What::Open { .. } => false,
            What::End(_) => arrival.ts + SHOWN > cluster.engine.now(),
            _ => true,
        };
        let newest = published.iter().rfind(is_known).map(|last| last.offset);
        assert!(reader.at.offset >= newest.unwrap_or(0), "it has come to the end");
    }
    check_outcomes(&cluster, said, ended).await;
}

/// What publishers were told is what became of their messages.
async fn check_outcomes(cluster: &Cluster, said: Vec<Said>, ended: Vec<(&str, Publishing)>) {
    let is_unseen =
        cluster.nodes.iter().any(|(_, hub)| cluster_bounds::figure(hub, "stored_unseen") > 0);
    for (_, channel, text, said) in said {
        let published = cluster_ends::counted(&cluster.engine.published(&name(channel)));
        let payload = Publication::text(&text).payload.to_payload();
        let is_it = |it: &&Arrival| matches!(&it.what, What::Message { payload: there, .. } if *there == payload);
        let there = published.iter().find(is_it).map(|arrival| arrival.offset);
        match said.await {
            // After 10 s a node acknowledges what is stored though it has not come.
            Ok(_) if there.is_none() && is_unseen => {}
            Ok(at) => assert_eq!(there, Some(at.offset), "what is acknowledged counts"),
            Err(PublishError::Ended) => assert_eq!(there, None, "what is refused does not"),
            // It was passed over.
            Err(PublishError::Unknown) => {}
            Err(error) => panic!("{error}"),
        }
    }
    for (channel, ended) in ended {
        let published = cluster.engine.published(&name(channel));
        match ended.await {
            Ok(at) => assert!(published.iter().any(|arrival| {
                arrival.offset == at.offset && matches!(arrival.what, What::End(_))
            })),
            Err(PublishError::Unknown) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn readers_that_hop_between_nodes_miss_nothing_silently(
        acts in prop::collection::vec(act(), 1..120),
        (lost, repeated, swapped) in (0..40_u8, 0..40_u8, 0..40_u8),
        (stale, silent) in (0..60_u8, 0..30_u8),
        seed: u64,
    ) {
        let faults = Faults { lost, repeated, swapped, stale, silent };
        runtime().block_on(run(acts, faults, seed));
    }
}
