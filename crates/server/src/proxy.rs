//! Proxies in front of the server whose word counts. They say in [headers](crate::forwarded) or
//! [before the first byte](crate::proxy_protocol) who asks.

use std::net::IpAddr;
use std::str::FromStr;

use crate::peer::Peer;

/// A range of addresses, as `10.0.0.0/8`; a single address is a range of one (RFC 4632 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// The text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a range of addresses as 10.0.0.0/8, fd00::/8 or 127.0.0.1, a proxy on a Unix socket as unix"
)]
pub struct BadCidr;

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadCidr)?;
        let bits = bits_of(address);
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse().map_err(|_| BadCidr))?;
        if prefix <= bits { Ok(Self { address, prefix }) } else { Err(BadCidr) }
    }
}

impl Cidr {
    /// Whether the address is in the range. An IPv4 address that came by IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let differ = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                u128::from(ours.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => ours.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.prefix)
    }
}

/// A proxy that is believed what it says of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Whoever connects from there.
    Network(Cidr),
    /// Whoever connects to a Unix socket that the server listens on. Written `unix`.
    Unix,
}

impl TrustedProxy {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(range) if range.contains(address))
    }
}

impl FromStr for TrustedProxy {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        match text {
            "unix" => Ok(Self::Unix),
            range => range.parse().map(Self::Network),
        }
    }
}

/// Whether the peer is one of the trusted proxies.
pub(crate) fn is_trusted(trusted: &[TrustedProxy], peer: &Peer) -> bool {
    match peer.address() {
        Some(address) => trusted.iter().any(|proxy| proxy.contains(address)),
        None => peer.is_unix() && trusted.contains(&TrustedProxy::Unix),
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_the_addresses_that_begin_alike() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "2001:db8::1", true),
            ("192.0.2.128/25", "192.0.2.127", false),
        ];
        for (range, address, expected) in cases {
            assert_eq!(
                range.parse::<Cidr>().unwrap().contains(ip(address)),
                expected,
                "{range} {address}"
            );
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0/8",
            "localhost",
            "/8",
            "10.0.0.0/8/8",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
