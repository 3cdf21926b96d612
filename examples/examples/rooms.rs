//! Rooms in an axum server: what one says, the others in the room hear.
//!
//!     cargo run -p sockeye-examples --example rooms
//!
//! Then, in three terminals:
//!
//!     cargo run -- connect ws://127.0.0.1:3000/rooms/tea/ann
//!     cargo run -- connect ws://127.0.0.1:3000/rooms/tea/ben
//!     cargo run -- connect ws://127.0.0.1:3000/rooms/coffee/cem

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::any,
};
use sockeye::{CloseCode, Connections, Upgrade, WebSocket};
use tokio::net::TcpListener;

/// What is known of each connection.
#[derive(Clone)]
pub(crate) struct Guest {
    room: String,
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let everybody = Connections::new();
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on ws://{}/rooms/ROOM/NAME", listener.local_addr()?);
    let app = app(&everybody);
    let stop = async move {
        // If signals do not work, it stops at once.
        let _ = tokio::signal::ctrl_c().await;
        everybody.shutdown(CloseCode::GOING_AWAY, Duration::from_secs(5)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

pub(crate) fn app(everybody: &Connections<Guest>) -> Router {
    Router::new().route("/rooms/{room}/{name}", any(enter)).with_state(everybody.clone())
}

async fn enter(
    State(everybody): State<Connections<Guest>>,
    Path((room, name)): Path<(String, String)>,
    upgrade: Upgrade,
) -> Response {
    let guest = Guest { room, name };
    upgrade.join(&everybody, guest.clone()).on_upgrade(|socket| talk(socket, guest, everybody))
}

async fn talk(mut socket: WebSocket, guest: Guest, everybody: Connections<Guest>) {
    let own = socket.id();
    let Guest { room, name } = guest;
    tell(&everybody, &room, format!("{name} comes in")).await;
    while let Some(Ok(message)) = socket.recv().await {
        let Some(said) = message.as_text() else { continue };
        // Connections that are slow to read miss this message: `slow` of the result has their writers.
        let others = |id, guest: &Guest| id != own && guest.room == room;
        everybody.broadcast_if(format!("{name}: {said}"), others).await;
    }
    tell(&everybody, &room, format!("{name} leaves")).await;
}

/// Says something to all in the room.
async fn tell(everybody: &Connections<Guest>, room: &str, text: String) {
    everybody.broadcast_if(text, |_, guest| guest.room == room).await;
}
