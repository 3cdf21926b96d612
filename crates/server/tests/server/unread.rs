//! Streams of one HTTP/2 connection do not hold up others: one that is not read is reset by itself, and
//! each long-lived one has a permit of its own.

use std::time::Duration;

use sockeye::Client;
use sockeye_hub::Publication;
use sockeye_server::ServerOptions;
use sockeye_testing::http2::{self, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{SOON, TestServer};
use crate::http2::RawClient;

const CANCEL: u32 = 8;

/// A server with more on its channel than any window holds, and a short deadline.
async fn server() -> TestServer {
    let server = TestServer::with(|options| {
        options.channels.write_timeout = Duration::from_millis(100);
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
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&http2::get(path, accept)))
}

fn websocket(path: &str, subprotocol: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &block(&http2::websocket(path, Some(subprotocol))))
}

impl TestServer {
    /// The value of a metric without labels.
    async fn value(&self, name: &str) -> usize {
        let metrics = self.operate("/metrics").await;
        let value =
            metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}")).parse().unwrap()
    }
}

#[tokio::test]
async fn an_unread_stream_is_reset_and_its_connection_stays() {
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
    let given_up = server.value("sockeye_http2_streams_given_up_total").await;
    assert_eq!(given_up, 2 * requests.len());
}

/// A few small frames wait where no write has to, and hold little. The ping after them is not answered
/// in time.
#[tokio::test]
async fn a_websocket_whose_few_small_messages_stay_unread_is_reset() {
    for (pieces, window) in [(1, 0), (2, 0), (3, 0), (3, 2), (3, 4)] {
        for subprotocol in ["plain", "sockeye.v1"] {
            let server = TestServer::with(|options| {
                options.channels.write_timeout = Duration::from_millis(100);
                options.channels.ping_interval = Some(Duration::from_millis(100));
                options.channels.pong_timeout = Duration::from_millis(200);
            })
            .await;
            let mut client = connect(&server, window).await;
            client.send(&websocket("/c/chat", subprotocol)).await;
            server.has_readers(1).await;
            for _ in 0..pieces {
                server.publish("/c/chat", "x").await;
            }
            let reset = client.next_of(RST_STREAM).await.expect("the connection stays");
            assert_eq!(
                (reset.stream, reset.code()),
                (1, CANCEL),
                "{pieces} {window} {subprotocol}"
            );
            client.is_answered().await;
            server.has_readers(0).await;
        }
    }
}

/// By every transport, and all at the same moment: the limit is exceeded by one page at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_streams_together_hold_no_more_than_they_may() {
    const ROOM: usize = 1 << 20;
    let server = TestServer::with(|options| {
        options.max_http2_buffer = ROOM;
        options.channels.max_commands = Some(10_000);
    })
    .await;
    // Encoded each takes 360 KiB.
    let text = "\u{1}".repeat(60 << 10);
    for _ in 0..20 {
        server.hub.publish(&"chat".parse().unwrap(), Publication::text(&text)).await.unwrap();
    }
    let mut client = connect(&server, 100).await;
    let mut requests = Vec::new();
    for number in 0..200_u32 {
        let request = match number % 7 {
            0 => get("/c/chat?limit=1000", "application/json"),
            1 => get("/c/chat?wait=20&after=earliest", "application/json"),
            2 => get("/c/chat?after=earliest", "text/event-stream"),
            3 => get("/c/chat?after=earliest&meta=1", "text/event-stream"),
            4 => get("/c/chat?after=earliest", "application/x-ndjson"),
            5 => websocket("/c/chat?after=earliest", "plain"),
            _ => websocket("/c/chat?after=earliest", "sockeye.v1"),
        };
        let mut request = request;
        request[5..9].copy_from_slice(&(2 * number + 1).to_be_bytes());
        requests.extend(request);
    }
    client.send(&requests).await;
    let waits = async {
        while server.value("sockeye_http2_waits_total").await < 100 {
            let held = server.value("sockeye_http2_buffered_bytes").await;
            assert!(held <= ROOM + (1 << 20), "{held}");
        }
    };
    timeout(SOON, waits).await.expect("most wait");
    for _ in 0..20 {
        let held = server.value("sockeye_http2_buffered_bytes").await;
        assert!((ROOM..=ROOM + (1 << 20)).contains(&held), "{held}");
    }
    // Others are served meanwhile, and what was held is free when the client is gone.
    assert_eq!(server.get("/c/chat").await.status, 200);
    client.is_answered().await;
    drop(client);
    server.has_readers(0).await;
    let freed = async { while server.value("sockeye_http2_buffered_bytes").await > 0 {} };
    timeout(SOON, freed).await.expect("nothing is held");
}

