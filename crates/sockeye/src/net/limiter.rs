//! How many connections a server has, in all and per address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::share_of_reserve;

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// An IPv4 address, or a /64 of IPv6, which belongs to one household or machine.
    Ip(IpAddr),
    /// All clients on Unix sockets: programs on this machine.
    Unix,
}

impl Network {
    /// Its address, or its first one; `None` for Unix sockets.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address),
            Self::Unix => None,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self::Ip(match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Counts the connections of one server, and limits them. Clones are the same. The default has no limit.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLimiter(Arc<LimiterState>);

#[derive(Debug, Default)]
struct LimiterState {
    max: Option<usize>,
    max_per_address: Option<usize>,
    /// Connections that are answered with a refusal at a time. An evicted one counts until it is closed.
    max_refused: usize,
    /// Evicted connections beyond `max` that are not closed yet.
    max_closing: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Connections that are being answered with a refusal.
    refused: usize,
    /// How many connections were over a limit, since the start.
    refusals: u64,
    /// Only where there is a limit for each address.
    per_address: HashMap<Network, usize>,
}

impl Counts {
    fn release(&mut self, network: Option<&Network>) {
        let Some(network) = network else { return };
        if let Some(count) = self.per_address.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(network);
            }
        }
    }
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// The server has as many connections as it may.
    Server,
    /// The address has as many connections as it may.
    Address,
}

impl ConnectionLimiter {
    /// No limit for what is `None`.
    pub fn new(max: Option<usize>, max_per_address: Option<usize>) -> Self {
        let max_refused = share_of_reserve();
        // Closed at once, unless the runtime has more to do than it can.
        let max_closing = max_refused.div_ceil(2);
        let counts = Mutex::default();
        Self(Arc::new(LimiterState { max, max_per_address, max_refused, max_closing, counts }))
    }

    /// A permit for a connection from there, if the limits allow it, or if `make_room` has ended
    /// another connection, whose permit will be free in a moment. Only a few such permits are
    /// given in advance: an evicted connection has its descriptor until it is closed.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn acquire(
        &self,
        network: Option<Network>,
        make_room: impl FnOnce() -> bool,
    ) -> Result<Permit, LimitReached> {
        let mut counts = self.counts();
        self.has_room_for(&counts, network)?;
        if let Some(max) = self.0.max
            && counts.all >= max
            && (counts.all - max >= self.0.max_closing || !make_room())
        {
            return Err(LimitReached::Server);
        }
        let network = self.count(&mut counts, network)?;
        counts.all += 1;
        Ok(Permit { limiter: self.clone(), network })
    }

    /// A permit for a client that shares its connection with others: it counts for its address alone.
    ///
    /// # Errors
    ///
    /// When the address has as many as it may.
    pub fn acquire_client(&self, network: Option<Network>) -> Result<ClientPermit, LimitReached> {
        let network = self.count(&mut self.counts(), network)?;
        Ok(ClientPermit { limiter: self.clone(), network })
    }

    /// Whether the address may have one more, if addresses are counted.
    fn has_room_for(&self, counts: &Counts, network: Option<Network>) -> Result<(), LimitReached> {
        let Some((max, network)) = self.0.max_per_address.zip(network) else { return Ok(()) };
        match counts.per_address.get(&network) {
            Some(from_there) if *from_there >= max.max(1) => Err(LimitReached::Address),
            _ => Ok(()),
        }
    }

    /// Counts one more for the address, if addresses are counted.
    fn count(
        &self,
        counts: &mut Counts,
        network: Option<Network>,
    ) -> Result<Option<Box<Network>>, LimitReached> {
        self.has_room_for(counts, network)?;
        let network = network.filter(|_| self.0.max_per_address.is_some());
        if let Some(network) = network {
            *counts.per_address.entry(network).or_default() += 1;
        }
        Ok(network.map(Box::new))
    }

    /// A permit for a connection that is answered with a refusal. There are few of them; when half are in
    /// use, `make_room` is to end such a connection for each new one.
    pub fn acquire_for_refusal(&self, make_room: impl FnOnce() -> bool) -> Option<RefusalPermit> {
        let mut counts = self.counts();
        counts.refusals += 1;
        if counts.refused >= self.0.max_refused.div_ceil(2) {
            make_room();
        }
        if counts.refused >= self.0.max_refused {
            return None;
        }
        counts.refused += 1;
        Some(RefusalPermit(self.clone()))
    }

    /// Whether the limit of connections is reached.
    pub fn is_full(&self) -> bool {
        self.0.max.is_some_and(|max| self.counts().all >= max)
    }

    /// The limit of connections, if there is one.
    pub fn max(&self) -> Option<usize> {
        self.0.max
    }

    /// The limit of connections from one address, if there is one.
    pub fn max_per_address(&self) -> Option<usize> {
        self.0.max_per_address
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.counts().all
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections were over a limit, since the start.
    pub fn refusals(&self) -> u64 {
        self.counts().refusals
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change is complete before anything in it can panic.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Allows one connection, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: ConnectionLimiter,
    /// Boxed: few servers count addresses, and every connection has a permit.
    network: Option<Box<Network>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.all -= 1;
        counts.release(self.network.as_deref());
    }
}

