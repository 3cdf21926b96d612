//! Why a connection failed: what events do not tell.

use std::io;

use crate::{ConnectError, Error};

/// Why a connection failed. A page is told nothing but 1006, so that it cannot explore a network that
/// is not its own; a program may know.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// `close` was called before the connection was open.
    #[error("it was closed before it opened")]
    Abandoned,
    /// A blob to be sent could not be read.
    #[error("a blob cannot be read: {0}")]
    Blob(io::Error),
    /// A port that belongs to another protocol (Fetch §2.9).
    #[error("port {0} is blocked: it belongs to another protocol")]
    BlockedPort(u16),
    /// The connection was not opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The open connection failed.
    #[error(transparent)]
    Failed(#[from] Error),
    /// More was sent than may be buffered: this many bytes.
    #[error("{0} bytes are buffered, more than the limit")]
    Full(u64),
    /// The page is encrypted and the socket is not (Mixed Content §4.3).
    #[error("a page loaded over https: cannot open a ws: WebSocket, except to this machine")]
    MixedContent,
    /// Subprotocols were asked for, and the server chose none.
    #[error("the server chose none of the subprotocols that were asked for")]
    NoProtocol,
}
