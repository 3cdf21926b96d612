//! The address of a peer.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Where a connection comes from, or leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket: a process of this machine.
    Unix,
    /// A stream of the program's own, of which nothing else is known.
    Other,
}

impl PeerAddr {
    /// The IP address; `None` where there is none.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix | Self::Other => None,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Other => f.write_str("a stream"),
        }
    }
}
