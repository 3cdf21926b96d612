//! Limits per address, and of the server as a whole.

use http::{Method, StatusCode};
use sockeye::Client;
use sockeye_testing::eventually_async;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, SOON, TestServer, read_to_end};

/// A connection with an open stream of events: it cannot be evicted.
pub(crate) async fn stay(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut head = [0; 12];
    timeout(SOON, stream.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

/// A client whose address a proxy names.
async fn ask_for(server: &TestServer, client: &str) -> Answer {
    let request = server.request(Method::GET, "/c/chat").header("X-Forwarded-For", client);
    server.send(request, "").await
}

impl TestServer {
    /// Asks until the server takes a connection again.
    pub(crate) async fn has_room(&self) {
        eventually_async("a connection is free", async || {
            self.get("/c/chat").await.status == StatusCode::OK
        })
        .await;
    }
}

#[tokio::test]
async fn there_is_no_limit_until_one_is_set() {
    let server = TestServer::start().await;
    let mut connections = Vec::new();
    for _ in 0..300 {
        connections.push(stay(&server).await);
    }
}

#[tokio::test]
async fn one_address_has_a_limit_of_connections() {
    let server =
        TestServer::with(|options| options.channels.max_connections_per_address = Some(3)).await;
    let connections = [stay(&server).await, stay(&server).await, stay(&server).await];
    let refused = server.get("/c/chat").await;
    refused.assert_problem(429, "too_many");
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(refused.header("connection"), "close");
    drop(connections);
    server.has_room().await;
}

#[tokio::test]
async fn the_server_has_a_limit_of_connections() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(2)).await;
    let connections = [stay(&server).await, stay(&server).await];
    let refused = server.post("/c/chat", "text/plain", "x").await;
    refused.assert_problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "5");
    drop(connections);
    server.has_room().await;
    assert!(server.get("/c/chat").await.text().contains("\"messages\":[]"));
}

/// HTTP ends with the upgrade; the connection does not.
#[tokio::test]
async fn a_websocket_keeps_the_place_of_its_connection() {
    let server =
        TestServer::with(|options| options.channels.max_connections_per_address = Some(1)).await;
    let url = format!("ws://{}/c/chat", server.address);
    for subprotocol in [None, Some("sockeye.v1")] {
        server.has_room().await;
        let socket = eventually_async("a WebSocket opens", async || {
            let client = Client::new(&url).unwrap();
            let client = match subprotocol {
                Some(name) => client.subprotocol(name),
                None => client,
            };
            client.connect().await
        })
        .await;
        server.get("/c/chat").await.assert_problem(429, "too_many");
        drop(socket);
    }
    server.has_room().await;
}

/// However many connections come, few are refused at a time: the oldest without a request is closed.
#[tokio::test]
async fn a_refusal_is_heard_though_silent_connections_are_being_refused() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(1)).await;
    let _one = stay(&server).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.get("/c/chat").await.assert_problem(503, "unavailable");
    assert_eq!(read_to_end(silent.remove(0)).await, "");
}

#[tokio::test]
async fn one_address_has_a_limit_of_requests_in_a_second() {
    let server =
        TestServer::with(|options| options.channels.max_requests_per_address = Some(1)).await;
    // A burst of twice a second's worth.
    for _ in 0..2 {
        assert_eq!(server.get("/c/chat").await.status, StatusCode::OK);
    }
    let refused = async {
        loop {
            let answer = server.get("/c/chat").await;
            if answer.status != StatusCode::OK {
                break answer;
            }
        }
    };
    let refused = timeout(SOON, refused).await.expect("one is refused");
    refused.assert_problem(429, "too_many");
    assert_eq!(refused.header("retry-after"), "1");
    // Handshakes count, too.
    let handshake = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let tried = async { while handshake.clone().connect().await.is_ok() {} };
    timeout(SOON, tried).await.expect("one is refused");
}

#[tokio::test]
async fn pages_read_that_there_were_too_many() {
    let server = TestServer::with(|options| {
        options.channels.max_requests_per_address = Some(1);
        options.channels.allow_origin = vec!["https://app.example".parse().unwrap()];
    })
    .await;
    let ask = async || {
        let request = server.request(Method::GET, "/c/chat");
        server.send(request.header("Origin", "https://app.example"), "").await
    };
    let refused = loop {
        let answer = ask().await;
        if answer.status != StatusCode::OK {
            break answer;
        }
    };
    refused.assert_problem(429, "too_many");
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example");
    assert!(refused.header("access-control-expose-headers").contains("Retry-After"));
}

#[tokio::test]
async fn a_trusted_proxy_gives_the_clients_address_and_others_do_not() {
    let trusting = TestServer::with(|options| {
        options.channels.max_requests_per_address = Some(1);
        options.channels.trust_proxy = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    // Each has its own.
    for number in 0..20 {
        let answer = ask_for(&trusting, &format!("198.51.100.1, 203.0.113.{number}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{number}");
    }
    let mut refused = false;
    for number in 0..20 {
        let answer = ask_for(&trusting, &format!("198.51.100.{number}, 203.0.113.1")).await;
        refused |= answer.status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(refused, "what the client writes itself gave it an address of its own");

    let trusting_none =
        TestServer::with(|options| options.channels.max_requests_per_address = Some(1)).await;
    let mut refused = false;
    for number in 0..20 {
        let answer = ask_for(&trusting_none, &format!("203.0.113.{number}")).await;
        refused |= answer.status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(refused, "a header gave each request an address of its own");
}

#[tokio::test]
async fn behind_a_proxy_what_one_client_has_open_counts() {
    let server = TestServer::with(|options| {
        options.channels.max_connections_per_address = Some(2);
        options.channels.trust_proxy = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let stream = async |client: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\
             Accept: text/event-stream\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        timeout(SOON, stream.read_exact(&mut status)).await.unwrap().unwrap();
        (stream, String::from_utf8(status[9..].to_vec()).unwrap())
    };
    let mine = [stream("203.0.113.1").await, stream("203.0.113.1").await];
    assert!(mine.iter().all(|(_, status)| status == "200"));
    assert_eq!(stream("203.0.113.1").await.1, "429");
    assert_eq!(stream("203.0.113.2").await.1, "200");
    drop(mine);
    eventually_async("a stream is free", async || stream("203.0.113.1").await.1 == "200").await;
}
