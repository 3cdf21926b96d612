//! RFC 6455, rule by rule: what a peer and an application see of this crate.
//!
//! Tests carry the numbers of the rules that they show. Every test that feeds bytes feeds them
//! whole, byte by byte and cut at random, and what comes of it must be the same.
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

mod close;
mod control;
mod deadlines;
mod fragmentation;
mod framing;
mod handshake_answer;
mod handshake_client;
mod handshake_request;
mod harness;
mod limits;
mod parts;
mod properties;
mod text;
