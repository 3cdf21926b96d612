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
    let everybody = Connections::new();
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/chat", any(chat))
        .with_state(everybody.clone());
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let stop = async move {
        // Without signals there is no other way to stop it than to stop it now.
        let _ = tokio::signal::ctrl_c().await;
        everybody.shutdown(CloseCode::GOING_AWAY, Duration::from_secs(5)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

/// A request that is no WebSocket handshake never comes here: it was answered with what it lacks. One
/// from a page of another origin is answered with 403.
async fn chat(State(everybody): State<Connections>, upgrade: Upgrade) -> Response {
    upgrade.join(&everybody, ()).on_upgrade(|socket| talk(socket, everybody))
}

async fn talk(mut socket: WebSocket, everybody: Connections) {
    while let Some(Ok(message)) = socket.recv().await {
        // Who is too slow to read misses it; `broadcast` says who that is.
        everybody.broadcast(message).await;
    }
}
