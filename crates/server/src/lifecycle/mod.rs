//! The life of connections: which are in use, and draining them when the server stops.
//!
//! - [`drain`]: counts connections, and closes them one after the other.
//! - [`activity`]: what is in progress on an HTTP/2 connection, which several requests share.
//! - [`sweep`]: drops old messages of idle channels, as long as there are the channels.

pub(crate) mod activity;
pub(crate) mod drain;
pub(crate) mod sweep;
