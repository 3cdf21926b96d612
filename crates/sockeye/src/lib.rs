//! WebSockets on tokio: client and server.
//!
//! ```toml
//! [dependencies]
//! sockeye = "0.1" # not on crates.io yet: { git = "<the URL of the repository>" }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
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
//! Pings and Close are answered, silent peers are detected, and limits are enforced, without any code of
//! yours.
//!
//! # Reading and sending
//!
//! [`WebSocket`] is the same on both sides. [`recv`](WebSocket::recv) gives messages until the connection
//! ends, [`send`](WebSocket::send) takes text or bytes, [`close`](WebSocket::close) does the closing
//! handshake and tells how the connection ended. All of it is cancel-safe: in a `select!` nothing is lost.
//! It is a `Stream` and a `Sink` of [`Message`]s, too; with the feature `json`, `send_json` and `recv_json`
//! take types of serde.
//!
//! # Splitting
//!
//! [`split`](WebSocket::split) gives a [`Reader`] and a [`Writer`] for two tasks; a writer clones and sends
//! with `&self`, so any number of tasks may send. [`Connections`] is a set of sockets: it sends to all of
//! them, without waiting for the slow ones, and closes them in order.
//!
//! # Reconnecting
//!
//! [`Client::reconnecting`] gives a [client](reconnect::ReconnectingClient) that connects again when its
//! connection ends, after a time that grows, until an end is final.
//!
//! # Messages as streams
//!
//! [`send_stream`](WebSocket::send_stream) and [`recv_stream`](WebSocket::recv_stream) take a message of any
//! size as `AsyncWrite` and `AsyncRead`, in pieces.
//!
//! # Servers
//!
//! [`Server`] is one for a program of its own: its handler gets an [`Incoming`], to look at before it is
//! accepted. [`Upgrade`] opens WebSockets in a program that speaks HTTP already: hyper, axum, tower.
//! [`accept`] takes any stream.
//!
//! # And beside
//!
//! * `wss://` works as it is; the module `tls` configures certificates, for both sides.
//! * Messages are compressed where both sides want it: [`DeflateConfig`] (permessage-deflate, RFC 7692).
//! * Many WebSockets share one connection over HTTP/2: the module `http2` (RFC 8441).
//! * A client goes through the [`Proxy`] that the environment asks for, or another, or none.
//! * Limits and deadlines are on by default: [`Config`].
//! * The module [`web`] is the browser's API, with its events and exceptions.
//! * The protocol itself, without I/O, is the crate [`sockeye_proto`].
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `http2` | yes | WebSockets over HTTP/2 |
//! | `tls` | yes | `wss://`, with rustls |
//! | `upgrade` | yes | [`Upgrade`], with hyper |
//! | `axum` | | [`Upgrade`] is an extractor of axum 0.8 |
//! | `json` | | messages from and to the types of serde |
//! | `serde` | | [`Text`] from and to the formats of serde |
//! | `tower` | | a tower service that upgrades |
//!
//! # Systems
//!
//! It is made for Linux and tested there. It compiles for Windows, which is checked, and has no Unix sockets
//! there; other Unix systems use what they have in common with Linux.

#![cfg_attr(docsrs, feature(doc_cfg))]
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
mod refused;
mod server;
mod socket;
mod target;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tower")]
mod tower;
mod turns;
#[cfg(feature = "upgrade")]
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
#[cfg(feature = "upgrade")]
pub use self::upgrade::{Opening, Upgrade};
pub use bytes;
pub use http;

pub use self::{
    address::Address,
    client::{Client, Opened, connect},
    connections::{Broadcast, Connections},
    error::{AcceptError, AddressError, ConnectError, Error, TrySendError},
    net::PeerAddr,
    origin::{BadOrigin, OriginPattern, Origins},
    proxy::{Proxy, ProxyError},
    server::{Incoming, Listener, Server, accept},
    socket::{
        ConnectionId, MessageReader, MessageWriter, Reader, Role, WeakWriter, WebSocket, Writer,
    },
    target::Target,
    turns::Turns,
};

/// Parts that the crate `sockeye-server` shares, and that are no interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::net::{
        Acceptor, Handshakes, Incomings, Pending, PendingConnections, evict, listen, lookup,
        max_connections, raise_limit, refuse, reserve, share_of_reserve,
    };
    pub use crate::origin::{Origin, is_opaque};
}
