//! WebSockets on tokio: client and server.
//!
//! ```
//! use sockeye::{CloseCode, Incoming, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind("127.0.0.1:0").await?;
//! let url = format!("ws://{}/", server.local_addr()?);
//! tokio::spawn(server.run(|incoming: Incoming| async move {
//!     let mut socket = incoming.accept().await?;
//!     while let Some(message) = socket.recv().await {
//!         socket.send(message?).await?;
//!     }
//!     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! }));
//!
//! let mut socket = sockeye::connect(&url).await?;
//! socket.send("hello").await?;
//! let echo = socket.recv().await.unwrap()?;
//! assert_eq!(echo.as_text(), Some("hello"));
//! let closed = socket.close(CloseCode::NORMAL).await;
//! assert!(closed.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! * [`connect`] and [`Client`] open a WebSocket; [`Server`] serves them in a program of its own;
//!   [`Upgrade`] in one that already speaks HTTP: hyper, or axum with the feature `axum`.
//! * [`WebSocket`] is the same on both sides: a `Stream` and a `Sink` of [`Message`]s.
//! * Features beside the default ones: `axum` makes `Upgrade` an extractor, `tower` has a tower service
//!   that upgrades, `json` sends and receives the types of serde.
//! * Messages are compressed where both sides want it: [`DeflateConfig`] (permessage-deflate).
//! * `wss://` works as it is; the module `tls` (feature `tls`, on by default) has certificates.
//! * [`Connections`] is a set of them, to send to all and to close in order.
//! * A client goes through the [`Proxy`] that the environment asks for, or another, or none.
//! * Limits and deadlines are on by default: [`Config`].
//!
//! The module [`web`] is the browser's API, with its events and exceptions. The protocol itself,
//! without I/O, is the crate [`sockeye_proto`].

#![forbid(unsafe_code)]

mod address;
#[cfg(feature = "axum")]
pub mod axum;
mod client;
mod clock;
mod connections;
mod dial;
mod error;
#[cfg(feature = "http2")]
pub mod http2;
mod net;
mod origin;
mod places;
mod proxy;
mod random;
mod reach;
pub mod reconnect;
mod redirect;
mod server;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tower")]
mod tower;
mod turns;
mod upgrade;
pub mod web;

pub use sockeye_proto::{
    ClientWindow, CloseCode, CloseFrame, CloseSignal, Closed, Compression, Config, Deadline,
    DeflateAgreement, DeflateBudget, DeflateConfig, DeflateOffer, Failure, InvalidCloseCode,
    InvalidUtf8, InvalidWindowBits, Keepalive, Limit, Message, MessageKind, Misuse, Peer, Prepared,
    ReasonTooLong, Text, Violation, WindowBits,
    handshake::{AnswerError, HeadLimits, InvalidRequest, Refusal, ResponseError},
};

#[cfg(feature = "tower")]
pub use self::tower::UpgradeService;
pub use self::{
    address::Address,
    client::{Client, Opened, connect},
    connections::{Broadcast, Connections},
    error::{AcceptError, AddressError, ConnectError, Error, TrySendError},
    origin::{BadOrigin, OriginPattern, Origins},
    proxy::{Proxy, ProxyError},
    server::{Incoming, Listener, PeerAddr, Server, accept},
    socket::{MessageReader, MessageWriter, Reader, Role, WebSocket, Writer},
    turns::Turns,
    upgrade::{Opening, Upgrade},
};

/// Parts that the crate `sockeye-server` shares, and that are no interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::net::{
        Acceptor, Handshakes, Incomings, Pending, PendingConnections, max_connections, raise_limit,
        refuse, reserve, share_of_reserve,
    };
    pub use crate::origin::{Origin, is_opaque};
}
