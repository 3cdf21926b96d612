//! The limits on the number of clients, in all and per address, and how they are refused.

use std::{net::IpAddr, time::Duration};

use http::StatusCode;
use sockeye_proto::handshake::Refusal;

use crate::{
    net::{ConnectionLimiter, Network, Permit, defaults},
    request::retry_later,
};

/// The limits of one server, and the clients counted so far.
#[derive(Debug)]
pub(super) struct Limits {
    limiter: ConnectionLimiter,
    /// The `Retry-After` of refusals.
    pub(super) retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { limiter: ConnectionLimiter::default(), retry_after: defaults::RETRY_AFTER }
    }
}

impl Limits {
    /// Sets how many clients there may be. Before the first one.
    pub(super) fn set_max(&mut self, max: usize) {
        self.limiter = ConnectionLimiter::new(Some(max), self.limiter.max_per_address());
    }

    /// The same for each address.
    pub(super) fn set_max_per_ip(&mut self, max: usize) {
        self.limiter = ConnectionLimiter::new(self.limiter.max(), Some(max));
    }

    /// A permit for a client, or the refusal.
    pub(super) fn admit(&self, peer: Option<IpAddr>) -> Result<Permit, Refusal> {
        let permit = self.limiter.acquire(peer.map(Network::from), || false);
        permit.map_err(|_| {
            if self.limiter.is_full() {
                return self.unavailable("the server has too many connections");
            }
            let text = "too many connections from this address";
            retry_later(StatusCode::TOO_MANY_REQUESTS, text, self.retry_after)
        })
    }

    /// A refusal with 503.
    pub(super) fn unavailable(&self, text: &str) -> Refusal {
        retry_later(StatusCode::SERVICE_UNAVAILABLE, text, self.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(limits: &Limits, address: &str) -> Result<Permit, StatusCode> {
        limits.admit(Some(address.parse().unwrap())).map_err(|refusal| refusal.status())
    }

    #[test]
    fn addresses_are_counted_one_by_one_and_ipv6_by_network() {
        let mut limits = Limits::default();
        limits.set_max_per_ip(1);
        let v4 = admit(&limits, "192.0.2.1").unwrap();
        assert_eq!(admit(&limits, "192.0.2.1").unwrap_err(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(admit(&limits, "::ffff:192.0.2.1").unwrap_err(), StatusCode::TOO_MANY_REQUESTS);
        let _other = admit(&limits, "192.0.2.2").unwrap();
        let _v6 = admit(&limits, "2001:db8::1").unwrap();
        assert_eq!(admit(&limits, "2001:db8::2").unwrap_err(), StatusCode::TOO_MANY_REQUESTS);
        let _other = admit(&limits, "2001:db8:0:1::1").unwrap();
        drop(v4);
        assert!(admit(&limits, "192.0.2.1").is_ok());
    }

    #[test]
    fn a_place_given_back_can_be_taken_again() {
        let mut limits = Limits::default();
        limits.set_max(1);
        let permit = limits.admit(None).unwrap();
        assert_eq!(admit(&limits, "192.0.2.1").unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        drop(permit);
        assert!(admit(&limits, "192.0.2.1").is_ok());
    }
}
