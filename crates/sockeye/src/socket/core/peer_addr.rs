//! The address of a peer.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
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

/// The address of a peer as each connection keeps it, if it is known: 16 bytes, and 40 more for one of IPv6
/// that carries none of IPv4.
#[derive(Debug)]
pub(crate) enum KeptPeer {
    Unknown,
    V4(SocketAddrV4),
    /// `::ffff:192.0.2.1`, as a socket for both sees clients of IPv4.
    Mapped(SocketAddrV4),
    V6(Box<SocketAddrV6>),
    Unix,
    Other,
}

impl KeptPeer {
    pub(crate) fn told(&self) -> Option<PeerAddr> {
        Some(match self {
            Self::Unknown => return None,
            Self::V4(address) => PeerAddr::Tcp((*address).into()),
            Self::Mapped(address) => {
                let ip = address.ip().to_ipv6_mapped();
                PeerAddr::Tcp(SocketAddrV6::new(ip, address.port(), 0, 0).into())
            }
            Self::V6(address) => PeerAddr::Tcp((**address).into()),
            Self::Unix => PeerAddr::Unix,
            Self::Other => PeerAddr::Other,
        })
    }
}

impl From<Option<PeerAddr>> for KeptPeer {
    fn from(peer: Option<PeerAddr>) -> Self {
        match peer {
            None => Self::Unknown,
            Some(PeerAddr::Tcp(SocketAddr::V4(address))) => Self::V4(address),
            Some(PeerAddr::Tcp(SocketAddr::V6(address))) => match mapped(&address) {
                Some(ip) => Self::Mapped(SocketAddrV4::new(ip, address.port())),
                None => Self::V6(Box::new(address)),
            },
            Some(PeerAddr::Unix) => Self::Unix,
            Some(PeerAddr::Other) => Self::Other,
        }
    }
}

impl From<PeerAddr> for KeptPeer {
    fn from(peer: PeerAddr) -> Self {
        Some(peer).into()
    }
}

impl fmt::Display for KeptPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.told() {
            Some(peer) => peer.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// The address of IPv4 that this one carries and nothing else.
fn mapped(address: &SocketAddrV6) -> Option<Ipv4Addr> {
    address.ip().to_ipv4_mapped().filter(|_| address.flowinfo() == 0 && address.scope_id() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_told_in_half_the_room() {
        let addresses = [
            "192.0.2.1:80",
            "[::ffff:192.0.2.1]:80",
            "[::ffff:192.0.2.1%3]:80",
            "[::1]:1",
            "[fe80::1%2]:65535",
        ];
        let addresses = addresses.map(|address| PeerAddr::Tcp(address.parse().unwrap()));
        for peer in addresses.into_iter().chain([PeerAddr::Unix, PeerAddr::Other]) {
            let kept = KeptPeer::from(peer);
            assert_eq!(kept.told(), Some(peer));
            assert_eq!(kept.to_string(), peer.to_string());
        }
        assert_eq!(KeptPeer::from(None).told(), None);
        assert_eq!(size_of::<KeptPeer>(), 16);
    }
}
