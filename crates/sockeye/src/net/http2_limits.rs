//! What a server grants a client on a connection of HTTP/2, with `h2` and with hyper.

use std::time::Duration;

/// Requests and WebSockets on one connection. With the windows they bound what a client can make the
/// server hold: 200 × 64 KiB, for which the connection's window has room, so that no stream takes the
/// window of another.
pub const MAX_STREAMS: u32 = 200;
/// The window of a stream, in bytes.
pub const STREAM_WINDOW: u32 = 64 << 10;
/// The window of a connection, in bytes.
pub const CONNECTION_WINDOW: u32 = 16 << 20;

/// Bytes ready to be written on a stream that the client does not read.
pub const SEND_BUFFER: usize = 16 << 10;

/// Streams that the client has reset before the server looked at them. More of them are an attack
/// (CVE-2023-44487, Rapid Reset), and end the connection.
pub const MAX_UNSEEN_RESETS: usize = 20;

/// Streams that the server had to reset because of the client. More of them are an attack, too
/// (CVE-2025-8671, MadeYouReset).
pub const MAX_FORCED_RESETS: usize = 100;

/// How often a client is sent a PING while nothing comes from it,
pub const PING_INTERVAL: Duration = Duration::from_secs(25);

/// and how long it may take to answer: then it is gone.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Sets these limits on a builder of a server, of hyper or of hyper-util: their methods are the same, and they
/// have no type or trait in common. The size of a head, in bytes, bounds the CONTINUATION frames, too
/// (CVE-2024-27316).
#[doc(hidden)]
#[macro_export]
macro_rules! limit_http2 {
    ($builder:expr, $max_head:expr) => {
        $builder
            .enable_connect_protocol()
            .max_concurrent_streams($crate::internals::http2_limits::MAX_STREAMS)
            .initial_stream_window_size($crate::internals::http2_limits::STREAM_WINDOW)
            .initial_connection_window_size($crate::internals::http2_limits::CONNECTION_WINDOW)
            .max_pending_accept_reset_streams($crate::internals::http2_limits::MAX_UNSEEN_RESETS)
            .max_local_error_reset_streams($crate::internals::http2_limits::MAX_FORCED_RESETS)
            .max_header_list_size($max_head)
            .max_send_buf_size($crate::internals::http2_limits::SEND_BUFFER)
            .keep_alive_interval($crate::internals::http2_limits::PING_INTERVAL)
            .keep_alive_timeout($crate::internals::http2_limits::PING_TIMEOUT)
    };
}
