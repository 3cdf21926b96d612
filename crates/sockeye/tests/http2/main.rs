//! WebSockets over HTTP/2 (RFC 8441): the client, hyper's server and our own. A test's name begins
//! with the rules it shows.
#![cfg(feature = "http2")]
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

mod ending;
mod handshake;
mod harness;
mod raw;
#[cfg(feature = "tls")]
mod server;
mod sharing;
#[cfg(feature = "tls")]
mod tls;
mod web;
