//! Channels inside an axum program of one's own, which publishes to them by itself.
//!
//!     cargo run -p sockeye-examples --example embedded
//!
//! Then, in two terminals:
//!
//!     curl -N 'http://127.0.0.1:3000/live/c/ticks?stream=ndjson'
//!     cargo run -- connect ws://127.0.0.1:3000/live/c/chat

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{Router, response::Html, routing::get};
use sockeye_hub::{ChannelName, Hub, Publication};
use sockeye_server::{Channels, ClientAddresses};
use tokio::{net::TcpListener, time};

const PAGE: &str = "<!doctype html><title>ticks</title><pre></pre>
<script>
  const ticks = new EventSource('/live/c/ticks');
  ticks.onmessage = event => document.querySelector('pre').prepend(event.data + '\\n');
</script>";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `options` takes the limits and the history. Limits for each address need the addresses of clients, which axum
    // tells (`into_make_service_with_connect_info`).
    let channels = Channels::builder().client_addresses(ClientAddresses::ConnectInfo).build()?;
    let ticks = tick(channels.hub().clone(), "ticks".parse()?);
    tokio::spawn(ticks);

    let app = app(&channels);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async move {
        // Without signals there is no other way to stop it than to stop it now.
        let _ = tokio::signal::ctrl_c().await;
        // Subscribers are told to come back, each at a time of its own.
        channels.drain(Duration::from_secs(5)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

pub(crate) fn app(channels: &Channels) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        // Every way to listen, the console and the browser client are below this path.
        .nest("/live", channels.router())
}

/// Publishes from within the program: no request is made.
pub(crate) async fn tick(hub: Hub, channel: ChannelName) {
    let mut second = time::interval(Duration::from_secs(1));
    for count in 0.. {
        second.tick().await;
        let text = format!("tick {count}");
        if let Err(error) = hub.publish(&channel, Publication::text(&text)).await {
            eprintln!("not published: {error}");
        }
    }
}
