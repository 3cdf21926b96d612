//! The client against the channel server, over real sockets; what is between them cuts, refuses and holds back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod falling_back;
mod hostile;
mod presence;
mod publishing;
mod reading;
mod tls;
mod tokens;
