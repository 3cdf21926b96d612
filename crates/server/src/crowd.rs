//! How many connections there are, in all and from one address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye::internals::share_of_reserve;

use crate::throttle::Network;

/// The connections of one server, and how many it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    max: Option<usize>,
    max_per_address: Option<usize>,
    /// Connections that are told at once that there is no place for them.
    max_refused: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Connections that are only told that there is no place.
    refused: usize,
    /// How many connections found no place, since the start.
    refusals: u64,
    /// Only where there is a limit for each address.
    per_address: HashMap<Network, usize>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The server has as many connections as it takes.
    Server,
    /// This address has as many as one may have.
    Address,
}

impl Crowd {
    /// No limit for what is `None`.
    pub(crate) fn new(max: Option<usize>, max_per_address: Option<usize>) -> Self {
        let max_refused = share_of_reserve();
        Self(Arc::new(Inner { max, max_per_address, max_refused, taken: Mutex::default() }))
    }

    /// Takes a place for a connection from there, if there is one, or if `make_room` has ended another
    /// connection, whose place will be free in a moment.
    pub(crate) fn admit(
        &self,
        network: Option<Network>,
        make_room: impl FnOnce() -> bool,
    ) -> Result<Seat, Full> {
        let mut taken = self.taken();
        self.has_room_for(&taken, network)?;
        if self.0.max.is_some_and(|max| taken.all >= max) && !make_room() {
            return Err(Full::Server);
        }
        let network = self.count(&mut taken, network)?;
        taken.all += 1;
        Ok(Seat::new(Place { crowd: self.clone(), kind: Kind::Connection(network) }))
    }

    /// Takes a place for one who shares his connection with others: it counts for his address alone.
    pub(crate) fn admit_client(&self, network: Option<Network>) -> Result<Seat, Full> {
        let network = self.count(&mut self.taken(), network)?;
        Ok(Seat::new(Place { crowd: self.clone(), kind: Kind::Client(network) }))
    }

    /// Whether the address may have one more, if addresses are counted.
    fn has_room_for(&self, taken: &Taken, network: Option<Network>) -> Result<(), Full> {
        let Some((max, network)) = self.0.max_per_address.zip(network) else { return Ok(()) };
        match taken.per_address.get(&network) {
            Some(from_there) if *from_there >= max.max(1) => Err(Full::Address),
            _ => Ok(()),
        }
    }

    /// Counts one more for the address, if addresses are counted.
    fn count(&self, taken: &mut Taken, network: Option<Network>) -> Result<Option<Network>, Full> {
        self.has_room_for(taken, network)?;
        let network = network.filter(|_| self.0.max_per_address.is_some());
        if let Some(network) = network {
            *taken.per_address.entry(network).or_default() += 1;
        }
        Ok(network)
    }

    /// Takes a place for a connection that is to be told that there is none. There are few of these
    /// places; where all are taken, `make_room` may end such a connection.
    pub(crate) fn refuse(&self, make_room: impl FnOnce() -> bool) -> Option<Seat> {
        let mut taken = self.taken();
        taken.refusals += 1;
        if taken.refused >= self.0.max_refused && !make_room() {
            return None;
        }
        taken.refused += 1;
        Some(Seat::new(Place { crowd: self.clone(), kind: Kind::Refused }))
    }

    /// How many connections there may be, if there is a limit.
    pub(crate) fn max(&self) -> Option<usize> {
        self.0.max
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.taken().all
    }

    /// How many connections found no place, since the start.
    pub(crate) fn refusals(&self) -> u64 {
        self.taken().refusals
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Each change is complete before anything in it can panic.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, held by all that goes on upon it, a WebSocket that it has become among
/// that. The last clone that is dropped gives the place to another.
#[derive(Clone, Debug)]
pub(crate) struct Seat(#[expect(dead_code, reason = "held, and never looked at")] Arc<Place>);

impl Seat {
    fn new(place: Place) -> Self {
        Self(Arc::new(place))
    }
}

#[derive(Debug)]
struct Place {
    crowd: Crowd,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Counted for this address, where addresses are counted.
    Connection(Option<Network>),
    Client(Option<Network>),
    Refused,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.crowd.taken();
        let network = match self.kind {
            Kind::Connection(network) => {
                taken.all -= 1;
                network
            }
            Kind::Client(network) => network,
            Kind::Refused => {
                taken.refused -= 1;
                return;
            }
        };
        if let Some(network) = network
            && let Some(count) = taken.per_address.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                taken.per_address.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn network(address: &str) -> Option<Network> {
        Some(Network::from(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn a_place_is_free_again_when_all_have_left_it() {
        let crowd = Crowd::new(Some(3), Some(2));
        let (ann, ben) = (network("192.0.2.1"), network("192.0.2.2"));
        let first = crowd.admit(ann, || false).unwrap();
        let second = crowd.admit(ann, || false).unwrap();
        assert_eq!(crowd.admit(ann, || false).unwrap_err(), Full::Address);
        let _third = crowd.admit(ben, || false).unwrap();
        assert_eq!(crowd.admit(ben, || false).unwrap_err(), Full::Server);
        let websocket = first.clone();
        drop(first);
        assert!(crowd.admit(ann, || false).is_err());
        drop(websocket);
        let _again = crowd.admit(ann, || false).unwrap();
        drop(second);
        assert!(crowd.admit(ann, || false).is_ok());
    }

    #[test]
    fn who_shares_a_connection_counts_for_his_address_alone() {
        let crowd = Crowd::new(Some(1), Some(1));
        let _proxy = crowd.admit(None, || false).unwrap();
        let (ann, ben) = (network("192.0.2.1"), network("192.0.2.2"));
        let of_ann = crowd.admit_client(ann).unwrap();
        let _of_ben = crowd.admit_client(ben).unwrap();
        assert_eq!(crowd.admit_client(ann).unwrap_err(), Full::Address);
        drop(of_ann);
        assert!(crowd.admit_client(ann).is_ok());
    }

    #[test]
    fn only_a_few_are_told_at_once_that_there_is_no_place() {
        let crowd = Crowd::new(Some(1), None);
        let refused: Vec<_> = std::iter::from_fn(|| crowd.refuse(|| false)).collect();
        assert_eq!(refused.len(), crowd.0.max_refused);
        let _visitor = crowd.admit(None, || false).unwrap();
        drop(refused);
        assert!(crowd.refuse(|| false).is_some());
    }

    #[test]
    fn nothing_stays_of_those_who_left() {
        let crowd = Crowd::new(None, Some(1));
        for number in 0..1000_u32 {
            drop(crowd.admit(Some(Network::from(IpAddr::V4(number.into()))), || false).unwrap());
        }
        assert!(crowd.taken().per_address.is_empty());
        assert_eq!(crowd.taken().all, 0);
        let _unix = [crowd.admit(None, || false).unwrap(), crowd.admit(None, || false).unwrap()];
    }
}
