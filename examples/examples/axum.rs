//! A WebSocket inside an axum server, beside ordinary pages; it stops in order on Ctrl-C.
//!
//!     cargo run -p sockeye-examples --example axum
//!
//! Then open http://127.0.0.1:3000/ in a browser, in two windows.

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{Html, Response},
    routing::{any, get},
};
use sockeye::{CloseCode, Connections, Upgrade, WebSocket};
use tokio::net::TcpListener;

const PAGE: &str = "<!doctype html><title>axum</title><input autofocus placeholder=say><pre></pre>
<script>
  const socket = new WebSocket('ws://' + location.host + '/chat');
  socket.onmessage = event => document.querySelector('pre').append(event.data + '\\n');
  document.querySelector('input').onchange = event => {
    socket.send(event.target.value);
    event.target.value = '';
  };
</script>";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let connections = Connections::new();
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/chat", any(chat))
        .with_state(connections.clone());
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let stop = async move {
        // If signals do not work, it stops at once.
        let _ = tokio::signal::ctrl_c().await;
        connections.shutdown(CloseCode::GOING_AWAY, Duration::from_secs(5)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

/// A request that is not a valid WebSocket handshake never gets here: it was refused with the reason. So is
/// one from a page of another origin, with 403.
async fn chat(State(connections): State<Connections>, upgrade: Upgrade) -> Response {
    upgrade.join(&connections, ()).on_upgrade(|socket| talk(socket, connections))
}

async fn talk(mut socket: WebSocket, connections: Connections) {
    while let Some(Ok(message)) = socket.recv().await {
        // Slow readers miss this message; `broadcast` returns their writers.
        connections.broadcast(message).await;
    }
}
