//! The errors of an open connection.
//!
//! The text of an error names its cause, and `source` gives none that the text has named: reports that
//! print the whole chain say each thing once. The causes themselves are fields.

use std::io;

use sockeye_proto::{Closed, Failure, InvalidUtf8, Message, Misuse, ReasonTooLong};

/// An error of an open connection. A connection that was closed in order is not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is closing, or was closed cleanly: nothing more can be sent. With what is known of
    /// the end so far.
    #[error("nothing more can be sent: the connection is {0}")]
    Closed(Box<Closed>),
    /// The connection has failed.
    #[error("{0}")]
    Failed(Failure),
    /// The transport has failed, and the connection with it.
    #[error("the connection was lost: {0}")]
    Io(io::Error),
    /// A message that is not the JSON expected, or a value that JSON cannot represent. The connection
    /// stays open.
    #[cfg(feature = "json")]
    #[error("not the JSON expected: {0}")]
    Json(serde_json::Error),
    /// The call is not possible in this state; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The text to send is not UTF-8; none of it was sent.
    #[error(transparent)]
    InvalidUtf8(#[from] InvalidUtf8),
    /// The reason for closing is too long; nothing was sent.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// The peer closed the connection in the middle of a message.
    #[error("the connection was closed in the middle of a message")]
    Unfinished,
}

impl Error {
    /// Whether the connection is closing or was closed cleanly: an end that every sender has to expect, not
    /// a failure.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

#[cfg(feature = "json")]
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

/// For messages as streams. The error is inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(error) => error.kind(),
            Error::Failed(Failure::Lost) | Error::Unfinished => io::ErrorKind::UnexpectedEof,
            Error::Failed(Failure::Aborted) => io::ErrorKind::ConnectionAborted,
            Error::Failed(Failure::Deadline(_)) => io::ErrorKind::TimedOut,
            Error::Closed(_) | Error::Misuse(_) => io::ErrorKind::BrokenPipe,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Why [`try_send`](crate::WebSocket::try_send) did not send: with the message, as it was.
#[derive(Debug, thiserror::Error)]
pub enum TrySendError {
    /// Too much is queued already, because the peer is slow to read.
    #[error("too much is queued: the peer is slow to read")]
    Full(Message),
    /// Nothing can be sent any more, for this reason.
    #[error("{1}")]
    Closed(Message, Error),
}

impl TrySendError {
    /// The message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::Closed(message, _) => message,
        }
    }
}
