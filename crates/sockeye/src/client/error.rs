//! Why a connection of a client is not opened.

use std::{io, time::Duration};

use sockeye_proto::handshake::{InvalidRequest, ResponseError};

use super::proxy::ProxyError;

/// Why a client's connection was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not a WebSocket URL.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server was not reached.
    #[error("cannot connect to {host}: {error}")]
    Connect {
        /// The host and port.
        host: String,
        /// The system's error.
        error: io::Error,
    },
    /// A header that cannot be sent, and why: a line break in its value, for example.
    #[error("not a header: {0}")]
    Header(String),
    /// The connection was lost during the handshake.
    #[error("the connection was lost during the handshake: {0}")]
    Io(io::Error),
    /// The server speaks HTTP/2, but opens no WebSockets over it (RFC 8441 §3).
    #[error("the server does not open WebSockets over HTTP/2")]
    NoExtendedConnect,
    /// The connection through the proxy failed.
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
    /// The server did not answer with a WebSocket.
    #[error("the server did not open a WebSocket: {0}")]
    Response(ResponseError),
    /// The TLS handshake failed, for example because the server's certificate is not trusted.
    #[error("the TLS handshake with {host} failed: {error}")]
    Tls {
        /// The host.
        host: String,
        /// The error; that of rustls is inside.
        error: io::Error,
    },
    /// It took too long.
    #[error("no WebSocket was opened within {0:?}")]
    Timeout(Duration),
}

/// Text that is not a WebSocket URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// A fragment, which means nothing here (RFC 6455 §3).
    #[error("{0} has a fragment (#…), which a WebSocket URL cannot have")]
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
    #[error("{0} is not a WebSocket URL: it must begin with ws:// or wss://")]
    Scheme(String),
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
