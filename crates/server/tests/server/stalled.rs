//! Clients that stop reading: when they are closed, and that they hold nothing for ever.

use std::time::Duration;

use serde_json::Value;
use sockeye_hub::Publication;
use sockeye_server::{Policy, PolicyRule};
use sockeye_testing::eventually_async;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{TestServer, read_to_end};
use crate::event_source::EventSource;

/// More than the kernel buffers for a client that does not read, on both sides together.
const FLOOD: usize = 20 << 20;

/// Publishes more than a connection buffers.
pub(crate) async fn flood(server: &TestServer) {
    let (channel, text) = ("chat".parse().unwrap(), "x".repeat(60 << 10));
    for _ in 0..FLOOD / text.len() {
        server.hub.publish(&channel, Publication::text(&text)).await.unwrap();
        tokio::task::yield_now().await;
    }
}

impl TestServer {
    /// Waits until a connection has ended for this reason.
    pub(crate) async fn has_ended(&self, transport: &str, reason: &str) {
        let labels = format!("{{transport=\"{transport}\",reason=\"{reason}\"}} 1");
        let line = format!("sockeye_connections_closed_total{labels}");
        eventually_async(&line, async || {
            let metrics = self.operate("/metrics").await;
            let ended = metrics.text().lines().filter(|line| line.contains("closed_total{"));
            let ended: Vec<_> = ended.map(str::to_owned).collect();
            if ended.contains(&line) { Ok(()) } else { Err(ended) }
        })
        .await;
    }
}

/// A client that sends this request and then reads nothing.
pub(crate) async fn ask_and_stall(server: &TestServer, path: &str, accept: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n");
    let head = head + "Connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_unread_stream_is_cut_off() {
    let server = TestServer::with(|options| {
        options.channels.write_timeout = Duration::from_millis(50);
        options.channels.history_count = 10_000;
        options.channels.history_bytes = 1 << 30;
    })
    .await;
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let _client = ask_and_stall(&server, "/c/chat", accept).await;
        server.has_readers(1).await;
        flood(&server).await;
        server.has_readers(0).await;
    }
    for transport in ["sse", "ndjson"] {
        server.has_ended(transport, "stalled").await;
    }
}

/// The kernel closes the WebSocket of such a client.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unread_websocket_is_cut_off() {
    let server = TestServer::with(|options| {
        options.channels.write_timeout = Duration::from_millis(200);
        options.channels.history_count = 10_000;
        options.channels.history_bytes = 1 << 30;
    })
    .await;
    for (path, transport) in [("/c/chat", "ws"), ("/c/chat?as=v1", "v1")] {
        let handshake = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            if transport == "v1" { "sockeye.v1" } else { "plain" }
        );
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(handshake.as_bytes()).await.unwrap();
        server.has_readers(1).await;
        flood(&server).await;
        server.has_readers(0).await;
        server.has_ended(transport, "stalled").await;
    }
}

#[tokio::test]
async fn an_unread_page_holds_no_connection() {
    let server = TestServer::with(|options| {
        options.channels.write_timeout = Duration::from_millis(50);
        options.channels.history_bytes = 1 << 30;
    })
    .await;
    flood(&server).await;
    let client = ask_and_stall(&server, "/c/chat?limit=1000", "application/json").await;
    client.readable().await.unwrap();
    // A drain waits for responses in progress, for longer than this test does.
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_reads_on_misses_nothing_that_is_kept() {
    let server = TestServer::with(|options| options.channels.history_bytes = 1 << 30).await;
    let mut stream = server.events("/c/chat").await;
    flood(&server).await;
    server.publish("/c/chat", "the last").await;
    stream.until("the last\n\n").await;
    let events = EventSource::read(&stream.text).events;
    assert_eq!(events.len(), FLOOD / (60 << 10) + 1);
    assert!(events.iter().all(|event| event.name == "message"));
}

#[tokio::test]
async fn a_stream_that_was_too_slow_gets_a_gap_and_goes_on() {
    let server = TestServer::with(|options| options.channels.history_count = 3).await;
    let mut stream = server.events("/c/chat").await;
    stream.until("\n\n").await;
    flood(&server).await;
    server.publish("/c/chat", "the last").await;
    stream.until("the last").await;
    // How often the client has room for a moment is up to the kernel: each time there is a gap, and the
    // gaps and the messages together are the whole channel.
    let (mut gaps, mut last) = (0, 0);
    for event in EventSource::read(&stream.text).events {
        let mut after = last;
        if event.name == "gap" {
            let gap: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(gap["why"], "slow", "{gap}");
            assert_eq!(offset(gap["after"].as_str().unwrap()), last, "{gap}");
            after = offset(gap["next"].as_str().unwrap()) - 1;
            assert!(after >= last, "{gap}");
            gaps += 1;
        }
        last = offset(&event.last_id);
        assert_eq!(last, after + 1, "nothing is missing in silence: {gaps} gaps before it");
    }
    assert!(gaps > 0, "it was too slow");
    assert_eq!(last, (FLOOD / (60 << 10)) as u64 + 1);
}

/// The offset of a position.
fn offset(position: &str) -> u64 {
    let (_, offset) = position.split_once('.').unwrap();
    offset.parse().unwrap()
}

#[tokio::test]
async fn where_the_policy_is_to_close_the_gap_is_the_end() {
    let server = TestServer::with(|options| {
        options.channels.history_count = 3;
        options.channels.policy = vec!["chat=close".parse::<PolicyRule>().unwrap()];
        assert_eq!(options.channels.policy[0].policy, Policy::Close);
    })
    .await;
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let client = ask_and_stall(&server, "/c/chat", accept).await;
        server.has_readers(1).await;
        flood(&server).await;
        let told = read_to_end(client);
        let (told, ()) = tokio::join!(told, server.has_readers(0));
        let end = &told[told.len() - 200..];
        assert!(end.contains(r#""why":"slow""#), "{end}");
    }
}
