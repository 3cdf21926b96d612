//! Proxies in front of the server whose word counts: they say in `X-Forwarded-For` who asks.

use std::net::IpAddr;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A range of addresses, as `10.0.0.0/8`; a single address is a range of one (RFC 4632 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// The text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a range of addresses as 10.0.0.0/8, fd00::/8 or 127.0.0.1")]
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

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Who asks, where a request came from `peer`: itself, unless it is one of the trusted proxies; then
/// the last whom they name that is none of them. What stands before that anybody can have written.
pub(crate) fn client(trusted: &[Cidr], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|range| range.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().rev().map(|line| line.to_str());
    let named = lines.flat_map(|line| line.unwrap_or("?").rsplit(','));
    let mut nearest = peer;
    for name in named {
        // Who cannot be read is somebody behind the proxy that wrote this: that one is known.
        let Ok(address) = name.trim().parse() else { break };
        nearest = address;
        if !is_trusted(address) {
            break;
        }
    }
    nearest
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

    #[test]
    fn only_trusted_proxies_say_who_asks() {
        let trusted = ["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let asks = |peer: &str, lines: &[&str]| {
            let lines = lines.iter().map(|line| (FORWARDED_FOR, line.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            client(&trusted, ip(peer), &headers).to_string()
        };
        assert_eq!(asks("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(asks("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(asks("127.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        // The client itself has written the first.
        assert_eq!(asks("127.0.0.1", &["198.51.100.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(asks("127.0.0.1", &["198.51.100.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(asks("127.0.0.1", &["203.0.113.9, 10.1.2.3"]), "203.0.113.9");
        assert_eq!(asks("127.0.0.1", &["10.0.0.1, 10.1.2.3"]), "10.0.0.1");
        assert_eq!(asks("127.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        for garbage in ["unknown", "", "203.0.113.9:80", "a, b"] {
            assert_eq!(asks("127.0.0.1", &[garbage]), "127.0.0.1", "{garbage}");
        }
        assert_eq!(asks("127.0.0.1", &["203.0.113.9, unknown, 10.1.2.3"]), "10.1.2.3");
    }
}
