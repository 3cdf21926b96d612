//! What a client tells of its connections.

use std::time::Duration;

use crate::{Error, Transport};

/// How a connection is. A client has one for up to 128 channels, and another where a channel is subscribed to twice.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// An attempt begins.
    Connecting,
    /// The server has delivered by this transport.
    Live {
        /// What works.
        transport: Transport,
    },
    /// The server is left alone for a while.
    Waiting {
        /// For how long.
        delay: Duration,
        /// What went wrong.
        error: Error,
    },
}
