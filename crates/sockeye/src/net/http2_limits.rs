//! What a server grants a client on a connection of HTTP/2, with `h2` and with hyper.

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
