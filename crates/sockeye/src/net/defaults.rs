//! What holds for both servers unless told otherwise: [`Server`](crate::Server), and that of the crate
//! `sockeye-server`, whose options take their defaults from here.

use std::time::Duration;

/// How long a client may take to send its first request, TLS included.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many handshakes run at once.
pub const MAX_HANDSHAKES: usize = 1024;

/// How long a client may take nothing of what is written to it.
pub const WRITE_TIMEOUT: Duration = Duration::from_mins(2);

/// When a client that is refused for a limit is to try again.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A connection that was shut down is read to the client's end, for to close with bytes unread would reset
/// it (RFC 9112 §9.6): for this long at most,
pub const LINGER: Duration = Duration::from_secs(30);

/// for this long without anything arriving,
pub const LINGER_SILENCE: Duration = Duration::from_secs(2);

/// and for this many bytes: what a client sends of an upload that was refused.
pub const MAX_LINGER_BYTES: usize = 64 << 20;
