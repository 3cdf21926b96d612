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
//! handshake and returns how the connection ended. All of it is cancel-safe: in a `select!` nothing is lost.
//! It is also a `Stream` and a `Sink` of [`Message`]s; with the feature `json`, `send_json` and `recv_json`
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
//! [`Client::reconnecting`] makes a [client](reconnect::ReconnectingClient) that connects again when its
//! connection ends, with growing delays, until an end is final.
//!
//! # Messages as streams
//!
//! [`send_stream`](WebSocket::send_stream) and [`recv_stream`](WebSocket::recv_stream) take a message of any
//! size as `AsyncWrite` and `AsyncRead`, in pieces.
//!
//! # Servers
//!
//! [`Server`] is a stand-alone server: its handler gets an [`Incoming`], to look at before it accepts.
//! [`Upgrade`] opens WebSockets inside another HTTP server: hyper, axum, tower. [`accept`] takes any stream.
//!
//! # More
//!
//! * `wss://` works as it is; the module `tls` configures certificates, for both sides.
//! * Messages are compressed if both sides agree: [`DeflateConfig`] (permessage-deflate, RFC 7692).
//! * Many WebSockets share one connection over HTTP/2: the module `http2` (RFC 8441).
//! * A client uses the [`Proxy`] of the environment, another one, or none.
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
//! | `uring` | | [`SendRings`]: what goes to many connections is handed to Linux at once, with io_uring |
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
//!
//! # The sources
//!
//! Each folder imports only from those in lines below it, or none of its own line.
//!
//! | folder | |
//! |---|---|
//! | `web`, `reconnect` | the browser's API; the client that connects again |
//! | `client` | from a URL to an open WebSocket: address, route, proxies, connect queue, handshake, redirects, HTTP/2 |
//! | `server` | from a listener to a handler: accepting, limits, the request, HTTP/2, stopping |
//! | `upgrade` | the same inside another HTTP server: hyper, axum, tower |
//! | `connections` | sets of open connections: broadcast, shutdown |
//! | `request` | what `server` and `upgrade` do with a request alike: origin, subprotocol, refusal |
//! | `tls` | rustls on both sides: configuration, certificates and their reload |
//! | `net` | sockets before a request is complete: dialling, listening, accepting, eviction, HTTP/2 streams |
//! | `socket` | an open WebSocket: its handles, and in `socket/core` what they share |
//! | `ring` | sends on many sockets at once (io_uring); the one folder with `unsafe`, in `ring/kernel.rs`, of the feature `uring` |
//! | `error`, `clock`, `random`, `header` | errors of receiving and sending; the time, random bytes, fields of heads |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "uring"), forbid(unsafe_code))]

mod client;
mod clock;
mod connections;
mod error;
mod header;
mod net;
mod random;
pub mod reconnect;
mod request;
mod ring;
mod server;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;
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

#[cfg(feature = "http2")]
pub use self::client::http2;
#[cfg(feature = "tower")]
pub use self::upgrade::UpgradeService;
#[cfg(feature = "axum")]
pub use self::upgrade::axum;
#[cfg(feature = "upgrade")]
pub use self::upgrade::{Opening, Upgrade};
pub use bytes;
pub use http;

pub use self::{
    client::{
        Address, AddressError, Client, ConnectError, ConnectQueue, Opened, Proxy, ProxyError,
        Target, connect,
    },
    connections::{Broadcast, Connections},
    error::{Error, TrySendError},
    net::{Direction, Listener},
    request::{
        AcceptError,
        origin::{BadOrigin, OriginPattern, Origins},
    },
    ring::SendRings,
    server::{Incoming, Server, accept},
    socket::{
        ConnectionId, Delivery, MessageReader, MessageWriter, PeerAddr, Reader, Role, WeakWriter,
        WebSocket, Writer,
    },
};

/// Parts that the crate `sockeye-server` shares; not part of the public API.
#[doc(hidden)]
pub mod internals {
    pub use crate::net::{
        Accepted, Acceptor, ClientPermit, ConnectionLimiter, Handshakes, Incomings, LimitReached,
        Network, Pending, PendingConnections, Permit, RefusalPermit, Watched, WriteTimer, defaults,
        evict, is_socket, listen, lookup, max_connections, raise_limit, refuse, reserve,
        share_of_reserve,
    };
    pub use crate::request::origin::{Origin, is_opaque};
    #[cfg(feature = "tls")]
    pub use crate::tls::unverified::AcceptAnything;
    #[cfg(feature = "http2")]
    pub use crate::{limit_http2, net::http2_limits};
}
