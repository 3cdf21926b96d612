//! Servers of NATS die, messages get lost on the way: everything comes once and in order.

use std::time::{Duration, Instant};

use super::*;

/// Publishes until told to stop, as fast as it is acknowledged, and gives what was.
async fn publish_until(node: &Node, stop: &std::sync::atomic::AtomicBool) -> Vec<(u64, String)> {
    let (channel, mut acknowledged) = (chat(), Vec::new());
    let mut number = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let texts: Vec<_> = (number..number + 20).map(|number| format!("{number}")).collect();
        number += 20;
        let outcomes: Vec<_> = texts
            .iter()
            // Each with a key: what is not acknowledged in time is sent again.
            .map(|text| (text, node.publish(&channel, text, Some(text))))
            .collect();
        for (text, outcome) in outcomes {
            if let Ok(Ok(offset)) = outcome.await {
                acknowledged.push((offset, text.clone()));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    acknowledged
}

/// Nothing that was acknowledged is missing on a node, or is another message, or was stored twice, or in
/// another order than that in which it was published.
async fn check(nodes: [&Node; 2], acknowledged: &[(u64, String)]) {
    assert!(acknowledged.is_sorted_by_key(|(offset, _)| *offset), "{acknowledged:?}");
    let shard = nodes[0].cluster.shard(&chat());
    let last = acknowledged.iter().map(|(offset, _)| *offset).max().expect("messages");
    let told = [nodes[0].hub.reaches(shard, last).await, nodes[1].hub.reaches(shard, last).await];
    for told in &told {
        assert_eq!((told.skips, told.epochs.len()), (0, 1));
        for (offset, text) in acknowledged {
            assert_eq!(told.messages.get(offset), Some(text), "at {offset}");
        }
        let different: std::collections::HashSet<_> = told.messages.values().collect();
        assert_eq!(different.len(), told.messages.len(), "none is stored twice");
    }
}

/// Two nodes with a history that is longer than a test.
async fn two_that_trim_nothing(nats: &Nats) -> (Node, Node) {
    let options = options(nats).history_count(1_000_000);
    (Node::start_with(options.clone()).await, Node::start_with(options).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_leader_is_killed() {
    let mut nats = Nats::start();
    let (one, two) = two_that_trim_nothing(&nats).await;
    let stream = format!("sockeye_c{}", one.cluster.shard(&chat()));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (acknowledged, ()) = tokio::join!(publish_until(&one, &stop), async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            tokio::task::block_in_place(|| {
                let leader = nats.leader_of(&stream);
                nats.kill(leader);
                let _ = nats.leader_of(&stream);
                nats.start_one(leader);
                nats.wait_healthy();
            });
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(acknowledged.len() > 100, "{} were acknowledged", acknowledged.len());
    check([&one, &two], &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_leaders_step_down() {
    let nats = Nats::start();
    let (one, two) = two_that_trim_nothing(&nats).await;
    let stream = format!("sockeye_c{}", one.cluster.shard(&chat()));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (acknowledged, ()) = tokio::join!(publish_until(&one, &stop), async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            tokio::task::block_in_place(|| nats.step_down(&stream));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    check([&one, &two], &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_too_slow_finds_what_it_has_missed() {
    let nats = Nats::start();
    let mut options = options(&nats);
    // Nothing is trimmed meanwhile.
    options.history_count = 5000;
    let one = Node::start_with(options.clone()).await;
    options.feed_capacity = 16;
    let two = Node::start_with(options).await;
    let (channel, shard) = (chat(), one.cluster.shard(&chat()));
    let outcomes: Vec<_> =
        (0..3000).map(|number| one.publish(&channel, &number.to_string(), None)).collect();
    let mut last = 0;
    for outcome in outcomes {
        last = outcome.await.unwrap().unwrap();
    }
    let told = two.hub.reaches(shard, last).await;
    assert_eq!(told.messages.len(), 3000);
    let figures = two.cluster.figures().shards[usize::from(shard)];
    assert!(figures.holes > 0 && figures.filled > 0, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_without_a_majority_is_unavailable_after_ten_seconds() {
    let mut nats = Nats::start();
    let node = Node::start(&nats).await;
    node.published(&chat(), "before").await;
    for server in 0..3 {
        nats.kill(server);
    }
    let begun = Instant::now();
    // The node knows that it is not connected as soon as the connection is gone.
    eventually_async("the end of the connection", async || !node.cluster.is_connected()).await;
    let outcome = node.publish(&chat(), "lost", None).await.unwrap();
    assert_eq!(outcome, Err(Failure::Unavailable));
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
    for server in 0..3 {
        nats.start_one(server);
    }
    nats.wait_healthy();
    let after = eventually_async("a publication, by itself", async || {
        node.publish(&chat(), "after", Some("after")).await.unwrap()
    })
    .await;
    let told = node.hub.reaches(node.cluster.shard(&chat()), after).await;
    assert_eq!(told.messages.values().collect::<Vec<_>>(), ["before", "after"]);
}

/// Files of before are put in the place of newer ones: sequences are given anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_put_back_begins_a_new_epoch() {
    let mut nats = Nats::start();
    let (one, two) = (Node::start(&nats).await, Node::start(&nats).await);
    let (channel, shard) = (chat(), one.cluster.shard(&chat()));
    for number in 0..20 {
        one.published(&channel, &number.to_string()).await;
    }
    let restart = |nats: &mut Nats, change: &dyn Fn(&Nats)| {
        (0..3).for_each(|server| nats.terminate(server));
        change(nats);
        (0..3).for_each(|server| nats.start_one(server));
        nats.wait_healthy();
    };
    restart(&mut nats, &Nats::save_files);
    let lost = eventually_async("a publication after the restart", async || {
        one.publish(&channel, "lost", Some("lost")).await.unwrap()
    })
    .await;
    two.hub.reaches(shard, lost).await;
    restart(&mut nats, &Nats::put_files_back);
    eventually_async("a new epoch on both nodes", async || {
        [&one, &two].iter().all(|node| node.hub.of(shard).epochs.len() == 2)
    })
    .await;
    let epochs = [&one, &two].map(|node| node.hub.of(shard).epochs);
    assert_eq!(epochs[0], epochs[1], "the same on every node");
    assert_ne!(epochs[0][0], epochs[0][1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_when_the_connection_has_ended_for_good_has_an_outcome() {
    let nats = Nats::start();
    let node = Node::start(&nats).await;
    node.published(&chat(), "before").await;
    node.cluster.disconnect().await;
    for (id, failures) in [
        (None, [Failure::Unavailable, Failure::Unknown]),
        // It is tried again, and not all the time.
        (Some("id"), [Failure::Unavailable, Failure::Unknown]),
    ] {
        // It ends when what is under way has gone.
        let failure = eventually_async("a failure", async || {
            node.publish(&chat(), "after", id).await.unwrap().err()
        })
        .await;
        assert!(failures.contains(&failure), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_many_times_at_once_is_stored_once_and_does_not_stop_the_others() {
    let nats = Nats::start();
    let node = Node::start(&nats).await;
    let repeats: Vec<_> = (0..200).map(|_| node.publish(&chat(), "once", Some("id"))).collect();
    let others: Vec<_> =
        (0..200).map(|number| node.publish(&chat(), &number.to_string(), None)).collect();
    let mut last = 0;
    for other in others {
        last = other.await.unwrap().unwrap();
    }
    let mut offsets = std::collections::BTreeSet::new();
    for repeat in repeats {
        offsets.insert(repeat.await.unwrap().unwrap());
    }
    assert_eq!(offsets.len(), 1);
    let told = node.hub.reaches(node.cluster.shard(&chat()), last).await;
    assert_eq!(told.messages.len(), 201);
}
