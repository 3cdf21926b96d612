//! Ends of channels on several hubs: one place in the order of all, and nothing behind it.

use std::sync::Arc;

use sockeye_hub::backplane::fake::{Faults, Node};
use sockeye_hub::backplane::{Arrival, Backplane as _, What};
use sockeye_hub::{
    Budget, GapReason, Hub, IdempotencyKey, Item, Position, Publication, PublishError, Start,
};

use crate::cluster::{BOUNDS, Cluster, node, read, why};
use crate::cluster_bounds;
use crate::{name, texts};

/// For how long after it an end holds, in milliseconds: a history, and half of what the engine holds longer.
const HOLDS: u64 = 3_500;
/// For how long a node may be told nothing: half of what the engine holds longer.
const LAG: u64 = 500;
/// And nothing is sent.
const CLOSED: u64 = 3_750;

/// What was published without what was stored behind an end.
pub(crate) fn counted(published: &[Arrival]) -> Vec<Arrival> {
    let mut ended = None;
    let counts = |arrival: &&Arrival| {
        match arrival.what {
            What::End(_) => ended = Some(arrival.ts),
            What::Open { .. } => ended = None,
            What::Message { .. } if ended.is_some_and(|end| arrival.ts < end + HOLDS) => {
                return false;
            }
            What::Message { .. } => ended = None,
            _ => {}
        }
        true
    };
    published.iter().filter(counts).cloned().collect()
}

/// Whether a message is void, and may be shown all the same: the engine holds its end no longer, which it does only
/// where the shard took nothing for long.
pub(crate) fn reappears((counted, all): (&[Arrival], &[Arrival]), offset: u64, now: u64) -> bool {
    let is_void = !counted.iter().any(|arrival| arrival.offset == offset);
    let before = all.iter().take_while(|arrival| arrival.offset < offset);
    let end = before.filter(|arrival| matches!(arrival.what, What::End(_))).last();
    assert!(!is_void || end.is_some_and(|end| end.ts + BOUNDS.age <= now), "it is void");
    is_void
}

impl Cluster {
    /// No node publishes that has been told nothing for as long as the engine holds messages longer than they are
    /// shown: it might not know of an end that is gone before what it publishes is.
    pub(crate) fn catch_up(&self, node: usize, faults: Faults, told: &mut [u64; 3]) {
        if self.engine.now() - told[node] > LAG {
            self.engine.set_faults(Faults::default());
            self.nodes[node].0.tick();
            self.engine.set_faults(faults);
            told[node] = self.engine.now();
        }
    }

    /// Ends a channel on a node, and lets all of them see it.
    async fn end(&self, node: usize, channel: &str) -> Position {
        let ending = self.hub(node).end(&name(channel), "ann");
        self.pump();
        ending.await.unwrap()
    }

    /// Publishes on a node, and lets all of them see it.
    async fn try_say(&self, node: usize, text: &str) -> Result<Position, PublishError> {
        let said = self.hub(node).publish(&name("a"), Publication::text(text));
        self.pump();
        said.await
    }

