//! The server as its clients see it: real requests to a real listener on loopback.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod acceptance;
mod admin;
mod admin_limits;
mod auth;
mod client;
mod console;
mod crowd;
mod embedded;
mod errors;
mod event_source;
mod events;
mod fair;
mod half_closed;
mod http1;
mod http2;
mod injection;
mod limits;
mod lines;
mod listening;
mod long_poll;
mod origin;
mod poll;
mod presence;
mod proxied;
mod publish;
mod refusal;
mod serve;
mod stalled;
mod tls;
mod unread;
mod v1;
mod websocket;
