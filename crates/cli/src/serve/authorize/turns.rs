//! Whose turn it is to ask: so many at once, and half of them for one address at most, so that others are served however
//! much one of them asks.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use sockeye::internals::Network;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How many questions the application is asked at once; more wait.
pub(super) const AT_ONCE: usize = 256;
/// The same of one address, or one /64.
pub(super) const OF_ADDRESS: usize = AT_ONCE / 2;
/// How many addresses are known before those without a question are forgotten.
const ADDRESSES: usize = 1024;

/// The turns of all callers.
#[derive(Debug)]
pub(super) struct Turns {
    all: Semaphore,
    of: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    turns: HashMap<Network, Arc<Semaphore>>,
    /// With how many of them it is looked for those without a question.
    most: usize,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    _of_all: SemaphorePermit<'t>,
    _of_address: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new() -> Self {
        let addresses = Addresses { turns: HashMap::new(), most: ADDRESSES };
        Self { all: Semaphore::new(AT_ONCE), of: Mutex::new(addresses) }
    }

    /// Waits for a turn. A caller without an address waits for all the others alone.
    pub(super) async fn take(&self, address: Option<IpAddr>) -> Result<Turn<'_>, AcquireError> {
        let of_address = match address {
            Some(address) => Some(self.of(address.into()).acquire_owned().await?),
            None => None,
        };
        Ok(Turn { _of_all: self.all.acquire().await?, _of_address: of_address })
    }

    fn of(&self, network: Network) -> Arc<Semaphore> {
        let mut addresses = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let Addresses { turns, most } = &mut *addresses;
        if turns.len() >= *most {
            turns.retain(|_, turns| Arc::strong_count(turns) > 1);
            *most = ADDRESSES.max(2 * turns.len());
        }
        let turns = turns.entry(network).or_insert_with(|| Arc::new(Semaphore::new(OF_ADDRESS)));
        Arc::clone(turns)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt as _;

    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from(number).into())
    }

    #[test]
    fn one_address_has_half_of_the_turns_and_all_addresses_have_all() {
        let turns = Turns::new();
        let take = |address| turns.take(address).now_or_never().map(|turn| turn.unwrap());
        let mut taken: Vec<_> = (0..OF_ADDRESS).map(|_| take(address(1)).unwrap()).collect();
        assert!(take(address(1)).is_none());
        taken.extend((OF_ADDRESS..AT_ONCE).map(|number| {
            let address = if number % 2 == 0 { None } else { address(2) };
            take(address).unwrap()
        }));
        assert!(take(address(2)).is_none() && take(None).is_none() && take(address(3)).is_none());
        taken.remove(0);
        assert!(take(address(1)).is_some());
    }

    #[test]
    fn addresses_without_a_question_are_forgotten() {
        let turns = Turns::new();
        let _turn = turns.take(address(0)).now_or_never().unwrap().unwrap();
        for number in 1..10_000 {
            turns.take(address(number)).now_or_never().unwrap().unwrap();
        }
        let known = turns.of.lock().unwrap();
        assert!(
            known.turns.len() <= ADDRESSES
                && known.turns.contains_key(&Network::Ip(address(0).unwrap()))
        );
    }
}