    async fn forget(&self, node: usize, channel: &str) {
        let forgetting = self.hub(node).forget(&name(channel));
        self.pump();
        forgetting.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn readers_on_every_node_are_told_the_same_end() {
    let cluster = Cluster::new(3, 1);
    let mut open = cluster.hub(1).subscribe(&name("a"), Start::Now);
    let first = cluster.say("a", "1").await;
    // Of the same shard.
    cluster.say("c", "another channel").await;
    let last = cluster.say("a", "2").await;
    let at = cluster.end(0, "a").await;
    cluster.say("c", "later").await;
    assert!(at > last);
    let page = open.try_next_page(Budget::default()).unwrap();
    assert_eq!((texts(&page.entries), page.at, page.end), (vec!["1", "2"], at, true));
    assert!(open.is_over());
    let (_, cold) = node(&cluster.engine);
    for hub in [cluster.hub(0), cluster.hub(1), cluster.hub(2), &cold] {
        for (start, said) in [
            (Start::Earliest, &["1", "2"][..]),
            (Start::After(first), &["2"]),
            (Start::Last(1), &["2"]),
            (Start::After(last), &[]),
            (Start::After(at), &[]),
            (Start::Now, &[]),
        ] {
            let page = read(hub, "a", start).await;
            assert_eq!((why(&page), texts(&page.entries)), (None, said.to_vec()), "{start:?}");
            assert_eq!((page.at, page.end), (at, true), "{start:?}");
        }
        assert_eq!(hub.position(&name("a")), at);
        assert!(!hub.is_same_place(&name("a"), last, at), "the end is still to be told");
        assert!(!read(hub, "c", Start::Earliest).await.end);
    }
    assert_eq!(cluster.end(2, "a").await, at, "it has ended once");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_known_without_reading_the_channel() {
    let cluster = Cluster::new(1, 1);
    cluster.say("a", "1").await;
    let at = cluster.end(0, "a").await;
    let (_, cold) = node(&cluster.engine);
    for hub in [cluster.hub(0), &cold] {
        assert_eq!(cluster_bounds::figure(hub, "ended_channels"), 1);
    }
    cluster.engine.answer_reads(false);
    for start in [Start::Now, Start::After(at)] {
        let page = read(&cold, "a", start).await;
        assert_eq!((why(&page), page.at, page.end), (None, at, true));
        let next = cold.subscribe(&name("a"), start).try_next();
        assert!(matches!(next, Some(Item::End(told)) if told == at), "{next:?}");
    }
    let refused = cold.publish(&name("a"), Publication::text("2")).await;
    assert_eq!(refused, Err(PublishError::Ended));
    assert_eq!(cluster.engine.reads().begun, 0);
    assert_eq!(cold.figures().channels, 0, "no channel is kept for it");
}

/// The node that publishes does not know of the end yet.
#[tokio::test(start_paused = true)]
async fn what_is_stored_behind_an_end_is_refused_and_shown_on_no_node() {
    for is_answered_late in [false, true] {
        let cluster = Cluster::new(3, 1);
        let mut open = [0, 1, 2].map(|node| cluster.hub(node).subscribe(&name("a"), Start::Now));
        let before = cluster.hub(1).publish(&name("a"), Publication::text("before"));
        let ending = cluster.hub(0).end(&name("a"), "ann");
        if is_answered_late {
            // All nodes have what comes before the publisher has its answer.
            cluster.engine.stop_leader(1);
        }
        let behind: Vec<_> = (0..3)
            .map(|node| cluster.hub(node).publish(&name("a"), Publication::text("behind")))
            .collect();
        cluster.pump();
        if is_answered_late {
            cluster.engine.elect_leader(1);
            cluster.pump();
        }
        let (before, at) = (before.await.unwrap(), ending.await.unwrap());
        assert!(before < at);
        for behind in behind {
            assert_eq!(behind.await, Err(PublishError::Ended));
        }
        for open in &mut open {
            let page = open.try_next_page(Budget::default()).unwrap();
            assert_eq!((texts(&page.entries), page.at, page.end), (vec!["before"], at, true));
        }
        let (_, cold) = node(&cluster.engine);
        for hub in [cluster.hub(0), &cold] {
            let page = read(hub, "a", Start::Earliest).await;
            assert_eq!((texts(&page.entries), page.at, page.end), (vec!["before"], at, true));
        }
        // What is void then stays so.
        cluster.forget(2, "a").await;
        let anew = cluster.say("a", "anew").await;
        let (_, cold) = node(&cluster.engine);
        for hub in [cluster.hub(0), cluster.hub(1), &cold] {
            let page = read(hub, "a", Start::Earliest).await;
            assert_eq!((texts(&page.entries), page.at, page.end), (vec!["anew"], anew, false));
            assert_eq!(why(&read(hub, "a", Start::After(before)).await), Some(GapReason::Reset));
        }
    }
}

/// More than the engine holds of a channel is stored behind its end: the end stays.
#[tokio::test(start_paused = true)]
async fn what_is_behind_an_end_does_not_drop_it() {
    let cluster = Cluster::new(2, 1);
    cluster.say("a", "1").await;
    let ending = cluster.hub(0).end(&name("a"), "ann");
    let behind: Vec<_> = (0..3 * BOUNDS.count)
        .map(|_| cluster.hub(1).publish(&name("a"), Publication::text("behind")))
        .collect();
    cluster.pump();
    let at = ending.await.unwrap();
    for behind in behind {
        assert_eq!(behind.await, Err(PublishError::Ended));
    }
    let (_, cold) = node(&cluster.engine);
    let page = read(&cold, "a", Start::Earliest).await;
    assert_eq!((page.entries.len(), page.at, page.end), (0, at, true));
    let resumed = read(&cold, "a", Start::After(Position { offset: 1, ..at })).await;
    assert_eq!(why(&resumed), Some(GapReason::Expired), "what was dropped for it is told");
    assert_eq!((resumed.gap.unwrap().next, resumed.at, resumed.end), (at, at, true));
}

#[tokio::test(start_paused = true)]
async fn a_repetition_of_what_came_before_the_end_has_its_position() {
    let cluster = Cluster::new(2, 1);
    let say = async |node: usize, hub: &Hub, key: &str| {
        let key = IdempotencyKey::new("ann", key).unwrap();
        let said = hub.publish(&name("a"), Publication::text("once").key(key));
        cluster.pump();
        (node, said.await)
    };
    let (_, first) = say(0, cluster.hub(0), "1").await;
    cluster.end(1, "a").await;
    let (_, cold) = node(&cluster.engine);
    for (number, hub) in [cluster.hub(0), cluster.hub(1), &cold].into_iter().enumerate() {
        assert_eq!(say(number, hub, "1").await, (number, first));
        assert_eq!(say(number, hub, "2").await, (number, Err(PublishError::Ended)));
    }
    assert_eq!(cluster.engine.published(&name("a")).len(), 2, "nothing was stored for it");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_forgotten_is_open_again_on_every_node() {
    let cluster = Cluster::new(3, 1);
    cluster.say("a", "1").await;
    let at = cluster.end(0, "a").await;
    let mut over = cluster.hub(1).subscribe(&name("a"), Start::After(at));
    assert!(over.try_next_page(Budget::default()).unwrap().end);
    cluster.forget(1, "a").await;
    let next = cluster.try_say(2, "anew").await.unwrap();
    assert!(next > at);
    let (_, cold) = node(&cluster.engine);
    for hub in [cluster.hub(0), cluster.hub(1), cluster.hub(2), &cold] {
        let page = read(hub, "a", Start::Earliest).await;
        assert_eq!((texts(&page.entries), page.at, page.end), (vec!["anew"], next, false));
    }
    let again = cluster.end(0, "a").await;
    assert!(again > next);
    assert_eq!(cluster.try_say(1, "2").await, Err(PublishError::Ended));
}

#[tokio::test(start_paused = true)]
async fn an_end_holds_longer_than_a_history_and_then_the_channel_is_new() {
    let cluster = Cluster::new(2, 1);
    let at = cluster.end(0, "a").await;
    let advance = |millis| {
        cluster.engine.advance(millis);
        cluster.tick();
    };
    advance(CLOSED - 20);
    assert_eq!(cluster.try_say(1, "early").await, Err(PublishError::Ended));
    assert_eq!(cluster.end(1, "a").await, at);
    advance(20);
    let next = cluster.try_say(1, "anew").await.unwrap();
    for node in 0..2 {
        let page = read(cluster.hub(node), "a", Start::Earliest).await;
        assert_eq!((texts(&page.entries), page.at, page.end), (vec!["anew"], next, false));
    }
    assert!(cluster.end(0, "a").await > next);
}

/// The channel is opened again while a node misses everything: the end is not in the engine any more, and what
/// is behind it is.
#[tokio::test(start_paused = true)]
async fn what_is_void_is_known_where_the_end_is_fetched_no_more() {
    let cluster = Cluster::new(2, 1);
    let mut open = cluster.hub(1).subscribe(&name("a"), Start::Now);
    cluster.engine.set_faults(Faults { lost: 100, ..Faults::default() });
    let ending = cluster.hub(0).end(&name("a"), "ann");
    let behind = cluster.hub(0).publish(&name("a"), Publication::text("behind"));
    let forgetting = cluster.hub(0).forget(&name("a"));
    cluster.tick();
    forgetting.await.unwrap();
    assert!(ending.await.is_err(), "it was dropped before it came");
    assert!(behind.await.is_err(), "it was dropped before it came");
    cluster.engine.set_faults(Faults::default());
    cluster.say("a", "anew").await;
    let page = open.try_next_page(Budget::default()).unwrap();
    assert_eq!((why(&page), texts(&page.entries)), (Some(GapReason::Reset), vec!["anew"]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_passes_over_the_end_knows_of_it() {
    let cluster = Cluster::new(2, 1);
    cluster.say("a", "1").await;
    let mut open = cluster.hub(1).subscribe(&name("a"), Start::Now);
    let (slow, hub) = &cluster.nodes[1];
    let ending = cluster.hub(0).end(&name("a"), "ann");
    cluster.nodes[0].0.pump();
    let at = ending.await.unwrap();
    cluster.engine.advance(BOUNDS.age + 1);
    // Another one on another channel, which is not too old.
    let other = cluster.hub(0).end(&name("c"), "ann");
    cluster.nodes[0].0.pump();
    let other = other.await.unwrap();
    cluster.engine.set_faults(Faults { lost: 100, ..Faults::default() });
    slow.tick();
    assert!(slow.skipped(slow.shard(&name("a"))) > at.offset);
    let page = open.try_next_page(Budget::default()).unwrap();
    assert_eq!((why(&page), page.end), (Some(GapReason::Expired), false), "it is too old");
    let page = read(hub, "c", Start::Earliest).await;
    assert_eq!((page.at, page.end), (other, true));
    let refused = hub.publish(&name("c"), Publication::text("2")).await;
    assert_eq!(refused, Err(PublishError::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_lost_end_is_lost_with_its_epoch_and_a_kept_one_is_kept() {
    let cluster = Cluster::new(2, 1);
    let kept = cluster.end(0, "a").await;
    cluster.end(0, "c").await;
    cluster.engine.lose_tail(1, 1);
    cluster.tick();
    cluster.tick();
    for node in 0..2 {
        let hub = cluster.hub(node);
        let page = read(hub, "a", Start::Now).await;
        assert!(page.end && page.at.offset == kept.offset && page.at.epoch != kept.epoch);
        assert!(!read(hub, "c", Start::Now).await.end);
    }
    let is_taken: Arc<Node> = Arc::clone(&cluster.nodes[0].0);
    let said = cluster.hub(0).publish(&name("c"), Publication::text("on"));
    is_taken.pump();
    assert!(said.await.is_ok());
}
