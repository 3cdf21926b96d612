//! The tower service that upgrades, inside axum and inside plain hyper.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod http;

use std::net::SocketAddr;

use axum::{Router, routing::any_service};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use sockeye::{Client, CloseCode, DeflateConfig, UpgradeService, WebSocket};
use tokio::net::TcpListener;

use crate::http::assert_refuses_all;

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        socket.send(message).await.unwrap();
    }
}

async fn serve_in_axum<S>(service: S) -> SocketAddr
where
    S: tower_service::Service<axum::extract::Request, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/chat", any_service(service));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn a_service_opens_a_websocket_as_it_was_told_to() {
    let service = UpgradeService::new(echo)
        .upgrade(|upgrade| upgrade.subprotocol_of(["v1"]).deflate(DeflateConfig::default()));
    let address = serve_in_axum(service).await;
    for _ in 0..2 {
        let client = Client::new(format!("ws://{address}/chat")).unwrap();
        let client = client.subprotocol("v2").subprotocol("v1").deflate(DeflateConfig::default());
        let mut socket = client.connect().await.unwrap();
        assert_eq!((socket.subprotocol(), socket.deflate().is_some()), (Some("v1"), true));
        socket.send("hello").await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
        assert!(socket.close(CloseCode::NORMAL).await.is_clean());
    }
}

/// Rules: W41, W43, W52.
#[tokio::test]
async fn a_service_refuses_what_a_server_of_ones_own_refuses() {
    assert_refuses_all(serve_in_axum(UpgradeService::new(echo)).await).await;
}

#[tokio::test]
async fn a_service_works_in_hyper_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(UpgradeService::new(echo));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        serving.with_upgrades().await.unwrap();
    });
    let mut socket = sockeye::connect(&url).await.unwrap();
    socket.send("hello").await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
}
