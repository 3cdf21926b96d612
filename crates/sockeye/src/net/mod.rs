//! Connections before their request is complete: dialling and listening, the errors of accept(2), how many
//! there may be, the eviction of pending ones when descriptors run out, the number of concurrent TLS
//! handshakes; the deadline of writes, streams whose bytes are shown, and the streams of HTTP/2.
//!
//! [`Server`](crate::Server) uses it, and so does the crate `sockeye-server`.

mod accept;
pub(crate) mod alpn;
pub mod defaults;
mod descriptors;
pub(crate) mod dial;
mod handshakes;
#[cfg(feature = "http2")]
pub(crate) mod http2;
#[cfg(feature = "http2")]
pub mod http2_limits;
mod limiter;
mod listen;
mod listener;
mod pending;
mod watched;
mod write_timer;

pub use self::{
    accept::{Acceptor, Incomings, evict, refuse},
    descriptors::{max_connections, raise_limit, reserve, share_of_reserve},
    handshakes::Handshakes,
    limiter::{ClientPermit, ConnectionLimiter, LimitReached, Network, Permit, RefusalPermit},
    listen::{listen, lookup},
    listener::{Accepted, Listener, is_socket},
    pending::{Pending, PendingConnections},
    watched::{Direction, Watched},
    write_timer::WriteTimer,
};
