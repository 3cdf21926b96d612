//! HTTP connections, from the first byte to the last.
//!
//! - [`accept`]: an accepted connection up to its first request: PROXY protocol, TLS, which HTTP it is.
//! - [`protocol`]: detects HTTP/1.1 or HTTP/2 from the first bytes.
//! - [`early`]: responses to connections that end before a request reaches the routes.
//! - [`http1`], [`http2`]: connections in use, with hyper.
//! - [`answer`]: what handlers return: a response, or one that comes later.
//! - [`service`]: the routes as one connection calls them.
//! - [`detach`], [`response_writer`]: a response that takes long leaves hyper with its connection, and is
//!   written without hyper's buffers.

pub(crate) mod accept;
pub(crate) mod answer;
pub(crate) mod detach;
pub(crate) mod early;
pub(crate) mod evict;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod protocol;
pub(crate) mod response_writer;
pub(crate) mod service;

/// The head of a request, line and headers, in bytes. There may be 100 headers, which is hyper's own
/// limit.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
