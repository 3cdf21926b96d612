//! Tokens: at the handshake or after it, renewed in time, and what ends with them.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use sockeye::{Client, DeflateConfig};
use sockeye_hub::Publication;
use sockeye_testing::frame::{self, Frame, TEXT};
use sockeye_testing::handshake::{Head, request_with};
use sockeye_testing::pass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{V1, error_code};
use crate::auth::{self, HEADER, LIFETIME, now, sign, token, token_until, wait_until};
use crate::client::{SOON, TestServer};

/// Time to authenticate in: enough on a busy machine.
const AUTH_TIMEOUT: Duration = Duration::from_secs(1);

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
async fn a_token_at_the_handshake_is_valid_from_the_start() {
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
async fn a_client_without_a_token_in_time_is_closed_with_4401() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(auth::key());
        options.channels.auth_timeout = AUTH_TIMEOUT;
    })
    .await;
    let mut connection = V1::connect(&server, "/connect").await;
    assert_eq!(connection.refused(auth("no.good.token")).await, "unauthorized");
    assert_eq!(connection.end().await.1, 4401);

    let mut in_time = V1::connect(&server, "/connect").await;
    in_time.done(auth(&token(CHAT))).await;
    pass(AUTH_TIMEOUT + Duration::from_millis(50)).await;
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
    let until = now() + LIFETIME;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.done(auth(&token_until(until, CHAT))).await;
    connection.subscribe("chat").await;
    let (frames, code) = connection.end().await;
    assert!(now() >= until, "it ended before its time");
    assert_eq!((frames.len(), code), (0, 4401));
}

#[tokio::test]
async fn with_a_fresh_token_in_time_everything_continues() {
    let server = auth::server().await;
    let until = now() + LIFETIME;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.done(auth(&token_until(until, CHAT))).await;
    connection.subscribe("chat").await;
    connection.done(auth(&token(CHAT))).await;
    wait_until(until + 0.1).await;
    server.hub.publish(&"chat".parse().unwrap(), Publication::text("on")).await.unwrap();
    assert_eq!(connection.data("chat").await, "on");
}

#[tokio::test]
async fn what_the_fresh_token_does_not_grant_ends_and_the_rest_continues() {
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
        server.hub.publish(&channel.parse().unwrap(), publication).await.unwrap();
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

/// Nothing is inflated for a client that has not authenticated; where it has, at the handshake, its
/// messages may be compressed.
#[tokio::test]
async fn compression_is_agreed_on_where_a_token_came_with_the_handshake() {
    let server = auth::server().await;
    let url = format!("ws://{}/connect", server.address);
    let client = || Client::new(&url).unwrap().deflate(DeflateConfig::default());
    let mut anonymous = V1::with(client()).await;
    assert!(anonymous.socket.deflate().is_none());
    anonymous.done(auth(&token(CHAT))).await;
    let bearer = format!("Bearer {}", token(CHAT));
    let known = V1::with(client().header("Authorization", bearer));
    assert!(known.await.socket.deflate().is_some());
}

/// A frame is refused by its header: none of its bytes has to come.
#[tokio::test]
async fn before_auth_a_large_frame_is_refused_by_its_header() {
    let server = auth::server().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = request_with("/connect", "Sec-WebSocket-Protocol: sockeye.v1\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Head::read_async(&mut stream).await.unwrap().status(), 101);
    stream.write_all(&frame::header(TEXT, (16 << 10) + 1)).await.unwrap();
    let mut received = Vec::new();
    timeout(SOON, stream.read_to_end(&mut received)).await.expect("it is closed").unwrap();
    let frames = Frame::parse_all(&received);
    assert_eq!(frames.last().and_then(Frame::close_code), Some(1009), "{frames:?}");
}

#[tokio::test]
async fn before_auth_there_are_few_commands() {
    let server = auth::server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    for _ in 0..20 {
        // It may be closed before all are sent.
        let _ = connection.socket.send("{\"op\":\"ping\"}").await;
    }
    let (answers, code) = connection.end().await;
    assert_eq!((answers.len(), code), (16, 4401));
}

#[tokio::test]
async fn bad_tokens_count_as_those_of_requests_do() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(auth::key());
        options.channels.max_bad_tokens_per_address = Some(1);
    })
    .await;
    let mut connection = V1::connect(&server, "/connect").await;
    for _ in 0..2 {
        assert_eq!(connection.refused(auth("no.good.token")).await, "unauthorized");
    }
    assert_eq!(connection.refused(auth("no.good.token")).await, "too_many");
    assert_eq!(connection.end().await.1, 4429);
    // The same as those of requests.
    let get =
        server.request(Method::GET, "/c/chat").header("Authorization", "Bearer no.good.token");
    server.send(get, "").await.assert_problem(429, "too_many");
    // Valid ones are not affected.
    V1::connect(&server, "/connect").await.done(auth(&token(CHAT))).await;
}

#[tokio::test]
async fn bad_tokens_end_a_connection_whatever_its_address_may_have() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(auth::key());
        options.channels.max_bad_tokens_per_address = Some(1_000_000);
    })
    .await;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.done(auth(&token(CHAT))).await;
    for _ in 0..8 {
        assert_eq!(connection.refused(auth("no.good.token")).await, "unauthorized");
    }
    assert_eq!(connection.end().await.1, 4429);
}

#[tokio::test]
async fn operators_see_whose_a_connection_is_after_its_auth() {
    let server = auth::server().await;
    let mut connection = V1::connect(&server, "/connect").await;
    let shown = server.operate("/connections").await.json();
    assert_eq!(shown["connections"][0]["subject"], Value::Null);
    connection.done(auth(&token(CHAT))).await;
    let shown = server.operate("/connections").await.json();
    assert_eq!(shown["connections"][0]["subject"], "ann", "{shown}");
}
