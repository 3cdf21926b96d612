//! Which end of a WebSocket a frame is from.

/// The two ends of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that asked for the connection. It masks every frame (RFC 6455 §5.1).
    Client,
    /// The end that accepted it. It masks none.
    Server,
}

impl Role {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
