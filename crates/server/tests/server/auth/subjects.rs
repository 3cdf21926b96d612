//! What one subject may have of the server, whichever its addresses are.

use std::time::{Duration, Instant};

use http::{Method, header};
use serde_json::json;
use sockeye::Client;
use sockeye_testing::eventually_async;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::transports::{UPGRADE, head_of};
use super::{HEADER, key, now, sign};
use crate::client::TestServer;
use crate::v1::V1;

fn token(sub: Option<&str>) -> String {
    let mut claims = json!({"exp": now() + 3600.0, "channels": {"*": ["read", "write"]}});
    if let Some(sub) = sub {
        claims["sub"] = json!(sub);
    }
    sign(HEADER, claims.to_string())
}

fn request(token: &str, headers: &str) -> String {
    format!(
        "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{headers}\r\n"
    )
}

/// Opens something that stays open.
async fn open(server: &TestServer, token: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request(token, headers).as_bytes()).await.unwrap();
    stream
}

const EVENTS: &str = "Accept: text/event-stream\r\n";
const LINES: &str = "Accept: application/x-ndjson\r\n";
const LONG_POLL: &str = "Prefer: wait=50\r\n";

#[tokio::test]
async fn a_subject_has_that_many_websockets_streams_and_long_polls() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.max_connections_per_subject = Some(4);
    })
    .await;
    let (ann, ben) = (token(Some("ann")), token(Some("ben")));
    let mut opened = Vec::new();
    for headers in [EVENTS, LINES, LONG_POLL, UPGRADE] {
        opened.push(open(&server, &ann, headers).await);
    }
    server.connections(4).await;
    for headers in [EVENTS, LINES, LONG_POLL, UPGRADE] {
        let head = head_of(&server, &request(&ann, headers)).await;
        assert_eq!(head.status(), 429, "{headers}");
    }
    // A request that is answered at once is none of them; nor are others.
    assert_eq!(head_of(&server, &request(&ann, "")).await.status(), 200);
    for token in [&ben, &token(None)] {
        assert_eq!(head_of(&server, &request(token, EVENTS)).await.status(), 200);
    }
    let mut late = V1::connect(&server, "/connect").await;
    assert_eq!(late.refused(json!({"op": "auth", "token": ann})).await, "too_many");
    late.done(json!({"op": "auth", "token": ben})).await;
    opened.pop();
    eventually_async("there is room again", async || {
        let head = head_of(&server, &request(&ann, EVENTS)).await;
        if head.status() == 200 { Ok(()) } else { Err(head.status()) }
    })
    .await;
}

#[tokio::test]
async fn streams_of_one_http2_connection_count_each() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.max_connections_per_subject = Some(2);
    })
    .await;
    let bearer = format!("Bearer {}", token(Some("ann")));
    let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let bearer = http::HeaderValue::try_from(bearer).unwrap();
    let client = client.header(header::AUTHORIZATION, bearer);
    let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
    let _opened = [
        connection.open(client.clone()).await.unwrap(),
        connection.open(client.clone()).await.unwrap(),
    ];
    let refused = connection.open(client).await.expect_err("it has as many as it may").to_string();
    assert!(refused.contains("429"), "{refused}");
}

#[tokio::test]
async fn a_connection_that_authenticates_counts_for_its_subject_once() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.max_connections_per_subject = Some(1);
    })
    .await;
    let ann = token(Some("ann"));
    let mut first = V1::connect(&server, "/connect").await;
    for _ in 0..3 {
        first.done(json!({"op": "auth", "token": ann})).await;
    }
    assert_eq!(head_of(&server, &request(&ann, UPGRADE)).await.status(), 429);
    drop(first);
    eventually_async("it is free", async || {
        let head = head_of(&server, &request(&ann, UPGRADE)).await;
        if head.status() == 101 { Ok(()) } else { Err(head.status()) }
    })
    .await;
}

#[tokio::test]
async fn what_a_subject_publishes_on_all_transports_comes_at_its_rate() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.max_publications_per_subject = Some(10);
    })
    .await;
    let post = async |token: &str, kind: &str, body: String| {
        let request = server.request(Method::POST, "/c/chat").header(header::CONTENT_TYPE, kind);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        server.send(request, body).await.status.as_u16()
    };
    let ann = token(Some("ann"));
    let mut v1 = V1::connect(&server, "/connect").await;
    v1.done(json!({"op": "auth", "token": ann})).await;
    let began = Instant::now();
    // The burst of 20, in every way.
    for number in 0..5 {
        assert_eq!(post(&ann, "text/plain", number.to_string()).await, 201);
    }
    let lines = (0..5).map(|number| format!("{}\n", json!({ "data": number })));
    assert_eq!(post(&ann, "application/x-ndjson", lines.collect()).await, 201);
    for number in 0..10 {
        v1.done(json!({"op": "pub", "ch": "chat", "data": number})).await;
    }
    // One is taken of each way, and the next one waits for its turn.
    for number in 0..3 {
        v1.done(json!({"op": "pub", "ch": "chat", "data": number})).await;
        assert_eq!(post(&ann, "text/plain", number.to_string()).await, 201);
    }
    let least = Duration::from_millis(500);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    // Others do not wait for it: its turn would come in seconds.
    assert_eq!(post(&token(Some("ben")), "text/plain", "x".to_owned()).await, 201);
}

#[tokio::test]
async fn a_new_connection_brings_its_subject_no_publication_beyond_the_rate() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.max_publications_per_subject = Some(10);
    })
    .await;
    let ann = token(Some("ann"));
    let began = Instant::now();
    // The burst of 20, and 5 more.
    for number in 0..25 {
        let mut v1 = V1::connect(&server, "/connect").await;
        v1.done(json!({"op": "auth", "token": ann})).await;
        v1.done(json!({"op": "pub", "ch": "chat", "data": number})).await;
    }
    let least = Duration::from_millis(500);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}
