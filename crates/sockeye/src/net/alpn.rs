//! The names of the versions of HTTP in ALPN (RFC 7301 §6).

/// HTTP/1.1: what a WebSocket handshake of RFC 6455 is.
pub(crate) const HTTP_11: &[u8] = b"http/1.1";
/// HTTP/2 (RFC 9113 §3.2).
#[cfg(feature = "http2")]
pub(crate) const HTTP_2: &[u8] = b"h2";