impl crate::socket::Attachment for Permit {}

/// Allows one client of a connection that several share, until it is dropped.
#[derive(Debug)]
pub struct ClientPermit {
    limiter: ConnectionLimiter,
    network: Option<Box<Network>>,
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.limiter.counts().release(self.network.as_deref());
    }
}

/// Allows one connection to be answered with a refusal, until it is dropped.
#[derive(Debug)]
pub struct RefusalPermit(ConnectionLimiter);

impl Drop for RefusalPermit {
    fn drop(&mut self) {
        self.0.counts().refused -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Option<Network> {
        Some(Network::from(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn a_client_that_shares_a_connection_counts_for_its_address_alone() {
        let limiter = ConnectionLimiter::new(Some(1), Some(1));
        let _proxy = limiter.acquire(None, || false).unwrap();
        let (ann, ben) = (network("192.0.2.1"), network("192.0.2.2"));
        let of_ann = limiter.acquire_client(ann).unwrap();
        let _of_ben = limiter.acquire_client(ben).unwrap();
        assert_eq!(limiter.acquire_client(ann).unwrap_err(), LimitReached::Address);
        drop(of_ann);
        assert!(limiter.acquire_client(ann).is_ok());
    }

    #[test]
    fn only_a_few_connections_are_refused_at_a_time() {
        let limiter = ConnectionLimiter::new(Some(1), None);
        let refused: Vec<_> =
            std::iter::from_fn(|| limiter.acquire_for_refusal(|| false)).collect();
        assert_eq!(refused.len(), limiter.0.max_refused);
        let _visitor = limiter.acquire(None, || false).unwrap();
        drop(refused);
        assert!(limiter.acquire_for_refusal(|| false).is_some());
    }

    #[test]
    fn evicted_connections_count_until_they_are_closed() {
        let limiter = ConnectionLimiter::new(Some(100), None);
        let all: Vec<_> = std::iter::from_fn(|| limiter.acquire(None, || true).ok()).collect();
        assert_eq!(all.len(), 100 + limiter.0.max_closing);
        drop(all);
        let refused: Vec<_> = std::iter::from_fn(|| limiter.acquire_for_refusal(|| true)).collect();
        assert_eq!(refused.len(), limiter.0.max_refused);
        drop(refused);
        assert!(
            limiter.acquire_for_refusal(|| true).is_some()
                && limiter.acquire(None, || true).is_ok()
        );
    }

    #[test]
    fn ended_connections_leave_nothing_behind() {
        let limiter = ConnectionLimiter::new(None, Some(1));
        for number in 0..1000_u32 {
            drop(
                limiter.acquire(Some(Network::from(IpAddr::V4(number.into()))), || false).unwrap(),
            );
        }
        assert!(limiter.counts().per_address.is_empty());
        assert_eq!(limiter.counts().all, 0);
        let _unix =
            [limiter.acquire(None, || false).unwrap(), limiter.acquire(None, || false).unwrap()];
    }
}
