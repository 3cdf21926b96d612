//! WebSockets inside axum.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod http;

use std::net::SocketAddr;

use axum::{Router, extract::Path, response::Response, routing::any};
use sockeye::{Client, CloseCode, Connections, Origins, Upgrade, WebSocket, connect};
use tokio::net::TcpListener;

use crate::http::{HANDSHAKE, assert_refuses_all, exchange};

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        socket.send(message).await.unwrap();
    }
}

#[tokio::test]
async fn a_handler_is_given_the_upgrade_beside_other_extractors() {
    async fn chat(Path(room): Path<String>, upgrade: Upgrade) -> Response {
        let upgrade = upgrade.subprotocol_of(["v3", "v1"]);
        assert_eq!(upgrade.chosen_subprotocol(), Some("v1"));
        upgrade.on_upgrade(|mut socket: WebSocket| async move {
            socket.send(room).await.unwrap();
            echo(socket).await;
        })
    }
    let address = serve(Router::new().route("/{room}", any(chat))).await;
    let client = Client::new(format!("ws://{address}/lobby")).unwrap();
    let opened = client.subprotocol("v2").subprotocol("v1").open().await.unwrap();
    assert!(!opened.response.headers().contains_key("content-length"));
    let mut socket = opened.socket;
    assert_eq!(socket.subprotocol(), Some("v1"));
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("lobby"));
    socket.send("hello").await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
    assert!(socket.close(CloseCode::NORMAL).await.is_clean());
}

/// Rules: W41, W43, W52.
#[tokio::test]
async fn axum_refuses_what_a_server_of_ones_own_refuses() {
    async fn chat(upgrade: Upgrade) -> Response {
        upgrade.on_upgrade(echo)
    }
    assert_refuses_all(serve(Router::new().route("/chat", any(chat))).await).await;
}

/// Rule: WS2.
#[tokio::test]
async fn pages_of_other_origins_connect_where_they_may() {
    async fn chat(upgrade: Upgrade) -> Response {
        let page = "https://app.example".parse().unwrap();
        upgrade.origins(Origins::Listed(vec![page])).on_upgrade(echo)
    }
    let address = serve(Router::new().route("/chat", any(chat))).await;
    let from = |page: &str| HANDSHAKE.replacen("Host", &format!("Origin: {page}\r\nHost"), 1);
    assert_eq!(exchange(address, &from("https://evil.example")).await.status, 403);
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let answer = http::read_head(&mut stream, &from("https://app.example")).await;
    assert_eq!(answer.status, 101);
}

#[tokio::test]
async fn a_set_of_connections_stops_them_in_order() {
    let connections = Connections::new();
    let set = connections.clone();
    let chat = |upgrade: Upgrade| async move {
        upgrade.on_upgrade::<axum::body::Body, _, _>(|mut socket| async move {
            set.insert(&socket);
            socket.send("hello").await.unwrap();
            echo(socket).await;
        })
    };
    let address = serve(Router::new().route("/chat", any(chat))).await;
    let mut socket = connect(format!("ws://{address}/chat")).await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
    let within = std::time::Duration::from_secs(3600);
    let stopping = connections.shutdown(CloseCode::SERVICE_RESTART, within);
    let (cut, end) = tokio::join!(stopping, socket.recv());
    assert!(end.is_none());
    assert_eq!((cut, socket.closed().unwrap().code()), (0, 1012));
}

/// A handler that reads `None` counts those that are left.
#[tokio::test]
async fn a_connection_whose_handler_was_told_its_end_is_not_counted() {
    let connections = Connections::new();
    let (counted, mut counts) = tokio::sync::mpsc::channel(1);
    let set = connections.clone();
    let chat = async move |upgrade: Upgrade| -> Response {
        upgrade.on_upgrade(async move |mut socket: WebSocket| {
            set.insert(&socket);
            socket.send("hello").await.unwrap();
            while socket.recv().await.is_some() {}
            counted.send(set.len()).await.unwrap();
            // It is still held, and its transport not yet ended by the client.
            drop(socket);
        })
    };
    let address = serve(Router::new().route("/", any(chat))).await;
    for _ in 0..100 {
        let mut socket = connect(format!("ws://{address}/")).await.unwrap();
        assert!(socket.recv().await.unwrap().is_ok());
        assert_eq!(connections.len(), 1);
        // The Close is sent; that the client reads no further keeps the transport open.
        let close = socket.close(CloseCode::NORMAL);
        let (closed, count) = tokio::join!(close, counts.recv());
        assert_eq!(count, Some(0));
        assert!(closed.is_clean());
    }
    assert_eq!(connections.shutdown(CloseCode::GOING_AWAY, std::time::Duration::MAX).await, 0);
}
