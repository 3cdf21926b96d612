//! Proxies that are trusted for the client's address. They say it in [headers](crate::net::forwarded)
//! or [before the first byte](crate::net::proxy_protocol).

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A range of addresses, as `10.0.0.0/8`; a single address is a range of one (RFC 4632 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(IpNet);

/// The text is not a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a range of addresses as 10.0.0.0/8, fd00::/8 or 127.0.0.1, a proxy on a Unix socket as unix"
)]
pub struct BadCidr;

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().map(|address: IpAddr| Self(address.into())).map_err(|_| BadCidr);
        };
        // The standard library reads the address: `ipnet` takes 010.0.0.0 for 10.0.0.0, others for 8.0.0.0.
        let address: IpAddr = address.parse().map_err(|_| BadCidr)?;
        let prefix = prefix.parse().map_err(|_| BadCidr)?;
        IpNet::new(address, prefix).map(Self).map_err(|_| BadCidr)
    }
}

impl Cidr {
    /// Whether the address is in the range. An IPv4 address that came by IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// A proxy that is trusted for the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Any peer from there.
    Network(Cidr),
    /// Any peer on a Unix socket of the server. Written `unix`.
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

/// Whether a peer with this address, or on a Unix socket, is one of the trusted proxies.
pub(crate) fn is_trusted(trusted: &[TrustedProxy], address: Option<IpAddr>, is_unix: bool) -> bool {
    match address {
        Some(address) => trusted.iter().any(|proxy| proxy.contains(address)),
        None => is_unix && trusted.contains(&TrustedProxy::Unix),
    }
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
            "010.0.0.0/8",
            "localhost",
            "/8",
            "10.0.0.0/8/8",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
