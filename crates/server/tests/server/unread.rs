//! Streams of HTTP/2 that are not read while the connection is: each is given up by itself.

use std::time::Duration;

use sockeye_hub::Publication;
use tokio::net::TcpStream;

use crate::client::TestServer;
use crate::http2::{RST_STREAM, RawClient, fields, frame};

const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

/// A server with more on its channel than any window has room for, and a short deadline.
async fn server() -> TestServer {
    let server = TestServer::with(|options| {
        options.write_timeout = Duration::from_millis(100);
    })
    .await;
    for _ in 0..20 {
        server
            .hub
            .publish(&"chat".parse().unwrap(), Publication::text(&"x".repeat(60 << 10)))
            .await
            .unwrap();
    }
    server
}

async fn connect(server: &TestServer, window: u32) -> RawClient<TcpStream> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    RawClient::with(stream, &[(4, window)]).await
}

fn get(path: &str, accept: &str) -> Vec<u8> {
    let head = fields(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("accept", accept),
    ]);
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)
}

fn websocket(path: &str, subprotocol: &str) -> Vec<u8> {
    let head = fields(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", subprotocol),
    ]);
    frame(HEADERS, END_HEADERS, 1, &head)
}

async fn given_up(server: &TestServer) -> u64 {
    let text = server.operate("/metrics").await.text().to_owned();
    let line =
        text.lines().find_map(|line| line.strip_prefix("sockeye_http2_streams_given_up_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_reset_and_its_connection_stays() {
    let server = server().await;
    let requests = [
        get("/c/chat?after=earliest", "text/event-stream"),
        get("/c/chat?after=earliest&meta=1", "text/event-stream"),
        get("/c/chat?after=earliest", "application/x-ndjson"),
        get("/c/chat?limit=1000", "application/json"),
        get("/c/chat?wait=20&after=earliest", "application/json"),
        get("/sockeye.js", "*/*"),
        websocket("/c/chat?after=earliest", "plain"),
        websocket("/c/chat?after=earliest", "sockeye.v1"),
    ];
    for (number, request) in requests.iter().enumerate() {
        for window in [0, 100] {
            let mut client = connect(&server, window).await;
            client.send(request).await;
            let reset = client.next_of(RST_STREAM).await.expect("the connection stays");
            assert_eq!((reset.stream, reset.code()), (1, CANCEL), "{number} {window}");
            client.is_answered().await;
        }
    }
    server.has_readers(0).await;
    assert_eq!(given_up(&server).await, 2 * requests.len() as u64);
}
