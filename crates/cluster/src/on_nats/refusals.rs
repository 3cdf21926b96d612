//! What a node refuses to join, in one line that says what to do.

use super::*;
use crate::{StartError, Storage};

async fn refused(options: ClusterOptions) -> String {
    match Cluster::connect(options).await {
        Ok(cluster) => panic!("{cluster:?} was joined"),
        Err(why) => {
            let line = why.to_string();
            assert!(!line.contains('\n'), "{line}");
            line
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_another_is_refused_with_what_to_do() {
    let nats = Nats::start();
    drop(Node::start(&nats).await);
    let changed = |change: fn(&mut ClusterOptions)| {
        let mut options = options(&nats);
        change(&mut options);
        options
    };
    let history = refused(changed(|options| options.history_count = 7)).await;
    assert!(history.contains("1000 messages") && history.contains("7 messages"), "{history}");
    let shards = refused(changed(|options| options.shards = Some(3))).await;
    assert!(shards.contains("--cluster-shards 2"), "{shards}");
    let replicas = refused(changed(|options| options.replicas = Some(1))).await;
    assert!(replicas.contains("--cluster-replicas 3"), "{replicas}");
    let memory = refused(changed(|options| options.storage = Some(Storage::Memory))).await;
    assert!(memory.contains("--cluster-storage file"), "{memory}");
    let large = refused(changed(|options| options.max_message = 2 << 20)).await;
    assert!(large.contains("max_payload"), "{large}");
    // What was decided need not be said again.
    let mut options = options(&nats);
    options.shards = None;
    Cluster::connect(options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_not_let_in_is_told_at_once() {
    let nats = Nats::start_with("authorization { user: ann, password: secret }");
    let mut options = options(&nats);
    let wrong = nats.urls().replace("nats://", "nats://ann:other@");
    options.servers = wrong.parse().unwrap();
    let why = Cluster::connect(options.clone()).await.unwrap_err();
    assert!(matches!(why, StartError::Login { .. }), "{why}");
    assert!(!why.to_string().contains("other"), "{why}");
    options.servers = nats.urls().replace("nats://", "nats://ann:secret@").parse().unwrap();
    Node::start_with(options).await;
}

/// Each new connection may be to a server that has another configuration than the one before.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_only_smaller_messages_later_makes_a_node_unready() {
    let nats = Nats::start();
    let node = Node::start(&nats).await;
    assert_eq!((node.cluster.health(), node.cluster.trouble()), (Ok(()), None));
    let reconfigured = async |lines: &str, is_expected: fn(Option<&str>) -> bool| {
        nats.reconfigure(lines);
        node.api().client().force_reconnect().await.expect("there is a client");
        eventually_async(format!("the consequence of {lines}"), async || {
            let (health, trouble) = (node.cluster.health(), node.cluster.trouble());
            let is_so = is_expected(trouble.as_deref()) && health.is_ok() == trouble.is_none();
            if is_so { Ok(()) } else { Err((health, trouble)) }
        })
        .await;
    };
    let says_why = |told: Option<&str>| {
        told.is_some_and(|told| told.contains("set its max_payload to 524288"))
    };
    reconfigured("max_payload: 256KB", says_why).await;
    reconfigured("max_payload: 1MB", |told| told.is_none()).await;
    node.published(&chat(), "after").await;
}
