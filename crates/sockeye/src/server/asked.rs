//! What a client asks for: the head of its request, of which a map is made only for a handler that wants one.

use std::sync::OnceLock;

use http::{Request, header::ORIGIN};
use sockeye_proto::handshake::RequestHead;

use crate::request::{origin::Page, text};

/// The request of a client.
#[derive(Debug)]
pub(super) enum Asked {
    /// The request of HTTP/1.1, and what was made of its head.
    Head(RequestHead, OnceLock<Box<Request<()>>>),
    /// Of HTTP/2.
    #[cfg(all(feature = "http2", feature = "tls"))]
    Request(Request<()>),
}

impl From<RequestHead> for Asked {
    fn from(head: RequestHead) -> Self {
        Self::Head(head, OnceLock::new())
    }
}

impl Asked {
    /// All of it.
    pub(super) fn request(&self) -> &Request<()> {
        match self {
            Self::Head(head, made) => made.get_or_init(|| Box::new(head.to_request())),
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Request(request) => request,
        }
    }

    pub(super) fn path(&self) -> &str {
        match self {
            Self::Head(head, _) => head.path(),
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Request(request) => request.uri().path(),
        }
    }

    pub(super) fn query(&self) -> Option<&str> {
        match self {
            Self::Head(head, _) => head.query(),
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Request(request) => request.uri().query(),
        }
    }

    /// The first `Origin`.
    pub(super) fn origin(&self) -> Option<&str> {
        match self {
            Self::Head(head, _) => text(head.values(&ORIGIN).next()?),
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Request(request) => request.headers().get(ORIGIN)?.to_str().ok(),
        }
    }

    /// The page that it comes from.
    pub(super) fn page(&self) -> Option<Page> {
        match self {
            Self::Head(head, _) => Page::of_head(head),
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Request(request) => Page::of(request),
        }
    }
}
