//! `sockeye::web` against the numbered rules of the browser's WebSocket API.
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

mod close;
mod constructor;
mod events;
mod handshake;
mod send;
mod stream;
mod support;
mod turn;
