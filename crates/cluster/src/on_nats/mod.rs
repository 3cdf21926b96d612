//! Tests with three servers of NATS: `cargo xtask test cluster` runs them.

mod apply;
mod faults;
mod members;
mod records;
mod refusals;
mod stopped;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sockeye_hub::backplane::{Arrival, Backplane, ChannelEnd, Sink, What};
use sockeye_hub::{ChannelName, Epoch, Payload, Source};
use sockeye_testing::{PATIENCE, eventually_async};
use sockeye_tests::nats::Nats;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::message::Headers;
use crate::nats::api::Api;
use crate::publish::ack::Failure;
use crate::publish::{Done, Outgoing};
use crate::{Cluster, ClusterOptions};

/// What a hub would have been told. It checks that all comes in order and once.
#[derive(Debug, Default)]
struct Recorder(Mutex<BTreeMap<u16, Told>>);

#[derive(Clone, Debug, Default)]
struct Told {
    epochs: Vec<Epoch>,
    upto: u64,
    /// Each message by its offset; `!` for a marker.
    messages: BTreeMap<u64, String>,
    skips: u32,
    /// Those that the shard began with.
    ends: Vec<ChannelEnd>,
}

impl Recorder {
    fn of(&self, shard: u16) -> Told {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(&shard).cloned().unwrap_or_default()
    }

    /// Waits until the shard is known up to there.
    async fn reaches(&self, shard: u16, offset: u64) -> Told {
        eventually_async(format!("shard {shard} up to {offset}"), async || {
            let told = self.of(shard);
            if told.upto < offset { Err(told.upto) } else { Ok(told) }
        })
        .await
    }
}

impl Sink for Recorder {
    fn begin(&self, shard: u16, epoch: Epoch, upto: u64, ends: Vec<ChannelEnd>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.entry(shard).or_default();
        told.epochs.push(epoch);
        (told.upto, told.ends) = (upto, ends);
    }

    fn arrived(&self, shard: u16, arrivals: Vec<Arrival>, upto: u64) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.get_mut(&shard).expect("it has begun");
        for Arrival { offset, what, .. } in arrivals {
            assert!(offset > told.upto, "{offset} comes behind {}", told.upto);
            told.upto = offset;
            let text = match what {
                What::Message { payload, .. } => {
                    String::from_utf8_lossy(payload.as_bytes()).into_owned()
                }
                What::Forget(_) => "!".to_owned(),
                What::End(_) => "end".to_owned(),
                What::Open { .. } => "open".to_owned(),
                What::Clock | What::Other => continue,
            };
            told.messages.insert(offset, text);
        }
        assert_eq!(told.upto, upto);
    }

    fn skipped(&self, shard: u16, upto: u64, _: Vec<ChannelEnd>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.entry(shard).or_default();
        told.skips += 1;
        told.upto = upto;
    }
}

/// A node, and what its hub is told.
struct Node {
    cluster: Cluster,
    hub: Arc<Recorder>,
    source: Source,
}

fn options(nats: &Nats) -> ClusterOptions {
    let mut options = ClusterOptions::new(nats.urls().parse().expect("URLs"));
    options.shards = Some(2);
    options
}

impl Node {
    async fn start(nats: &Nats) -> Self {
        Self::start_with(options(nats)).await
    }

    async fn start_with(options: ClusterOptions) -> Self {
        let cluster = Cluster::connect(options).await.unwrap_or_else(|why| panic!("{why}"));
        let hub = Arc::new(Recorder::default());
        cluster.attach(Arc::<Recorder>::clone(&hub));
        timeout(PATIENCE, cluster.ready()).await.expect("every shard is followed");
        Self { cluster, hub, source: Source::new() }
    }

    fn api(&self) -> &Api {
        self.cluster.api()
    }

    fn publish(
        &self,
        channel: &ChannelName,
        text: &str,
        id: Option<&str>,
    ) -> oneshot::Receiver<Result<u64, Failure>> {
        let payload = Payload::Text(text.into());
        let (done, outcome) = oneshot::channel();
        let shard = self.cluster.shard(channel);
        let (_, publisher) = self.cluster.shard_of(shard).expect("a shard");
        publisher.publish(Outgoing {
            subject: self.cluster.names().log_subject(channel).into(),
            headers: Headers::of(&payload, None, id.map(Arc::from)),
            payload: payload.as_bytes().clone(),
            repeatable: id.is_some(),
            source: Some(self.source),
            charge: 64,
            done: Done::Task(done),
        });
        outcome
    }

    async fn published(&self, channel: &ChannelName, text: &str) -> u64 {
        self.publish(channel, text, None).await.expect("an outcome").expect("it is stored")
    }
}

