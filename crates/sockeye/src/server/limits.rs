//! How many clients a server takes, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use sockeye_proto::handshake::Refusal;

use super::refuse::come_again;

/// The limits of one server, and how far they are used up.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) all: Option<usize>,
    pub(super) per_ip: Option<usize>,
    /// When those who are refused should come again.
    pub(super) retry_after: Duration,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only where there is a limit for each address.
    per_ip: HashMap<IpAddr, usize>,
}

impl Default for Limits {
    fn default() -> Self {
        let retry_after = Duration::from_secs(5);
        Self { all: None, per_ip: None, retry_after, taken: Arc::default() }
    }
}

impl Limits {
    /// Takes a place for a client, or says why there is none.
    pub(super) fn admit(&self, peer: Option<IpAddr>) -> Result<Slot, Refusal> {
        let address = peer.map(network).filter(|_| self.per_ip.is_some());
        let mut taken = self.taken();
        if self.all.is_some_and(|limit| taken.all >= limit) {
            return Err(self.unavailable("the server has as many connections as it may"));
        }
        if let (Some(address), Some(limit)) = (address, self.per_ip) {
            let from_there = taken.per_ip.entry(address).or_default();
            if *from_there >= limit.max(1) {
                let text = "there are too many connections from this address";
                return Err(come_again(StatusCode::TOO_MANY_REQUESTS, text, self.retry_after));
            }
            *from_there += 1;
        }
        taken.all += 1;
        Ok(Slot { limits: self.taken.clone(), address: address.map(Box::new) })
    }

    /// The answer while the server takes nobody.
    pub(super) fn unavailable(&self, text: &str) -> Refusal {
        come_again(StatusCode::SERVICE_UNAVAILABLE, text, self.retry_after)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    limits: Arc<Mutex<Taken>>,
    /// Boxed: few servers have such a limit, and each connection has a slot.
    address: Option<Box<IpAddr>>,
}

impl crate::socket::Companion for Slot {}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(address) = &self.address else { return };
        if let Some(from_there) = taken.per_ip.get_mut(address) {
            *from_there -= 1;
            if *from_there == 0 {
                taken.per_ip.remove(address);
            }
        }
    }
}

/// What counts as one address: of IPv6 a whole /64, which one household or machine has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(limits: &Limits, address: &str) -> Result<Slot, StatusCode> {
        limits.admit(Some(address.parse().unwrap())).map_err(|refusal| refusal.status())
    }

    #[test]
    fn addresses_are_counted_one_by_one_and_ipv6_by_network() {
        let limits = Limits { per_ip: Some(1), ..Limits::default() };
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
        let limits = Limits { all: Some(1), ..Limits::default() };
        let slot = limits.admit(None).unwrap();
        assert_eq!(admit(&limits, "192.0.2.1").unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        drop(slot);
        assert!(admit(&limits, "192.0.2.1").is_ok());
        assert!(limits.taken().per_ip.is_empty());
    }
}
