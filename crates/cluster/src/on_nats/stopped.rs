//! The leader of a shard is stopped as it is while publications are under way (SIGSTOP), and goes on when another leads:
//! by then it has been sent what was published meanwhile, as if it led.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::task::block_in_place;

use super::*;

/// How many messages are under way at once.
const TOGETHER: usize = 64;
/// How many are stored before the next thing happens.
const SOME: usize = 400;

/// What became of each message.
type Outcomes = Vec<(String, Result<u64, Failure>)>;

/// Publishes until told to stop: each second message with a key, by which it is sent again when it has no answer.
async fn publish_until(node: &Node, stop: &AtomicBool, stored: &AtomicUsize) -> Outcomes {
    let (channel, mut outcomes) = (chat(), Vec::new());
    while !stop.load(Relaxed) {
        let first = outcomes.len();
        let texts: Vec<_> = (first..first + TOGETHER).map(|number| number.to_string()).collect();
        let publish = |(number, text): (usize, &String)| {
            node.publish(&channel, text, (number % 2 == 0).then_some(text))
        };
        let waiting: Vec<_> = texts.iter().enumerate().map(publish).collect();
        for (text, outcome) in texts.into_iter().zip(waiting) {
            let outcome = outcome.await.expect("an outcome");
            stored.fetch_add(usize::from(outcome.is_ok()), Relaxed);
            outcomes.push((text, outcome));
        }
    }
    outcomes
}

/// Each acknowledged message is where it was said to be, none that was refused is anywhere, and none is there twice.
fn check(told: &Told, outcomes: &Outcomes) {
    assert_eq!((told.skips, told.epochs.len()), (0, 1));
    let mut places = BTreeMap::new();
    for (offset, text) in &told.messages {
        let before = places.insert(text, *offset);
        assert_eq!(before, None, "{text} is stored twice, at {offset} too");
    }
    let mut last = 0;
    for (text, outcome) in outcomes {
        let place = places.get(text).copied();
        match outcome {
            Ok(offset) => {
                assert_eq!(place, Some(*offset), "{text} was acknowledged");
                assert!(last < *offset, "{text} at {offset} comes behind {last}");
                last = *offset;
            }
            Err(Failure::Unknown) => {}
            Err(failure) => assert_eq!(place, None, "{text} was refused: {failure:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_a_leader_that_was_stopped_is_taken_for_that_of_another_message() {
    let nats = Nats::start();
    let mut options = options(&nats).history_count(1_000_000);
    let reader = Node::start_with(options.clone()).await;
    let shard = reader.cluster.shard(&chat());
    let stream = format!("sockeye_c{shard}");
    let leader = nats.leader_of(&stream);
    options.servers = nats.url((leader + 1) % 3).parse().expect("a URL");
    let node = Node::start_with(options).await;
    let (stop, stored) = (AtomicBool::new(false), AtomicUsize::new(0));
    let some_more = async |what: &str| {
        let enough = stored.load(Relaxed) + SOME;
        eventually_async(what.to_owned(), async || stored.load(Relaxed) >= enough).await;
    };
    let (outcomes, only) = tokio::join!(publish_until(&node, &stop, &stored), async {
        some_more("messages before").await;
        nats.pause(leader);
        // It comes to the one that is stopped alone, and has no key.
        let only = node.publish(&chat(), "only", None).await.expect("an outcome");
        block_in_place(|| nats.leader_instead_of(leader, &stream));
        // The servers send each message to both that took or take the lead.
        some_more("messages that the next leader stores").await;
        nats.resume(leader);
        some_more("messages while the first one finds out").await;
        block_in_place(|| nats.wait_healthy());
        some_more("messages after").await;
        stop.store(true, Relaxed);
        vec![("only".to_owned(), only)]
    });
    let last = node.published(&chat(), "last").await;
    for node in [&reader, &node] {
        let told = node.hub.reaches(shard, last).await;
        check(&told, &outcomes);
        check(&told, &only);
    }
}
