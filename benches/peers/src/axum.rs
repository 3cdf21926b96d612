//! axum with its WebSocket extractor, as it comes.

use std::io;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::any;
use tokio::net::TcpListener;

pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    let echo = async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
                if is_data && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    axum::serve(listener, Router::new().route("/", any(echo))).await
}
