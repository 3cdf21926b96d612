//! The server as its clients see it: real requests to a real listener on loopback.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod client;
mod console;
mod errors;
mod http2;
mod limits;
mod origin;
mod poll;
mod publish;
mod serve;
mod tls;
mod websocket;
