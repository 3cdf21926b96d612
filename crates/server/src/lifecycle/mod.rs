//! The life of connections: which are in use, and draining them when the server stops.
//!
//! - [`drain`]: counts connections, and closes them one after the other.
//! - [`activity`]: what is in progress on an HTTP/2 connection, which several requests share.

pub(crate) mod activity;
pub(crate) mod drain;
