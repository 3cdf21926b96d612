//! What streams of one HTTP/2 connection may take from others: one that is not read is given up by
//! itself, and each that goes on for long has a place of its own.

use std::time::Duration;

use sockeye::Client;
use sockeye_hub::Publication;
use sockeye_server::ServerOptions;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{SOON, TestServer};
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

#[tokio::test]
async fn streams_that_go_on_for_long_count_as_connections_do() {
    let places = |server: bool| {
        move |options: &mut ServerOptions| match server {
            true => options.max_connections = Some(3),
            false => options.max_connections_per_address = Some(3),
        }
    };
    for (in_all, status) in [(true, "503"), (false, "429")] {
        let server = TestServer::with(places(in_all)).await;
        let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
        let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(connection.open(client.clone()).await.expect("a place").socket);
        }
        let v1 = Client::new(format!("ws://{}/connect", server.address)).unwrap();
        for refused in [client.clone(), v1.subprotocol("sockeye.v1")] {
            let error = connection.open(refused).await.unwrap_err();
            assert!(error.to_string().contains(status), "{error}");
        }
        drop(open.pop());
        let again = async { while connection.open(client.clone()).await.is_err() {} };
        timeout(SOON, again).await.expect("a place is free");
    }
}

#[tokio::test]
async fn behind_a_proxy_streams_have_places_too() {
    let server = TestServer::with(|options| {
        options.max_connections = Some(4);
        options.max_connections_per_address = Some(2);
        options.trust_proxy = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let url = format!("ws://{}/c/chat", server.address);
    let client = |address: &str| {
        let name = "x-forwarded-for";
        Client::new(&url).unwrap().header(name, address)
    };
    let connection = sockeye::http2::Connection::connect(&client("x")).await.unwrap();
    let mut open = Vec::new();
    for address in ["203.0.113.1", "203.0.113.1", "203.0.113.2"] {
        open.push(connection.open(client(address)).await.expect("a place").socket);
    }
    for (address, status) in [("203.0.113.1", "429"), ("203.0.113.2", "")] {
        match connection.open(client(address)).await {
            Ok(opened) => open.push(opened.socket),
            Err(error) => {
                assert!(!status.is_empty() && error.to_string().contains(status), "{error}")
            }
        }
    }
    let error = connection.open(client("203.0.113.3")).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}

/// Frames that cost a client nothing: the server ends the connection, or has dealt with them all.
#[tokio::test]
async fn floods_of_small_frames_pile_up_nothing() {
    let server = TestServer::start().await;
    let floods = [
        ("settings", frame(4, 0, 0, &[0, 4, 0, 0, 0xFF, 0xFF])),
        ("pings", frame(6, 0, 0, &[0; 8])),
        ("windows of one byte", frame(8, 0, 0, &[0, 0, 0, 1])),
        ("windows of a stream", frame(8, 0, 1, &[0, 0, 0, 1])),
        ("resets of an idle stream", frame(3, 0, 9, &[0, 0, 0, 8])),
        ("data of one byte", frame(0, 0, 1, b"x")),
        ("priorities", frame(2, 0, 1, &[0, 0, 0, 0, 1])),
    ];
    for (name, flood) in floods {
        let mut client = connect(&server, 0).await;
        client.send(&get("/c/chat", "text/event-stream")).await;
        client.send(&flood.repeat(2000)).await;
        client.send(&frame(6, 0, 0, b"the last")).await;
        let ended = async {
            while let Some(pong) = client.next_of(6).await {
                if pong.payload() == b"the last" {
                    return;
                }
            }
        };
        timeout(SOON, ended).await.unwrap_or_else(|_| panic!("{name} hold the server up"));
    }
    server.has_readers(0).await;
}
