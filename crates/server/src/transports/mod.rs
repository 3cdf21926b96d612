//! How messages reach a reader.
//!
//! - [`poll`]: polling and long polling.
//! - [`stream`]: Server-Sent Events and NDJSON.
//! - [`several`]: the same, and polls, of several channels.
//! - [`websocket`]: the handshake, and plain WebSockets.
//! - [`v1`]: `sockeye.v1`, many channels on one WebSocket.
//! - [`publication`]: publications as JSON.
//! - [`unread`]: what the answers of polls hold that are not taken.
//! - [`encode`], [`presence`]: messages and presence as JSON, the same on every transport.

pub(crate) mod encode;
pub(crate) mod poll;
pub(crate) mod presence;
pub(crate) mod publication;
pub(crate) mod several;
pub(crate) mod stream;
pub(crate) mod unread;
pub(crate) mod v1;
pub(crate) mod websocket;
