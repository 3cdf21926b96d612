//! What `apply` changes while nodes run, and what it leaves.

use super::*;
use crate::options::ApplyOptions;
use crate::streams::key;
use crate::{ApplyError, Plan};

/// A node with one copy of everything, whose channels keep few bytes.
async fn small(nats: &Nats) -> (Node, ClusterOptions) {
    let mut options = options(nats);
    (options.replicas, options.history_bytes) = (Some(1), 20 * 64);
    (Node::start_with(options.clone()).await, options)
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_are_refused_while_a_node_drops_what_is_beyond_fewer() {
    let nats = Nats::start();
    let (node, options) = small(&nats).await;
    let wanted = ApplyOptions::default().history_bytes(1 << 20);
    // A node that is slow to answer is not seen.
    let refused = eventually_async("a refusal, because of the node", async || {
        Plan::make(&options, &wanted).await.err()
    })
    .await;
    assert!(matches!(refused, ApplyError::OldLimit { .. }), "{refused}");
    assert!(refused.to_string().contains("stop the nodes first"), "{refused}");
    // What no node drops by itself may grow.
    let wanted = ApplyOptions::default().history_count(5000);
    let plan = Plan::make(&options, &wanted).await.unwrap();
    assert!(plan.changes_history());
    let info = node.api().info(&node.api().names().stream(0)).await.unwrap();
    assert!(info.metadata(key::HISTORY).is_some_and(|history| history.contains(" 1280 ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_are_kept_once_no_node_runs() {
    let nats = Nats::start();
    let (node, options) = small(&nats).await;
    node.cluster.disconnect().await;
    let wanted = ApplyOptions::default().history_bytes(1 << 20);
    let plan = eventually_async("a plan, once the node is gone", async || {
        let plan = Plan::make(&options, &wanted).await;
        assert!(matches!(plan, Ok(_) | Err(ApplyError::OldLimit { .. })), "{plan:?}");
        plan
    })
    .await;
    plan.apply().await.unwrap();
    let large = Node::start_with(ClusterOptions { history_bytes: 1 << 20, ..options }).await;
    for number in 0..200 {
        large.published(&chat(), &number.to_string()).await;
    }
    assert_eq!(large.cluster.read(chat()).await.unwrap().messages.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_on_as_many_servers_as_messages() {
    let nats = Nats::start();
    let (node, options) = small(&nats).await;
    let wanted = ApplyOptions::default().replicas(3);
    let plan = Plan::make(&options, &wanted).await.unwrap();
    assert!(plan.to_string().contains("sockeye_c1 and sockeye_t"), "{plan}");
    plan.apply().await.unwrap();
    for stream in [node.api().names().stream(1), node.api().names().records_stream()] {
        let info = node.api().info(&stream).await.unwrap();
        assert_eq!(info.number("num_replicas"), Some(3), "{stream}");
    }
    let plan = Plan::make(&options, &wanted).await.unwrap();
    assert!(plan.is_empty(), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_a_node_has_given_meanwhile_stays() {
    let nats = Nats::start();
    let (node, options) = small(&nats).await;
    let wanted = ApplyOptions::default().history_count(5000);
    let plan = Plan::make(&options, &wanted).await.unwrap();
    let (api, stream) = (node.api(), node.api().names().stream(0));
    let mut config = api.info(&stream).await.unwrap().config;
    let epoch = Epoch::random().to_string();
    config["metadata"][key::EPOCH] = epoch.clone().into();
    api.update(&stream, &config).await.unwrap();
    let refused = plan.apply().await.unwrap_err();
    assert!(matches!(refused, ApplyError::Epoch { .. }), "{refused}");
    let info = api.info(&stream).await.unwrap();
    assert_eq!(info.metadata(key::EPOCH), Some(&*epoch));
}

/// Those that a version made in which channels did not end.
#[tokio::test(flavor = "multi_thread")]
async fn streams_without_subjects_for_ends_are_given_them() {
    let nats = Nats::start();
    let (node, options) = small(&nats).await;
    node.published(&chat(), "kept").await;
    for shard in 0..2 {
        let stream = node.api().names().stream(shard);
        let mut config = node.api().info(&stream).await.unwrap().config;
        config["subjects"] = serde_json::json!([format!("sockeye.c.{shard}.*")]);
        node.api().update(&stream, &config).await.unwrap();
    }
    let refused = Cluster::connect(options.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("has subjects = "), "{refused}");
    assert!(refused.contains("sockeye cluster apply"), "{refused}");
    let plan = Plan::make(&options, &ApplyOptions::default()).await.unwrap();
    plan.apply().await.unwrap();
    let new = Node::start_with(options).await;
    let end = new.cluster.ended(&chat()).await.expect("it is stored");
    let stored = new.cluster.read(chat()).await.unwrap();
    assert_eq!((stored.messages.len(), stored.end.map(|end| end.offset)), (1, Some(end)));
}
