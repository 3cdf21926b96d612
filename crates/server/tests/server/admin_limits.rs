//! What a client of the address for operators can make the server hold: little, and not for long.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use sockeye_testing::pass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::client::{SOON, TestServer, read_to_end};

/// The limit of connections to the address, where the limit of open files is not low.
const CONNECTIONS: usize = 64;

/// A server with long lists for operators: 40 connections of `sockeye.v1` with 128 subscriptions each.
async fn server(write_timeout: Duration) -> (TestServer, Vec<sockeye::WebSocket>) {
    let server = TestServer::with(|options| options.channels.write_timeout = write_timeout).await;
    let url = format!("ws://{}/connect", server.address);
    let mut open = Vec::new();
    for number in 0..40 {
        let client = sockeye::Client::new(&url).unwrap().subprotocol("sockeye.v1");
        let mut socket = client.connect().await.unwrap();
        socket.recv().await.unwrap().unwrap();
        for channel in 0..128 {
            let name = format!("{number}-{channel}-{}", "x".repeat(100));
            socket.send(format!(r#"{{"op":"sub","ch":"{name}"}}"#)).await.unwrap();
            socket.recv().await.unwrap().unwrap();
        }
        open.push(socket);
    }
    (server, open)
}

/// Sends a request to the operators' address by a client with a small receive buffer.
async fn ask_and_stall(server: &TestServer, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.admin()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.admin());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The status of a response, if there is one.
async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut line = [0; 12];
    timeout(SOON, stream.read_exact(&mut line)).await.expect("an answer or an end").ok()?;
    str::from_utf8(&line).unwrap()[9..].parse().ok()
}

#[tokio::test]
async fn a_page_of_connections_is_short_and_the_pages_together_are_all() {
    let (server, _open) = server(SOON).await;
    let (mut path, mut seen, mut pages) = ("/connections".to_owned(), Vec::new(), 0);
    loop {
        let answer = server.operate(&path).await;
        assert!(answer.body.len() < 320 << 10, "{} bytes", answer.body.len());
        let page = answer.json();
        assert_eq!(page["count"], 40);
        seen.extend(
            page["connections"].as_array().unwrap().iter().map(|shown| shown["id"].clone()),
        );
        pages += 1;
        match &page["next"] {
            Value::Null => break,
            next => path = format!("/connections?after={next}"),
        }
    }
    assert!(pages > 2, "{pages}");
    assert_eq!(seen.len(), 40);
    assert!(seen.is_sorted_by_key(|id| id.as_u64()), "the oldest first");
}

#[tokio::test]
async fn an_operator_that_reads_nothing_is_cut_off() {
    const WRITE_TIMEOUT: Duration = Duration::from_millis(100);
    let (server, _open) = server(WRITE_TIMEOUT).await;
    let mut stuck = ask_and_stall(&server, "/connections").await;
    // The response has begun, and nothing of it is read.
    timeout(SOON, stuck.peek(&mut [0])).await.unwrap().unwrap();
    pass(2 * WRITE_TIMEOUT).await;
    let mut answer = Vec::new();
    // What has arrived, and then the end: an incomplete response.
    let _ = timeout(SOON, stuck.read_to_end(&mut answer)).await.expect("it ends");
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    let length = String::from_utf8_lossy(&answer)
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    assert!(answer.len() < length.unwrap(), "{} of {length:?}", answer.len());
}

#[tokio::test]
async fn operators_have_a_limit_of_connections_and_silent_ones_make_room() {
    let (server, _open) = server(SOON).await;
    let mut silent = Vec::new();
    for _ in 0..2 * CONNECTIONS {
        silent.push(TcpStream::connect(server.admin()).await.unwrap());
    }
    assert_eq!(server.operate("/healthz").await.status, StatusCode::OK);
    // The oldest were evicted.
    for stream in silent.drain(..CONNECTIONS) {
        assert_eq!(read_to_end(stream).await, "");
    }
    drop(silent);

    // Those that are being answered were not.
    let mut stuck = Vec::new();
    let mut refused = 0;
    for _ in 0..CONNECTIONS + 10 {
        let mut stream = ask_and_stall(&server, "/connections").await;
        refused += usize::from(status(&mut stream).await != Some(200));
        stuck.push(stream);
    }
    assert!((10..=12).contains(&refused), "{refused}");
    let mut newcomer = ask_and_stall(&server, "/healthz").await;
    assert_ne!(status(&mut newcomer).await, Some(200), "there is no place");
    drop(stuck);
    let again = async {
        loop {
            let mut newcomer = ask_and_stall(&server, "/healthz").await;
            if status(&mut newcomer).await == Some(200) {
                break;
            }
        }
    };
    timeout(SOON, again).await.expect("there are places again");
}
