//! The order of the answers to publications, whatever order their outcomes have.

use std::sync::Arc;

use serde_json::json;
use sockeye_hub::backplane::fake::{Bounds, Engine, Node};
use sockeye_hub::backplane::{Arrival, Backplane};
use sockeye_testing::eventually_async;

use super::{V1, error_code};
use crate::client::TestServer;

/// Channels in different shards.
const CHANNELS: [&str; 2] = ["a", "b"];

/// A server whose channels live in an engine of two shards, of which the first has no leader.
async fn server() -> (TestServer, Engine, Arc<Node>) {
    let bounds = Bounds { shards: 2, count: 100, age: 60_000, tick: 10_000 };
    let engine = Engine::new(bounds, 1);
    let node = engine.node();
    let backplane = Arc::<Node>::clone(&node);
    let server = TestServer::with(|options| options.channels.backplane = Some(backplane)).await;
    let shards = CHANNELS.map(|channel| node.shard(&channel.parse().unwrap()));
    assert_ne!(shards[0], shards[1]);
    engine.stop_leader(shards[0]);
    (server, engine, node)
}

fn stored(engine: &Engine, channel: &str) -> Vec<Arrival> {
    engine.published(&channel.parse().unwrap())
}

#[tokio::test]
async fn publications_are_answered_in_their_order_though_a_later_one_is_stored_first() {
    let (server, engine, node) = server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    for (id, channel) in CHANNELS.iter().enumerate() {
        connection.send(json!({"id": id, "op": "pub", "ch": channel, "data": id})).await;
    }
    // A publication that is refused at once waits for its turn, too.
    connection.send(json!({"id": 2, "op": "pub", "ch": "b", "data": "x".repeat(65537)})).await;
    eventually_async("the second is stored", async || !stored(&engine, "b").is_empty()).await;
    node.pump();
    // Other commands are answered at once.
    connection.assert_silent().await;
    assert!(stored(&engine, "a").is_empty());
    engine.elect_leader(node.shard(&"a".parse().unwrap()));
    node.pump();
    for id in 0..2 {
        let answer = connection.receive().await;
        assert_eq!(answer["id"], id, "{answer}");
        assert!(answer["ok"]["at"].is_string(), "{answer}");
    }
    let answer = connection.receive().await;
    assert_eq!((&answer["id"], error_code(&answer).as_str()), (&json!(2), "too_large"));
}

#[tokio::test]
async fn publications_in_progress_are_answered_before_the_server_stops() {
    let (server, engine, node) = server().await;
    // The first connection is closed first.
    let mut connection = V1::connect(&server, "/connect").await;
    let mut other = V1::connect(&server, "/connect").await;
    for (id, channel) in CHANNELS.iter().enumerate() {
        connection.send(json!({"id": id, "op": "pub", "ch": channel, "data": id})).await;
    }
    eventually_async("the second is stored", async || !stored(&engine, "b").is_empty()).await;
    let _stopping = server.begin_to_stop();
    // The server is stopping: another connection has been closed.
    assert_eq!(other.end().await.1, 1012);
    engine.elect_leader(node.shard(&"a".parse().unwrap()));
    node.pump();
    let (frames, code) = connection.end().await;
    let [first, second, bye] = &frames[..] else { panic!("{frames:?}") };
    for (id, answer) in [first, second].into_iter().enumerate() {
        assert!(answer["id"] == id && answer["ok"]["at"].is_string(), "{answer}");
    }
    assert_eq!((code, bye["bye"]["why"].as_str()), (1012, Some("drain")));
}

#[tokio::test]
async fn a_connection_has_64_publications_in_progress_and_further_commands_wait() {
    let (server, engine, node) = server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    let publish = |id: usize| json!({"id": id, "op": "pub", "ch": "a", "data": id});
    for id in 0..63 {
        connection.send(publish(id)).await;
    }
    connection.assert_silent().await;
    connection.send(publish(63)).await;
    connection.send(json!({"id": "ping", "op": "ping"})).await;
    engine.elect_leader(node.shard(&"a".parse().unwrap()));
    node.pump();
    // There is room for the ping when the first publication is answered.
    let mut answers = Vec::new();
    for _ in 0..=64 {
        answers.push(connection.receive().await["id"].take());
    }
    assert_eq!(answers[0], 0, "{answers:?}");
    answers.retain(|id| id != "ping");
    assert!(answers.iter().enumerate().all(|(number, id)| id == number), "{answers:?}");
    assert_eq!(answers.len(), 64);
}
