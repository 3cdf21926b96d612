//! Limits of what the server reads.

use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{TestServer, read_to_end};

#[tokio::test]
async fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    let server = TestServer::with(|options| options.channels.max_message = 10).await;
    for kind in ["text/plain", "application/octet-stream"] {
        assert_eq!(server.post("/c/chat", kind, "0123456789").await.status, StatusCode::CREATED);
        server.post("/c/chat", kind, "0123456789x").await.assert_problem(413, "too_large");
    }
    server
        .post("/c/chat", "application/json", "[1,2,3,4,5]")
        .await
        .assert_problem(413, "too_large");
    let messages = server.get("/c/chat").await.json();
    assert_eq!(messages["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_default_limit_is_64_kib() {
    let server = TestServer::start().await;
    let fits = "x".repeat(64 * 1024);
    assert_eq!(
        server.post("/c/chat", "text/plain", fits.clone()).await.status,
        StatusCode::CREATED
    );
    server.post("/c/chat", "text/plain", fits + "x").await.assert_problem(413, "too_large");
}

#[tokio::test]
async fn an_announced_length_is_refused_before_the_body_comes() {
    let server = TestServer::start().await;
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n";
    let expecting = format!("{head}Expect: 100-continue\r\n\r\n");
    for request in [format!("{head}\r\n"), expecting] {
        let answer = server.send_raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"too_large\""), "{answer}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_at_the_limit() {
    let server = TestServer::with(|options| options.channels.max_message = 10).await;
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let fits = server.send_raw(format!("{head}5\r\nhello\r\n5\r\nthere\r\n0\r\n\r\n")).await;
    assert!(fits.starts_with("HTTP/1.1 201 "), "{fits}");
    // The end of the body is never sent: the response does not wait for it.
    let endless = server.send_raw(format!("{head}5\r\nhello\r\n6\r\nthere!\r\n")).await;
    assert!(endless.starts_with("HTTP/1.1 413 "), "{endless}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_published() {
    let server = TestServer::start().await;
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{head}Content-Length: 10\r\n\r\nhello").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    read_to_end(stream).await;
    let malformed =
        server.send_raw(format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n")).await;
    assert!(malformed.starts_with("HTTP/1.1 400 "), "{malformed}");
    assert!(server.get("/c/chat").await.text().contains("\"messages\":[]"));
}

#[tokio::test]
async fn a_body_that_trickles_runs_out_of_time() {
    let server =
        TestServer::with(|options| options.channels.body_timeout = Duration::from_millis(50)).await;
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhel";
    let answer = server.send_raw(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"bad_request\""), "{answer}");
}

#[tokio::test]
async fn a_head_that_trickles_runs_out_of_time() {
    let server = TestServer::with(|options| options.head_timeout = Duration::from_millis(50)).await;
    assert_eq!(server.send_raw("GET /c/chat HTTP/1.1\r\nHost: local").await, "");
}

#[tokio::test]
async fn a_head_may_be_16_kib_and_have_100_headers() {
    let server = TestServer::start().await;
    let get = |headers: &str| {
        let head = "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        server.send_raw(format!("{head}{headers}\r\n"))
    };
    assert!(get(&"X-Y: z\r\n".repeat(98)).await.starts_with("HTTP/1.1 200 "));
    assert!(get(&"X-Y: z\r\n".repeat(99)).await.starts_with("HTTP/1.1 431 "));
    assert!(get(&format!("X-Y: {}\r\n", "z".repeat(15 * 1024))).await.starts_with("HTTP/1.1 200 "));
    assert!(get(&format!("X-Y: {}\r\n", "z".repeat(16 * 1024))).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_message_larger_than_a_whole_history_is_refused() {
    let server = TestServer::with(|options| options.channels.history_bytes = 1000).await;
    server.post("/c/chat", "text/plain", "x".repeat(1001)).await.assert_problem(413, "too_large");
    assert_eq!(
        server.post("/c/chat", "text/plain", "x".repeat(900)).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_server_without_room_says_so_and_serves_the_channels_it_has() {
    let server = TestServer::with(|options| options.channels.max_channels = 2).await;
    server.publish("/c/one", "x").await;
    server.publish("/c/two", "x").await;
    let refused = server.post("/c/three", "text/plain", "x").await;
    refused.assert_problem(507, "insufficient_storage");
    server.publish("/c/one", "x").await;
    assert_eq!(server.get("/c/three").await.status, StatusCode::OK);
}