fn chat() -> ChannelName {
    "chat".parse().expect("a name")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_on_one_node_comes_to_all_in_order() {
    let nats = Nats::start();
    let (one, two) = (Node::start(&nats).await, Node::start(&nats).await);
    let (channel, shard) = (chat(), one.cluster.shard(&chat()));
    let texts: Vec<_> = (0..500).map(|number| format!("{number}")).collect();
    // Without waiting for any of them.
    let outcomes: Vec<_> = texts.iter().map(|text| one.publish(&channel, text, None)).collect();
    let mut published = Vec::new();
    for (outcome, text) in outcomes.into_iter().zip(&texts) {
        published.push((outcome.await.unwrap().unwrap(), text.clone()));
    }
    assert!(published.windows(2).all(|pair| pair[0].0 < pair[1].0), "they keep their order");
    let last = published.last().unwrap().0;
    for node in [&one, &two] {
        let told = node.hub.reaches(shard, last).await;
        assert_eq!(told.messages.into_iter().collect::<Vec<_>>(), published);
    }
    let stored = two.cluster.read(channel).await.unwrap();
    assert_eq!(stored.messages.len(), 500);
    assert_eq!((stored.head, stored.clock), (last, Some(1)));
    assert!(stored.upto >= last);
    assert_eq!(two.cluster.last(shard).await, Ok(last));
    assert_eq!(two.cluster.health(), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_the_same_id_is_stored_once() {
    let nats = Nats::start();
    let (one, two) = (Node::start(&nats).await, Node::start(&nats).await);
    let channel = chat();
    let first = one.publish(&channel, "once", Some("id")).await.unwrap().unwrap();
    for node in [&two, &one] {
        assert_eq!(node.publish(&channel, "once", Some("id")).await.unwrap(), Ok(first));
    }
    assert_eq!(two.cluster.read(channel).await.unwrap().messages.len(), 1);
    assert_eq!(one.cluster.figures().repeated, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_drops_what_was_before_it_and_comes_to_all() {
    let nats = Nats::start();
    let (one, two) = (Node::start(&nats).await, Node::start(&nats).await);
    let (channel, shard) = (chat(), one.cluster.shard(&chat()));
    one.published(&channel, "secret").await;
    let marker = two.cluster.forgotten(&channel).await.expect("it is stored");
    let after = one.published(&channel, "anew").await;
    for node in [&one, &two] {
        let told = node.hub.reaches(shard, after).await;
        assert_eq!(told.messages.values().collect::<Vec<_>>(), ["secret", "!", "anew"]);
        let stored = node.cluster.read(channel.clone()).await.unwrap().messages;
        let offsets: Vec<_> = stored.iter().map(|arrival| arrival.offset).collect();
        assert_eq!(offsets, [marker, after]);
    }
}

/// Each node ends the channel at once, and another follows later.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_ends_once_and_is_open_again_when_it_is_forgotten() {
    let nats = Nats::start();
    let (one, two) = (Node::start(&nats).await, Node::start(&nats).await);
    let (channel, shard) = (chat(), one.cluster.shard(&chat()));
    one.published(&channel, "last words").await;
    let ends = [&one, &two, &one].map(|node| node.cluster.ended(&channel));
    let [first, second, third] = ends;
    let (first, second, third) = tokio::join!(first, second, third);
    let end = first.expect("it is stored");
    assert_eq!((second, third), (Ok(end), Ok(end)));
    // JetStream takes it: the hub leaves it out.
    let behind = two.published(&channel, "behind").await;
    let stored = two.cluster.read(channel.clone()).await.unwrap();
    assert!(matches!(&stored.end, Some(Arrival { offset, what: What::End(of), .. })
        if *offset == end && *of == channel));
    assert_eq!((stored.head, stored.messages.len()), (behind, 2));
    let late = Node::start(&nats).await;
    let began = late.hub.of(shard).ends;
    assert_eq!(
        began.iter().map(|end| (&end.channel, end.offset)).collect::<Vec<_>>(),
        [(&channel, end)]
    );
    let marker = late.cluster.forgotten(&channel).await.expect("it is stored");
    for node in [&one, &two, &late] {
        let told = node.hub.reaches(shard, marker).await;
        let told: Vec<_> = told.messages.values().rev().take(2).map(String::as_str).collect();
        assert_eq!(told, ["!", "open"]);
    }
    assert!(Node::start(&nats).await.hub.of(shard).ends.is_empty());
    let again = two.cluster.ended(&channel).await.expect("it is stored");
    assert!(again > marker);
    let stored = one.cluster.read(channel).await.unwrap();
    assert_eq!(stored.messages.iter().map(|arrival| arrival.offset).collect::<Vec<_>>(), [marker]);
    assert_eq!(stored.end.map(|end| end.offset), Some(again));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_ends_than_fit_into_an_answer_are_all_known_to_a_node_that_starts() {
    let nats = Nats::start();
    let one = Node::start(&nats).await;
    let channels: Vec<ChannelName> =
        (0..5000).map(|number| format!("channel-{number}").parse().unwrap()).collect();
    let mut ends = BTreeMap::new();
    for some in channels.chunks(500) {
        let ending: Vec<_> = some.iter().map(|channel| one.cluster.ended(channel)).collect();
        for (channel, ending) in some.iter().zip(ending) {
            ends.insert(channel.clone(), ending.await.expect("it is stored"));
        }
    }
    let two = Node::start(&nats).await;
    let told = [0, 1].map(|shard| two.hub.of(shard).ends);
    let told: BTreeMap<_, _> =
        told.into_iter().flatten().map(|end| (end.channel, end.offset)).collect();
    assert_eq!(told, ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_keeps_little_more_than_the_bytes_that_are_shown() {
    let nats = Nats::start();
    let mut options = options(&nats);
    options.history_bytes = 20 * 64;
    let node = Node::start_with(options).await;
    let channel = chat();
    for number in 0..200 {
        node.published(&channel, &number.to_string()).await;
    }
    let kept = async || node.cluster.read(channel.clone()).await.unwrap().messages.len();
    // Publishing does not wait for the purge.
    eventually_async("the purge", async || kept().await <= 45).await;
    assert!(kept().await > 20, "more stays than is shown");
}
