//! A stream of HTTP/2 as a byte stream (RFC 8441 §5), for clients and servers.

mod deadline;
mod stream;
#[cfg(feature = "upgrade")]
mod upgraded;

pub(crate) use self::deadline::WriteDeadline;
pub(crate) use self::stream::{Http2Stream, io_error};
#[cfg(feature = "upgrade")]
pub(crate) use self::upgraded::Http2Upgraded;
#[cfg(feature = "tls")]
use crate::net::http2_limits as limits;

/// What [`Server`](crate::Server) grants a client. A head of `max_head` bytes at most is limited with its
/// CONTINUATION frames (CVE-2024-27316).
#[cfg(feature = "tls")]
pub(crate) fn server_builder(max_head: usize) -> h2::server::Builder {
    let mut http2 = h2::server::Builder::new();
    http2
        .enable_connect_protocol()
        .max_concurrent_streams(limits::MAX_STREAMS)
        .initial_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits::MAX_UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(limits::MAX_FORCED_RESETS))
        .max_send_buffer_size(limits::SEND_BUFFER);
    http2
}

/// How much goes into one DATA frame: what every peer takes (RFC 9113 §4.2).
const FRAME: usize = 16 << 10;
