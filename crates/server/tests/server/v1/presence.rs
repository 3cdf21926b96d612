//! Members of a channel, and notices of joins and leaves.

use serde_json::{Value, json};

use super::V1;
use crate::client::TestServer;

/// The id in `join` or `leave`, which has a `since`.
#[track_caller]
fn id_of(frame: &Value, change: &str) -> String {
    assert_eq!(frame["ch"], "chat", "{frame}");
    assert!(frame[change]["since"].is_u64(), "{frame}");
    frame[change]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn the_command_who_gives_what_presence_gives() {
    let server = TestServer::start().await;
    let mut ann = V1::connect(&server, "/connect?as=ann").await;
    let who = json!({"op": "who", "ch": "chat"});
    assert_eq!(ann.done(who.clone()).await, json!({"count": 0, "members": []}));
    ann.subscribe("chat").await;
    let _bob = V1::connect(&server, "/c/chat?as=bob").await;
    let _nameless = V1::connect(&server, "/c/chat").await;
    let told = ann.done(who).await;
    assert_eq!((&told["count"], &told["members"][1]["id"]), (&json!(3), &json!("bob")));
    assert_eq!(told, server.get("/c/chat/presence").await.json());
}

#[tokio::test]
async fn subscribers_that_ask_for_presence_get_joins_and_leaves() {
    let server = TestServer::start().await;
    let mut ann = V1::connect(&server, "/connect?as=ann").await;
    ann.done(json!({"op": "sub", "ch": "chat", "presence": true})).await;
    let mut deaf = V1::connect(&server, "/connect?as=deaf").await;
    deaf.subscribe("chat").await;
    assert_eq!(id_of(&ann.receive().await, "join"), "deaf");

    let mut bob = V1::connect(&server, "/c/chat?as=bob").await;
    assert_eq!(id_of(&ann.receive().await, "join"), "bob");
    // A member is there once, however many connections it has.
    let again = V1::connect(&server, "/c/chat?as=bob").await;
    drop(again);
    server.publish("/c/chat", "news").await;
    assert_eq!(ann.data("chat").await, "news");
    assert_eq!(bob.data("chat").await, "news");
    bob.done(json!({"op": "unsub"})).await;
    assert_eq!(id_of(&ann.receive().await, "leave"), "bob");

    ann.done(json!({"op": "unsub", "ch": "chat"})).await;
    bob.subscribe("chat").await;
    ann.assert_silent().await;
    assert_eq!(deaf.data("chat").await, "news");
    deaf.assert_silent().await;
}
