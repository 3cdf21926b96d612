//! Cookies (RFC 6265): those that a page has, and those that a server sets when a socket is opened.

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use sockeye_proto::handshake::ResponseError;

use crate::{Address, ConnectError, Opened};

/// Where cookies are kept, for [`Builder::cookie_jar`](super::Builder::cookie_jar). Which ones belong to
/// a URL, and for how long, is up to it: crates such as `cookie_store` know the rules.
///
/// The URL is that of the handshake, with the scheme `http` or `https`.
pub trait CookieJar: Send + Sync {
    /// The `Cookie` header for a request to this URL.
    fn cookies(&self, url: &str) -> Option<HeaderValue>;

    /// Takes a `Set-Cookie` header of the answer, whether it opened the WebSocket or not.
    fn set_cookie(&self, url: &str, header: &HeaderValue);
}

/// The jar of a builder.
#[derive(Clone, Default)]
pub(super) struct Cookies(Option<Arc<dyn CookieJar>>);

impl Cookies {
    pub(super) fn new(jar: Arc<dyn CookieJar>) -> Self {
        Self(Some(jar))
    }

    /// Adds the jar's cookies behind those that are there: a request has one `Cookie` header.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, address: &Address) {
        let jar = self.0.as_ref();
        let Some(cookies) = jar.and_then(|jar| jar.cookies(&http_url(address))) else { return };
        let joined = match headers.get(COOKIE) {
            Some(own) => {
                HeaderValue::from_bytes(&[own.as_bytes(), cookies.as_bytes()].join(&b"; "[..]))
            }
            None => Ok(cookies),
        };
        if let Ok(joined) = joined {
            headers.insert(COOKIE, joined);
        }
    }

    /// Keeps the cookies of an answer.
    pub(super) fn keep(&self, opened: &Result<Opened, ConnectError>, address: &Address) {
        let Some(jar) = &self.0 else { return };
        let headers = match opened {
            Ok(opened) => opened.response.headers(),
            Err(ConnectError::Response(ResponseError::Status(response))) => response.headers(),
            Err(_) => return,
        };
        let url = http_url(address);
        for header in headers.get_all(SET_COOKIE) {
            jar.set_cookie(&url, header);
        }
    }
}

/// The URL that is requested (Fetch, "establish a WebSocket connection").
fn http_url(address: &Address) -> String {
    address.url().as_str().replacen("ws", "http", 1)
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}
