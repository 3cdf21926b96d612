//! The server as its clients see it: real requests to a real listener on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "prometheus")]
mod acceptance;
#[cfg(feature = "prometheus")]
mod admin;
mod admin_limits;
mod auth;
mod authorizers;
mod bulk;
mod client;
mod connection_limits;
#[cfg(feature = "console")]
mod console;
#[cfg(feature = "prometheus")]
mod dashboard;
mod embedded;
mod ends;
mod errors;
mod event_sink;
mod event_source;
mod events;
#[cfg(feature = "prometheus")]
mod fair;
mod fanout;
#[cfg(feature = "prometheus")]
mod fanout_members;
#[cfg(feature = "prometheus")]
mod fanout_streams;
mod features;
#[cfg(feature = "fjall")]
mod half_closed;
mod http1;
mod http2;
mod injection;
mod limits;
mod lines;
mod listening;
mod long_poll;
#[cfg(feature = "prometheus")]
mod making_room;
mod message;
#[cfg(feature = "prometheus")]
mod operating;
mod origin;
mod poll;
mod presence;
mod proxied;
mod publish;
mod refusal;
mod serve;
mod several;
#[cfg(feature = "prometheus")]
mod stalled;
#[cfg(feature = "prometheus")]
mod tap;
mod tls;
#[cfg(feature = "prometheus")]
mod unix;
#[cfg(feature = "prometheus")]
mod unread;
mod v1;
mod websocket;
