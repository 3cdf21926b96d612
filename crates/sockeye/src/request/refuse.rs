//! Answers to clients that get no WebSocket, for now.

use std::{fmt::Display, time::Duration};

use http::{
    HeaderValue, Request, StatusCode,
    header::{HOST, ORIGIN, RETRY_AFTER},
};
use sockeye_proto::handshake::Refusal;

/// An answer that asks to try again after some time, in whole seconds.
pub(crate) fn retry_later(status: StatusCode, text: &str, after: Duration) -> Refusal {
    Refusal::new(status, text).header(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)))
}

/// Notes a request that is refused, with the page that it comes from and the host that it goes to.
pub(crate) fn log_refusal<B>(request: &Request<B>, peer: Option<&dyn Display>, refusal: &Refusal) {
    let header = |name| request.headers().get(name).map(tracing::field::debug);
    let (origin, host) = (header(ORIGIN), header(HOST));
    let authority = request.uri().authority().map(tracing::field::debug);
    let peer = peer.map(tracing::field::display);
    let (status, text) = (refusal.status(), refusal.text());
    tracing::debug!(peer, origin, host, authority, "refused with {status}: {text}");
}
