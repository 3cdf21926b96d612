//! Rooms in an axum server: what one client says, the others in the room receive.
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
pub(crate) struct Member {
    room: String,
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let connections = Connections::new();
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on ws://{}/rooms/ROOM/NAME", listener.local_addr()?);
    let app = app(&connections);
    let stop = async move {
        // If signals do not work, it stops at once.
        let _ = tokio::signal::ctrl_c().await;
        connections.shutdown(CloseCode::GOING_AWAY, Duration::from_secs(5)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

pub(crate) fn app(connections: &Connections<Member>) -> Router {
    Router::new().route("/rooms/{room}/{name}", any(enter)).with_state(connections.clone())
}

async fn enter(
    State(connections): State<Connections<Member>>,
    Path((room, name)): Path<(String, String)>,
    upgrade: Upgrade,
) -> Response {
    let member = Member { room, name };
    upgrade
        .join(&connections, member.clone())
        .on_upgrade(|socket| talk(socket, member, connections))
}

async fn talk(mut socket: WebSocket, member: Member, connections: Connections<Member>) {
    let own = socket.id();
    let Member { room, name } = member;
    tell(&connections, &room, format!("{name} comes in")).await;
    while let Some(Ok(message)) = socket.recv().await {
        let Some(said) = message.as_text() else { continue };
        // Connections that are slow to read miss this message: `slow` of the result has their writers.
        let others = |id, member: &Member| id != own && member.room == room;
        connections.broadcast_if(format!("{name}: {said}"), others).await;
    }
    tell(&connections, &room, format!("{name} leaves")).await;
}

/// Says something to all in the room.
async fn tell(connections: &Connections<Member>, room: &str, text: String) {
    connections.broadcast_if(text, |_, member| member.room == room).await;
}
