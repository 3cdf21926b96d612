//! Tokens: shown at the handshake or after it, fresh ones in time, and what ends with them.

use std::time::Duration;

use serde_json::{Value, json};
use sockeye::Client;
use sockeye_hub::Publication;

use super::{V1, error_code};
use crate::auth::{self, HEADER, now, sign, token, token_until};
use crate::client::TestServer;

const CHAT: &str = r#"{"chat":["read","write","presence"]}"#;

fn auth(token: &str) -> Value {
    json!({"op": "auth", "token": token})
}

#[tokio::test]
async fn before_auth_nothing_can_be_done_and_after_it_what_the_token_grants() {
    let server = auth::server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    assert_eq!(connection.hello["auth"], true);
    let commands = [
        json!({"op": "sub", "ch": "chat"}),
        json!({"op": "read", "ch": "chat"}),
        json!({"op": "pub", "ch": "chat", "data": 1}),
        json!({"op": "who", "ch": "chat"}),
    ];
    for command in &commands {
        assert_eq!(connection.refused(command.clone()).await, "unauthorized", "{command}");
    }
    assert_eq!(connection.done(json!({"op": "ping"})).await, json!({}));
    assert_eq!(connection.refused(auth("no.good.token")).await, "unauthorized");
    assert_eq!(connection.refused(json!({"op": "auth"})).await, "bad_request");
    assert_eq!(connection.done(auth(&token(CHAT))).await, json!({}));
    for mut command in commands {
        command["ch"] = json!("other");
        assert_eq!(connection.refused(command.clone()).await, "forbidden", "{command}");
        command["ch"] = json!("chat");
        if command["op"] != "sub" {
            connection.done(command).await;
        }
    }
}

#[tokio::test]
async fn a_token_at_the_handshake_is_good_from_the_start() {
    let server = auth::server().await;
    for path in ["/connect", "/c/chat"] {
        let url = format!("ws://{}{path}", server.address);
        let bearer = format!("bearer.{}", token(CHAT));
        let client = Client::new(&url).unwrap().subprotocol("sockeye.v1").subprotocol(bearer);
        let opened = client.open().await.unwrap();
        let mut connection = V1 { socket: opened.socket, hello: Value::Null };
        let hello = connection.receive().await;
        assert_eq!(hello["hello"].get("auth"), None, "{hello}");
        connection.done(json!({"op": "read", "ch": "chat"})).await;
    }
}

#[tokio::test]
async fn a_channel_itself_wants_its_token_at_the_handshake() {
    let server = auth::server().await;
    let url = format!("ws://{}/c/chat", server.address);
    let refused = Client::new(&url).unwrap().subprotocol("sockeye.v1").open().await;
    assert!(refused.unwrap_err().to_string().contains("401"));
}

#[tokio::test]
async fn one_who_shows_no_token_in_time_is_sent_away_with_4401() {
    let server = TestServer::with(|options| {
        options.auth_key = Some(auth::key());
        options.auth_timeout = Duration::from_millis(100);
    })
    .await;
    let mut connection = V1::connect(&server, "/connect").await;
    assert_eq!(connection.refused(auth("no.good.token")).await, "unauthorized");
    assert_eq!(connection.end().await.1, 4401);

    let mut in_time = V1::connect(&server, "/connect").await;
    in_time.done(auth(&token(CHAT))).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    in_time.subscribe("chat").await;
}

#[tokio::test]
async fn before_auth_frames_are_small() {
    let server = auth::server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.send_text(&" ".repeat((16 << 10) + 1)).await;
    assert_eq!(connection.end().await.1, 1009);
    let mut known = V1::connect(&server, "/connect").await;
    known.done(auth(&token(CHAT))).await;
    let large = json!({"op": "pub", "ch": "chat", "data": "x".repeat(20 << 10)});
    known.done(large).await;
}

#[tokio::test]
async fn a_token_that_ends_without_a_fresh_one_ends_the_connection_with_4401() {
    let server = auth::server().await;
    let until = now() + 0.3;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.done(auth(&token_until(until, CHAT))).await;
    connection.subscribe("chat").await;
    let (frames, code) = connection.end().await;
    assert!(now() >= until, "it ended before its time");
    assert_eq!((frames.len(), code), (0, 4401));
}

#[tokio::test]
async fn with_a_fresh_token_in_time_everything_goes_on() {
    let server = auth::server().await;
    let until = now() + 0.3;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.done(auth(&token_until(until, CHAT))).await;
    connection.subscribe("chat").await;
    connection.done(auth(&token(CHAT))).await;
    while now() < until + 0.1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.hub.publish(&"chat".parse().unwrap(), Publication::text("on")).wait().unwrap();
    assert_eq!(connection.data("chat").await, "on");
}

#[tokio::test]
async fn what_the_fresh_token_does_not_grant_ends_and_the_rest_goes_on() {
    let server = auth::server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    let all = ["read", "presence"];
    let before = json!({"a": all, "b": all, "c": all});
    connection.done(auth(&token(&before.to_string()))).await;
    connection.subscribe("a").await;
    connection.subscribe("b").await;
    connection.done(json!({"op": "sub", "ch": "c", "presence": true})).await;
    let after = json!({"b": ["read"], "c": ["read"]});
    connection.done(auth(&token(&after.to_string()))).await;
    let mut ended = Vec::new();
    for _ in 0..2 {
        let frame = connection.receive().await;
        assert_eq!(error_code(&frame), "forbidden");
        ended.push(frame["ch"].as_str().unwrap().to_owned());
    }
    ended.sort();
    assert_eq!(ended, ["a", "c"]);
    for channel in ["a", "c", "b"] {
        let publication = Publication::text(channel);
        server.hub.publish(&channel.parse().unwrap(), publication).wait().unwrap();
    }
    assert_eq!(connection.data("b").await, "b");
    connection.assert_silent().await;
}

#[tokio::test]
async fn a_connection_stays_the_same_persons() {
    let server = auth::server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.done(auth(&token(CHAT))).await;
    let exp = now() + 3600.0;
    let bob = sign(HEADER, format!(r#"{{"sub":"bob","exp":{exp},"channels":{CHAT}}}"#));
    assert_eq!(connection.refused(auth(&bob)).await, "forbidden");
    connection.subscribe("chat").await;
}

#[tokio::test]
async fn without_an_auth_key_a_token_changes_nothing() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect?as=ann").await;
    assert_eq!(connection.done(auth("anything")).await, json!({}));
    connection.subscribe("chat").await;
    let who = connection.done(json!({"op": "who", "ch": "chat"})).await;
    assert_eq!(who["members"][0]["id"], "ann");
}
