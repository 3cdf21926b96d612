//! WebSockets over HTTP/2 (RFC 8441): many of them share one TCP connection, each on a stream.
//!
//! Above the stream nothing differs: the frames are those of RFC 6455, masked by the client, and the
//! [`WebSocket`](crate::WebSocket) is the same type. The stream's end (`END_STREAM`) stands for TCP's
//! FIN, its reset for TCP's RST (RFC 8441 §5), and its flow control for TCP's: a reader that does not
//! read holds up its own stream and no other. A stream of which the peer takes nothing for two minutes is
//! reset: see [`Server::http2_write_timeout`](crate::Server::http2_write_timeout),
//! [`Upgrade::http2_write_timeout`](crate::Upgrade::http2_write_timeout) and
//! [`Client::http2_write_timeout`](crate::Client::http2_write_timeout).
//!
//! The client is [`Connection`]. On a server [`Upgrade`](crate::Upgrade) takes both kinds of
//! requests, once the HTTP/2 server lets clients ask:
//!
//! ```
//! use hyper::server::conn::http2;
//! use hyper_util::rt::{TokioExecutor, TokioTimer};
//!
//! let mut http2 = http2::Builder::new(TokioExecutor::new());
//! http2
//!     .timer(TokioTimer::new())
//!     .enable_connect_protocol()
//!     // 200 streams of 64 KiB fit into the connection's 16 MiB: streams without a reader leave room
//!     // for the others. hyper's own defaults do not.
//!     .max_concurrent_streams(200)
//!     .initial_stream_window_size(64 << 10)
//!     .initial_connection_window_size(16 << 20);
//! ```
//!
//! # HTTP/3
//!
//! RFC 9220 carries the same request over QUIC, with the same setting and pseudo-header. All that
//! depends on HTTP/2 is in two folders: a byte stream (`net/http2`) and a way to open one (the
//! [`Connection`]). [`sockeye_proto::handshake::ExtendedConnect`] and
//! [`Offer::from_extended_connect`](sockeye_proto::handshake::Offer::from_extended_connect) serve
//! both, and `END_STREAM` and reset have their twins there (a FIN, `H3_REQUEST_CANCELLED`). So HTTP/3
//! is a second module of this shape over another crate, and nothing above it changes.

mod connection;

pub use self::connection::Connection;
