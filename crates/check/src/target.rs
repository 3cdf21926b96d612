//! The server that is checked: how to reach it, and what its requests have.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc};

use crate::link::Stream;

/// A connection that is being made.
pub type Dialing<'d> = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'd>>;

/// Makes connections to the server, through TLS and proxies where there are any. Nothing is sent on
/// them yet.
pub trait Dial: Send + Sync {
    /// One more connection.
    fn dial(&self) -> Dialing<'_>;

    /// One more connection, to speak HTTP/2 on: negotiated with TLS, by prior knowledge without.
    fn dial_http2(&self) -> Dialing<'_>;
}

/// A server.
#[derive(Clone)]
pub struct Target {
    /// With TLS.
    pub is_secure: bool,
    /// The value of `Host`.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Fields that each request has beside those of the handshake.
    pub headers: Vec<(String, String)>,
    /// The subprotocols that each request offers.
    pub subprotocols: Vec<String>,
    /// How to reach it.
    pub dial: Arc<dyn Dial>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}{})", self.authority, self.path)
    }
}
