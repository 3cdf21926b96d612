//! Requests that ask for a WebSocket (RFC 6455 §4.1, RFC 8441 §4).

use axum::extract::Request;
use http::Method;
use http::header::UPGRADE;
use hyper::ext::Protocol;

/// Whether a request asks for a WebSocket rather than for the resource: by `Upgrade`, or over HTTP/2
/// by extended CONNECT (RFC 8441 §4).
pub(crate) fn is_handshake(request: &Request) -> bool {
    if request.method() == Method::CONNECT {
        return request.extensions().get::<Protocol>().is_some();
    }
    let lines = request.headers().get_all(UPGRADE).iter().flat_map(|line| line.to_str());
    let mut protocols = lines.flat_map(|line| line.split(','));
    protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}
