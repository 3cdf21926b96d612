//! WebSocket frames and handshakes, written and read byte for byte, right and wrong: for programs that
//! look at what others send, such as `sockeye check`, and for tests.
//!
//! - [`frame`]: one frame of RFC 6455 §5.2. [`Frame`] is built field by field, so that any of them can
//!   be wrong, and printed as bytes with their meaning.
//! - [`handshake`]: the heads of the opening handshake (RFC 6455 §4) on HTTP/1.1.
//! - [`http2`]: frames of HTTP/2 (RFC 9113 §4).
//! - `mistakes`: what is wrong with a frame; `show`: a frame as bytes with their meaning; `role`: client or server.
//!
//! Nothing here uses the other crates of Sockeye: an error in them is not repeated here, and theirs is
//! not hidden by ours.

#![forbid(unsafe_code)]

pub mod frame;
pub mod handshake;
pub mod http2;
mod mistakes;
mod role;
mod show;

pub use frame::Frame;
pub use role::Role;