/// Answers that are not read hold what the documents say, and `/metrics` tells how much that is.
#[tokio::test]
async fn what_unread_answers_hold_is_bounded_and_told() {
    const CLIENTS: usize = 8;
    let server = TestServer::start().await;
    // Encoded each takes 360 KiB.
    let text = "\u{1}".repeat(60 << 10);
    for _ in 0..20 {
        server.hub.publish(&"chat".parse().unwrap(), Publication::text(&text)).await.unwrap();
    }
    assert_eq!(server.value("sockeye_unread_answers_bytes").await, 0);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let path = [
            "/c/chat?limit=1000",
            "/c/chat?after=earliest&wait=20",
            "/c/chat,other?after=earliest",
        ];
        let request =
            format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path[number % path.len()]);
        // Little of it fits into the buffers of the kernel.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(server.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        clients.push(client);
    }
    let (least, most) = (CLIENTS << 19, CLIENTS * (3 << 19));
    let held = async {
        loop {
            let held = server.value("sockeye_unread_answers_bytes").await;
            assert!(held <= most, "{held}");
            if held >= least {
                break;
            }
        }
    };
    timeout(SOON, held).await.expect("all answers are held");
    drop(clients);
    let freed = async { while server.value("sockeye_unread_answers_bytes").await > 0 {} };
    timeout(SOON, freed).await.expect("nothing is held");
}

/// A client that reads gets everything, however little its streams may hold.
#[tokio::test]
async fn streams_that_are_read_continue_within_the_smallest_budget() {
    let server = TestServer::with(|options| options.max_http2_buffer = 1).await;
    let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let v1 = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let v1 = v1.subprotocol("sockeye.v1");
    let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
    let mut open = Vec::new();
    for number in 0..20 {
        let client = if number % 2 == 0 { client.clone() } else { v1.clone() };
        open.push(connection.open(client).await.expect("a place").socket);
    }
    let text = "x".repeat(50_000);
    for _ in 0..20 {
        server.publish("/c/chat", &text).await;
    }
    let read = open.iter_mut().map(async |socket| {
        let mut messages = 0;
        while messages < 20 {
            let message = socket.recv().await.unwrap().unwrap();
            messages += usize::from(message.as_text().unwrap().contains(&text));
        }
    });
    timeout(SOON, futures_util::future::join_all(read)).await.expect("all is read");
    // A command is answered, though all streams hold something at times.
    open[1].send(r#"{"op":"read","after":"earliest","id":7}"#).await.unwrap();
    let answered = async {
        while !open[1].recv().await.unwrap().unwrap().as_text().unwrap().contains("\"id\":7") {}
    };
    timeout(SOON, answered).await.expect("an answer");
}

#[tokio::test]
async fn long_lived_streams_count_as_connections_do() {
    let places = |server: bool| {
        move |options: &mut ServerOptions| match server {
            true => options.channels.max_connections = Some(3),
            false => options.channels.max_connections_per_address = Some(3),
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
        options.channels.max_connections = Some(4);
        options.channels.max_connections_per_address = Some(2);
        options.channels.trust_proxy = vec!["127.0.0.1".parse().unwrap()];
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

/// Frames that cost a client nothing: the server closes the connection, or has handled them all.
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
                if pong.payload == b"the last" {
                    return;
                }
            }
        };
        timeout(SOON, ended).await.unwrap_or_else(|_| panic!("{name} hold the server up"));
    }
    server.has_readers(0).await;
}
