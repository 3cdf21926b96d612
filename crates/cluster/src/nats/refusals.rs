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
