//! Records that all nodes share: of many changes at once one succeeds, and each is gone after its time.

use std::time::Duration;

use bytes::Bytes;
use sockeye_hub::backplane::Records;
use sockeye_hub::store::StoreError;
use tokio::task::JoinSet;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn records(node: &Node) -> Arc<dyn Records> {
    node.cluster.records().expect("a cluster has records")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_of_a_record_at_once_one_succeeds() {
    let nats = Nats::start();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(records(&Node::start(&nats).await));
    }
    for number in 0..50_usize {
        let (key, value) = (format!("key-{number}"), Bytes::from_static(b"new"));
        let first = nodes[number % 3].put(key.clone(), value.clone(), 0, MINUTE).await.unwrap();
        let first = first.expect("there is none");
        assert_eq!(nodes[0].put(key.clone(), value, 0, MINUTE).await, Ok(None), "there is one");
        for node in &nodes {
            let found = node.get(key.clone()).await.unwrap().expect("it is there");
            assert_eq!((found.revision, &*found.value), (first, &b"new"[..]));
        }
        let mut changes = JoinSet::new();
        for change in 0..6 {
            let (node, key) = (Arc::clone(&nodes[change % 3]), key.clone());
            let value = Bytes::from(format!("change {change}"));
            changes.spawn(async move { node.put(key, value, first, MINUTE).await.unwrap() });
        }
        let changed: Vec<_> = changes.join_all().await.into_iter().flatten().collect();
        assert_eq!(changed.len(), 1, "{changed:?}");
        for node in &nodes {
            let found = node.get(key.clone()).await.unwrap().expect("it is there");
            assert_eq!(found.revision, changed[0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_gone_after_its_time() {
    let nats = Nats::start();
    let records = records(&Node::start(&nats).await);
    let value = Bytes::from_static(b"short");
    for (key, ttl) in [("short", Duration::from_secs(1)), ("long", MINUTE)] {
        let put = records.put(key.to_owned(), value.clone(), 0, ttl).await.unwrap();
        assert!(put.is_some());
    }
    eventually_async("the end of a record", async || {
        records.get("short".to_owned()).await.unwrap().is_none()
    })
    .await;
    assert!(records.get("long".to_owned()).await.unwrap().is_some());
    let again = records.put("short".to_owned(), value, 0, MINUTE).await;
    assert!(again.unwrap().is_some(), "nothing is left of it");
}

/// A bucket that is full says so, and what is there can still be read.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_known_how_much_of_the_room_is_taken() {
    let nats = Nats::start();
    let records = records(&Node::start(&nats).await);
    assert_eq!(records.taken().await, Ok(0));
    let value = Bytes::from(vec![b'.'; 60 << 10]);
    let mut stored = 0_u32;
    loop {
        match records.put(format!("key-{stored}"), value.clone(), 0, MINUTE).await {
            Ok(Some(_)) => stored += 1,
            outcome => {
                assert_eq!(outcome, Err(StoreError::NoSpace));
                break;
            }
        }
        if stored == 500 {
            let taken = records.taken().await.unwrap();
            assert!((400..550).contains(&taken), "{taken}");
        }
    }
    let taken = records.taken().await.unwrap();
    assert!((990..=1000).contains(&taken), "{taken} after {stored}");
    assert!(records.get("key-0".to_owned()).await.unwrap().is_some());
}
