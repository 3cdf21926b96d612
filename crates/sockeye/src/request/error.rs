//! Why a connection of a server is not opened.

use std::io;

use sockeye_proto::handshake::{AnswerError, Refusal};

/// Why a server's connection was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The answer asked for would not be a valid handshake.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// A header to be added is invalid: its name, or its value, such as one with a line break.
    #[error("invalid header: {0}")]
    Header(String),
    /// The transport failed.
    #[error("the connection was lost during the handshake: {0}")]
    Io(io::Error),
    /// The request was refused: the client got this answer.
    #[error("the request was refused with {}: {}", .0.status(), .0.text())]
    Refused(Refusal),
    /// The server stops: the client was refused with 503.
    #[error("the server is stopping")]
    Stopping,
    /// The HTTP server did not hand the connection over.
    #[error("the HTTP server did not hand the connection over")]
    #[cfg(feature = "upgrade")]
    Upgrade(#[from] hyper::Error),
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
