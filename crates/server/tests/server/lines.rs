//! NDJSON on `/c/{channel}`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::TestServer;

#[tokio::test]
async fn each_message_is_one_line_of_json() {
    let server = TestServer::start().await;
    let mut stream = server.lines("/c/chat").await;
    assert_eq!(stream.header("content-type"), "application/x-ndjson");
    assert_eq!(stream.header("cache-control"), "no-store, no-transform");
    assert_eq!(stream.header("x-accel-buffering"), "no");
    assert_eq!(stream.header("content-length"), "");
    server.publish("/c/chat", "two\r\nlines").await;
    server.post("/c/chat", "application/json", "{\"a\":\r\n[1,\n2]}").await;
    let last = server.post("/c/chat", "application/octet-stream", "\n").await;
    let last = last.json()["at"].as_str().unwrap().to_owned();
    stream.until(&last).await;
    let messages: Vec<Value> =
        stream.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(messages), server.get("/c/chat").await.json()["messages"]);
    assert_eq!(messages[1]["data"], json!({"a": [1, 2]}));
}

#[tokio::test]
async fn a_gap_is_a_line() {
    let server = TestServer::with(|options| options.channels.history_count = 1).await;
    let first = server.publish("/c/chat", "1").await;
    let second = server.publish("/c/chat", "2").await;
    server.publish("/c/chat", "3").await;
    let mut stream = server.lines(&format!("/c/chat?after={first}")).await;
    let text = stream.until("\"3\"").await;
    let gap = format!(r#"{{"gap":{{"after":"{first}","next":"{second}","why":"expired"}}}}"#);
    assert_eq!(text.lines().next(), Some(gap.as_str()));
}

#[tokio::test]
async fn the_head_says_where_the_stream_begins() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "1").await;
    assert_eq!(server.lines("/c/chat").await.header("etag"), format!("\"{at}\""));
}

#[tokio::test]
async fn what_is_not_a_message_is_space() {
    let server =
        TestServer::with(|options| options.channels.heartbeat = Duration::from_millis(20)).await;
    let mut stream = server.lines("/c/chat?pad=100").await;
    stream.until("\n\n\n").await;
    assert_eq!(stream.text.trim(), "");
    assert_eq!(stream.text.find('\n'), Some(99));
}

#[tokio::test]
async fn a_server_that_stops_ends_the_stream_at_the_end_of_a_line() {
    let server = TestServer::start().await;
    let mut stream = server.lines("/c/chat").await;
    server.publish("/c/chat", "1").await;
    stream.until("\n").await;
    let running = server.begin_to_stop();
    assert!(stream.rest().await.ends_with("}\n"));
    running.await.unwrap().unwrap();
}
