//! Accounts: what a caller's messages are charged to, so that no caller uses up all storage.
//!
//! An account is what a caller cannot choose: the token's `sub`, else the token, else the address. A
//! name that a caller gives itself (`?as=`) is not an account.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sockeye::internals::Network;

use super::Claims;
use super::caller::{Caller, Identity};

/// A network in eight bytes, for it is kept with every connection: the /64 of an IPv6 address, or an
/// IPv4 address behind four bytes that begin a multicast address (`ff…`), which is never a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedNetwork(u64);

const V4: u64 = 0xffff_ffff << 32;

impl PackedNetwork {
    pub(super) fn of(network: Option<Network>) -> Self {
        Self(match network.and_then(Network::address) {
            None => 0,
            Some(IpAddr::V4(address)) => V4 | u64::from(address.to_bits()),
            Some(IpAddr::V6(address)) => (address.to_bits() >> 64) as u64,
        })
    }

    pub(super) fn name(self) -> String {
        match self.0 {
            0 => "address unknown".to_owned(),
            bits if bits >= V4 => format!("address {}", Ipv4Addr::from_bits(bits as u32)),
            bits => format!("address {}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

/// The name of a token's account: `subject ann`, or `token` and a hash of the token. The hash covers
/// what is signed: another spelling of the signature gives the same account.
pub(super) fn of_token(claims: &Claims, token: &str) -> Box<str> {
    if let Some(sub) = &claims.sub {
        return format!("subject {sub}").into();
    }
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    let hash = digest::digest(&digest::SHA256, signed.as_bytes());
    format!("token {}", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])).into()
}

impl Caller {
    /// The account that the caller's publications are charged to, in words that the caller may read.
    pub(crate) fn account(&self) -> Cow<'_, str> {
        match self.identity() {
            Identity::Unchecked(network) => network.name().into(),
            Identity::Named(named) => named.network.name().into(),
            Identity::Bearer(session) => Cow::Borrowed(&session.account),
            Identity::Asked(session) => Cow::Borrowed(&session.account),
            Identity::Anonymous | Identity::Unidentified | Identity::Ruled(_) => {
                PackedNetwork::of(None).name().into()
            }
        }
    }

    /// The publisher that idempotency keys belong to: the token's `sub`, else the token; where there
    /// are no tokens, the name that the caller gives itself, or one that all others share.
    pub(crate) fn publisher(&self) -> &str {
        match self.identity() {
            // A `sub` that looks the same is harmless: the hash of a token is unknown without the
            // token.
            Identity::Bearer(session) => session.claims.sub.as_deref().unwrap_or(&session.account),
            Identity::Asked(session) => session.subject.as_deref().unwrap_or(&session.account),
            _ => self.id().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(address: &str) -> String {
        let address: IpAddr = address.parse().unwrap();
        PackedNetwork::of(Some(Network::from(address))).name()
    }

    #[test]
    fn an_address_is_an_account_as_limits_count_it() {
        assert_eq!(name("203.0.113.7"), "address 203.0.113.7");
        assert_eq!(name("::ffff:203.0.113.7"), "address 203.0.113.7");
        assert_eq!(name("2001:db8:1:2::7"), "address 2001:db8:1:2::/64");
        assert_eq!(name("2001:db8:1:2:3::8"), name("2001:db8:1:2::7"));
        assert_ne!(name("2001:db8:1:3::7"), name("2001:db8:1:2::7"));
        assert_eq!(PackedNetwork::of(None).name(), "address unknown");
    }

    #[test]
    fn tokens_without_a_subject_are_told_apart_by_what_they_say() {
        let unnamed = Claims::default();
        let ann = Claims { sub: Some("ann".to_owned()), ..Claims::default() };
        assert_eq!(&*of_token(&ann, "a.b.c"), "subject ann");
        assert_eq!(of_token(&unnamed, "a.b.c"), of_token(&unnamed, "a.b.d"));
        assert_ne!(of_token(&unnamed, "a.b.c"), of_token(&unnamed, "a.x.c"));
    }
}
