//! What a hub on an engine spends at most: reads at once, what it holds back, how long it lets wait.

use std::time::Duration;

use sockeye_hub::backplane::fake::Faults;
use sockeye_hub::backplane::{Amount, Backplane as _};
use sockeye_hub::store::StoreError;
use sockeye_hub::{Budget, GapReason, Hub, Publication, PublishError, Start};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, hub_on, read, runtime, why};
use crate::{name, texts};

/// A figure of the engine as operators see it.
pub(crate) fn figure(hub: &Hub, name: &str) -> u64 {
    let figures = hub.engine_figures();
    match figures.iter().find(|figure| figure.name == name).unwrap().amount {
        Amount::Count(count) => count,
        Amount::Level(level) => level as u64,
    }
}

/// Lets all tasks come as far as they can: the clock runs on only when all wait.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Begins to read these channels from their beginning.
fn storm(hub: &Hub, channels: std::ops::Range<u32>) -> JoinSet<Result<(), StoreError>> {
    let mut storm = JoinSet::new();
    for number in channels {
        let hub = hub.clone();
        storm.spawn(async move {
            let channel = name(&number.to_string());
            hub.load(&channel, Start::Earliest).await.map(drop)
        });
    }
    storm
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_readers_of_cold_channels_is_read_that_many_at_a_time() {
    let cluster = Cluster::new(1, 1);
    let hub = cluster.hub(0);
    cluster.engine.answer_reads(false);
    let storm = storm(hub, 0..10_000);
    settle().await;
    assert_eq!(cluster.engine.reads().under_way, 32);
    assert_eq!(figure(hub, "reads_waiting"), 10_000 - 32);
    cluster.engine.answer_reads(true);
    assert!(storm.join_all().await.iter().all(Result::is_ok));
    let reads = cluster.engine.reads();
    assert_eq!((reads.most, reads.begun, reads.under_way), (32, 10_000, 0));
    assert_eq!((figure(hub, "reads"), figure(hub, "reads_waiting")), (10_000, 0));
    assert_eq!(hub.figures().channels, 0, "no request holds them");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_its_place_in_the_queue_back() {
    let cluster = Cluster::new(1, 1);
    let hub = cluster.hub(0);
    cluster.say("a", "there").await;
    cluster.engine.answer_reads(false);
    let mut first = storm(hub, 0..5000);
    settle().await;
    let late = tokio::spawn({
        let hub = hub.clone();
        async move { texts(&read(&hub, "a", Start::Earliest).await.entries).join(" ") }
    });
    settle().await;
    // Those under way are finished: what they bring is of use to the next.
    first.shutdown().await;
    settle().await;
    assert_eq!((cluster.engine.reads().begun, figure(hub, "reads_waiting")), (32, 1));
    cluster.engine.answer_reads(true);
    assert_eq!(late.await.unwrap(), "there");
    assert_eq!(cluster.engine.reads().begun, 33);
    // Nothing of those that left is in the way of the next.
    assert!(storm(hub, 0..5000).join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_when_another_leaves_is_read() {
    let cluster = Cluster::new(1, 1);
    let hub = cluster.hub(0);
    cluster.engine.answer_reads(false);
    let _storm = storm(hub, 0..32);
    settle().await;
    let mut one = storm(hub, 100..101);
    settle().await;
    one.abort_all();
    let another = storm(hub, 100..101);
    settle().await;
    cluster.engine.answer_reads(true);
    assert_eq!(another.join_all().await, [Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_does_not_get_its_turn_is_unavailable() {
    let cluster = Cluster::new(1, 1);
    let hub = cluster.hub(0);
    cluster.engine.answer_reads(false);
    let begun = tokio::time::Instant::now();
    let storm = storm(hub, 0..1000);
    let outcomes = storm.join_all().await;
    assert!(outcomes.iter().all(|outcome| *outcome == Err(StoreError::Unavailable)));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(figure(hub, "reads_late") > 900);
    cluster.engine.answer_reads(true);
    assert!(read(hub, "1", Start::Earliest).await.entries.is_empty());
}

/// A shard without a server that answers holds up the readers of its own channels alone.
#[tokio::test(start_paused = true)]
async fn reads_of_a_shard_that_does_not_answer_hold_up_none_of_other_shards() {
    let cluster = Cluster::new(1, 1);
    let hub = cluster.hub(0);
    cluster.engine.answer_reads_of(0, false);
    let is_dead = |number: &u32| cluster.nodes[0].0.shard(&name(&number.to_string())) == 0;
    let of_dead = (0..400).filter(is_dead).count();
    assert!(of_dead > 100, "{of_dead}");
    let all = storm(hub, 0..400);
    settle().await;
    let begun = tokio::time::Instant::now();
    for number in (400..500).filter(|number| !is_dead(number)) {
        assert!(hub.load(&name(&number.to_string()), Start::Earliest).await.is_ok());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(cluster.engine.reads().under_way, 16);
    let outcomes = all.join_all().await;
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(failed, of_dead, "those of the dead shard, and no others");
}

#[tokio::test(start_paused = true)]
async fn what_a_feed_cannot_hold_back_is_passed_over() {
    let cluster = Cluster::new(1, 1);
    // What is fetched in parts is four times as much.
    let (far, hub) = hub_on(&cluster.engine, cluster.engine.node_that_holds(1500));
    let mut reader = hub.subscribe(&name("a"), Start::Now);
    cluster.engine.set_faults(Faults { lost: 100, ..Faults::default() });
    for channel in ["a", "c", "e", "g"].iter().cycle().take(20) {
        let _said = cluster.hub(0).publish(&name(channel), Publication::text("hello"));
    }
    far.tick();
    assert!(far.held(1) == 0 && far.verified(1) > 20);
    let before = reader.position();
    let page = reader.next_page(Budget::default()).await;
    assert_eq!(why(&page), Some(GapReason::Expired));
    // It is stored all the same: who asks with the position before the gap gets it.
    let page = read(&hub, "a", Start::After(before)).await;
    assert_eq!((why(&page), page.entries.len()), (None, 5));
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_is_stored_is_answered_though_the_feed_is_cut_off() {
    let cluster = Cluster::new(2, 1);
    let hub = cluster.hub(0);
    let begun = tokio::time::Instant::now();
    let said = hub.publish(&name("a"), Publication::text("hello")).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(figure(hub, "stored_unseen"), 1);
    cluster.nodes[1].0.pump();
    let page = read(cluster.hub(1), "a", Start::Earliest).await;
    assert_eq!((page.at, texts(&page.entries)), (said, vec!["hello"]), "where it was said to be");
    // A history is forgotten everywhere else, too.
    hub.forget(&name("a")).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 20);
    // The next waits no longer than it has to.
    let next = hub.publish(&name("a"), Publication::text("next"));
    cluster.pump();
    assert!(next.await.unwrap().offset > said.offset);
    assert_eq!((begun.elapsed().as_secs(), figure(hub, "stored_unseen")), (20, 2));
}

#[test]
fn publishers_are_answered_also_after_a_runtime_has_ended() {
    let cluster = Cluster::new(1, 1);
    let publish = || cluster.hub(0).publish(&name("a"), Publication::text("hello"));
    let first = {
        let ends = runtime();
        let _entered = ends.enter();
        publish()
    };
    let second = runtime().block_on(async { publish().await });
    assert!(second.is_ok());
    cluster.pump();
    assert!(first.wait().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_is_stored_in_an_epoch_that_ends_is_unknown() {
    let cluster = Cluster::new(1, 1);
    cluster.say("a", "there").await;
    let said = cluster.hub(0).publish(&name("a"), Publication::text("lost"));
    cluster.engine.lose_tail(1, 2);
    cluster.tick();
    assert_eq!(said.await, Err(PublishError::Unknown));
}
