//! WebSockets inside axum: [`Upgrade`] is an extractor.
//!
//! ```no_run
//! use axum::{Router, response::Response, routing::get};
//! use sockeye::{Upgrade, WebSocket};
//!
//! async fn chat(upgrade: Upgrade) -> Response {
//!     upgrade.subprotocol_of(["chat.v1"]).on_upgrade(echo)
//! }
//!
//! async fn echo(mut socket: WebSocket) {
//!     while let Some(Ok(message)) = socket.recv().await {
//!         if socket.send(message).await.is_err() {
//!             return;
//!         }
//!     }
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let app: Router = Router::new().route("/chat", get(chat));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! Route with `get`, or with `any` where the server speaks HTTP/2 too: there a WebSocket is opened
//! with CONNECT.
//!
//! To send to all connections and to close them in order when the server stops, put them into
//! [`Connections`](crate::Connections).

use std::fmt;

use axum_core::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{Request, request::Parts};
use sockeye_proto::handshake::Refusal;

use super::Upgrade;

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Rejection;

    /// As [`Upgrade::new`].
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let (empty, ()) = Request::new(()).into_parts();
        let mut request = Request::from_parts(std::mem::replace(parts, empty), ());
        let upgrade = Self::new(&mut request);
        (*parts, ()) = request.into_parts();
        upgrade.map_err(Rejection)
    }
}

/// A request that is not one for a WebSocket, with the answer to give.
#[derive(Debug, Clone)]
pub struct Rejection(pub Refusal);

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        http::Response::<String>::from(self.0).into_response()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.text())
    }
}

impl std::error::Error for Rejection {}
