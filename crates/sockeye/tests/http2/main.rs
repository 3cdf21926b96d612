//! WebSockets over HTTP/2 (RFC 8441): the client and hyper's server, over TCP. A test's name begins
//! with the rules it shows.
#![cfg(feature = "http2")]
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

mod ending;
mod handshake;
mod harness;
mod raw;
mod sharing;
#[cfg(feature = "tls")]
mod tls;
