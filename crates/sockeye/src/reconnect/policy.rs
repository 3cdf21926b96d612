//! Whether it makes sense to connect again.

use std::{fmt, io, time::Duration};

use http::{StatusCode, header::RETRY_AFTER};
use sockeye_proto::{
    CloseCode, Closed, Peer,
    handshake::ResponseError,
    proxy::{HttpConnectError, Socks5Error},
};

use crate::{ConnectError, Error, ProxyError};

/// The delay after 1013 (try again later).
const LATER: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug)]
pub enum Down {
    /// It was open and was closed in order.
    Closed(Closed),
    /// It was open and has failed: with the cause that the system gave, where it gave one. Or what is
    /// [done with each connection](super::ReconnectingClient::on_open) gave this error.
    Failed(Error),
    /// It was not opened.
    NotOpened(ConnectError),
}

/// What to do without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Give up: it will not get better.
    Final,
    /// Connect again, after the usual delay.
    Retry,
    /// Connect again after this time, at most five minutes, and the usual delay.
    RetryAfter(Duration),
}

impl Down {
    /// What to do unless one knows better. Final are:
    ///
    /// * what this side has closed, and what the server has closed with 1000 (it is done), 1003, 1008 or
    ///   1010 (it does not want what this client does);
    /// * an answer that refuses, 3xx or 4xx, apart from 408 (too slow) and 429 (too often);
    /// * an invalid address or request;
    /// * a certificate that is not trusted, the server's or the proxy's: the peer is
    ///   not the intended one, or the configuration is wrong;
    /// * a proxy that does not accept the name and password, or wants some, and one that cannot be
    ///   asked.
    ///
    /// All else may get better. `Retry-After` is heeded where it is a number of seconds; 1013 (try
    /// again later) asks for 5 s.
    pub fn decision(&self) -> Decision {
        match self {
            Self::Closed(closed) => of_closed(closed),
            Self::Failed(Error::Closed(closed)) => of_closed(closed),
            Self::Failed(_) => Decision::Retry,
            Self::NotOpened(ConnectError::Response(ResponseError::Status(response))) => {
                let is_final = match response.status() {
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => false,
                    status => status.is_client_error() || status.is_redirection(),
                };
                let retry_after = response.headers().get(RETRY_AFTER);
                let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
                match seconds {
                    _ if is_final => Decision::Final,
                    Some(seconds) => Decision::RetryAfter(Duration::from_secs(seconds)),
                    None => Decision::Retry,
                }
            }
            Self::NotOpened(error) => match is_final(error) {
                true => Decision::Final,
                false => Decision::Retry,
            },
        }
    }
}

/// Whether trying again would only be turned away again, for the same reason.
fn is_final(error: &ConnectError) -> bool {
    match error {
        ConnectError::Address(_)
        | ConnectError::Header(_)
        | ConnectError::Request(_)
        | ConnectError::Redirect { .. } => true,
        ConnectError::Tls { error, .. } => is_distrust(error),
        ConnectError::Proxy { error, .. } => match error {
            ProxyError::Http(HttpConnectError::Authentication(_))
            | ProxyError::Invalid(_)
            | ProxyError::Socks5(Socks5Error::Credentials | Socks5Error::Method)
            | ProxyError::Socks5Request(_) => true,
            ProxyError::Tls(error) => is_distrust(error),
            _ => false,
        },
        _ => false,
    }
}

/// Whether TLS failed because of the peer's identity, or because this program has no TLS.
fn is_distrust(error: &io::Error) -> bool {
    #[cfg(feature = "tls")]
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return matches!(
            inner,
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::UnsupportedNameType
        );
    }
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

fn of_closed(closed: &Closed) -> Decision {
    if closed.initiator == Peer::Local && closed.failure.is_none() {
        return Decision::Final;
    }
    match CloseCode::try_from(closed.code()) {
        Ok(
            CloseCode::NORMAL
            | CloseCode::UNSUPPORTED_DATA
            | CloseCode::POLICY_VIOLATION
            | CloseCode::MANDATORY_EXTENSION,
        ) => Decision::Final,
        Ok(CloseCode::TRY_AGAIN_LATER) => Decision::RetryAfter(LATER),
        _ => Decision::Retry,
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::NotOpened(error) => error.fmt(f),
        }
    }
}
