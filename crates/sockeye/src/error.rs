//! What can go wrong: while a connection is open, and while it is being opened.
//!
//! The text of an error names its cause, and `source` gives none that the text has named: reports that
//! print the whole chain say each thing once. The causes themselves are fields.

use std::{io, time::Duration};

use sockeye_proto::{
    Closed, Failure, InvalidUtf8, Message, Misuse, ReasonTooLong,
    handshake::{AnswerError, InvalidRequest, Refusal, ResponseError},
};

use crate::ProxyError;

/// An error of an open connection. A connection that was closed in order is not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is being closed, or was closed in order: nothing more can be sent. With what is
    /// known of the end so far.
    #[error("nothing more can be sent: the connection is {0}")]
    Closed(Box<Closed>),
    /// The connection failed; it is of no more use.
    #[error("{0}")]
    Failed(Failure),
    /// The transport failed; the connection is of no more use.
    #[error("the connection was lost: {0}")]
    Io(io::Error),
    /// A message that is not the JSON expected, or a value that cannot be said in JSON. The connection
    /// goes on.
    #[cfg(feature = "json")]
    #[error("not the JSON expected: {0}")]
    Json(serde_json::Error),
    /// What was asked for is not possible; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// What was to be sent as text is not UTF-8; none of it was sent.
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
    /// Whether the connection is being closed or was closed in order: the end that a sender has to
    /// expect, and no failure.
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

/// For those who read and write messages as streams: with the error inside.
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

/// Why a client's connection was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not one of a WebSocket.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server was not reached.
    #[error("cannot connect to {host}: {error}")]
    Connect {
        /// The host and port.
        host: String,
        /// What the system said.
        error: io::Error,
    },
    /// A header that cannot be sent, and why: a line break in its value, say.
    #[error("not a header: {0}")]
    Header(String),
    /// The connection was lost during the handshake.
    #[error("the connection was lost during the handshake: {0}")]
    Io(io::Error),
    /// The server speaks HTTP/2, but opens no WebSockets over it (RFC 8441 §3).
    #[error("the server does not open WebSockets over HTTP/2")]
    NoExtendedConnect,
    /// There is no way through the proxy.
    #[error("the proxy {proxy}: {error}")]
    Proxy {
        /// The proxy, without credentials.
        proxy: String,
        /// What is wrong.
        error: ProxyError,
    },
    /// A redirect that is not followed.
    #[error("the redirect to {to} is not followed: {reason}")]
    Redirect {
        /// Where it leads.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The request cannot be sent as it was asked for.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The server answered something else than a WebSocket.
    #[error("the server did not open a WebSocket: {0}")]
    Response(ResponseError),
    /// TLS was not agreed on, for one because the server's certificate is not to be trusted.
    #[error("no TLS with {host}: {error}")]
    Tls {
        /// The host.
        host: String,
        /// What rustls said: its own error is inside.
        error: io::Error,
    },
    /// It took too long.
    #[error("no WebSocket was opened within {0:?}")]
    Timeout(Duration),
}

/// Text that is not the address of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// A fragment, which means nothing here (RFC 6455 §3).
    #[error("{0} has a fragment (#…), which the address of a WebSocket cannot have")]
    Fragment(String),
    /// Not a URL at all.
    #[error("{url} is not a URL: {reason}")]
    Invalid {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another scheme than ws, wss, http or https.
    #[error("{0} is not the address of a WebSocket: it must begin with ws:// or wss://")]
    Scheme(String),
}

/// Why a server's connection was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The answer asked for would not be a valid handshake.
    #[error(transparent)]
    Answer(#[from] AnswerError),
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

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ResponseError> for ConnectError {
    fn from(error: ResponseError) -> Self {
        Self::Response(error)
    }
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use sockeye_proto::{Limit, Violation};

    use super::*;

    fn assert_says_each_cause_once(error: &dyn std::error::Error) {
        let (text, mut cause) = (error.to_string(), error.source());
        while let Some(inner) = cause {
            assert!(!text.contains(&inner.to_string()), "{text:?} names {:?}", inner.to_string());
            cause = inner.source();
        }
    }

    #[test]
    fn an_error_names_its_cause_or_gives_it_as_its_source_but_not_both() {
        let io = || io::Error::other("no route");
        let host = || "example.org:443".to_owned();
        let failures = [
            Failure::from(Violation::Masked),
            Failure::from(Limit::MessageSize { max: 1 }),
            Failure::from(sockeye_proto::Deadline::Close),
        ];
        for failure in failures {
            assert_says_each_cause_once(&failure);
            assert_says_each_cause_once(&Error::Failed(failure));
            let error = Error::Failed(failure);
            assert_says_each_cause_once(&TrySendError::Closed(Message::from("x"), error));
        }
        assert_says_each_cause_once(&Error::Io(io()));
        assert_says_each_cause_once(&Error::from(Misuse::Closing));
        let connect: [ConnectError; 6] = [
            io().into(),
            ConnectError::Connect { host: host(), error: io() },
            ConnectError::Tls { host: host(), error: io() },
            ConnectError::Response(ResponseError::Upgrade),
            ConnectError::Proxy { proxy: host(), error: ProxyError::Connect(io()) },
            ConnectError::Proxy { proxy: host(), error: ProxyError::Io(io()) },
        ];
        for error in &connect {
            assert_says_each_cause_once(error);
            assert!(error.to_string().contains(": "), "{error}");
        }
        assert_says_each_cause_once(&AcceptError::from(io()));
        assert_eq!(Error::Io(io()).to_string(), "the connection was lost: no route");
    }
}
