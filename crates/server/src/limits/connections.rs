//! The permit of a connection, as all that uses the connection holds it. What counts them is that of the
//! library.

use std::sync::Arc;

use sockeye::internals::{ClientPermit, Permit, RefusalPermit};
pub(crate) use sockeye::internals::{ConnectionLimiter, LimitReached};

/// Allows one connection. All that uses the connection holds a clone, a WebSocket that it has become as
/// well; the permit is free when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPermit(#[expect(dead_code, reason = "held, and never read")] Arc<Held>);

#[derive(Debug)]
#[expect(dead_code, reason = "held, and never read")]
enum Held {
    Connection(Permit),
    Client(ClientPermit),
    Refusal(RefusalPermit),
}

impl From<Permit> for ConnectionPermit {
    fn from(permit: Permit) -> Self {
        Self(Arc::new(Held::Connection(permit)))
    }
}

impl From<ClientPermit> for ConnectionPermit {
    fn from(permit: ClientPermit) -> Self {
        Self(Arc::new(Held::Client(permit)))
    }
}

impl From<RefusalPermit> for ConnectionPermit {
    fn from(permit: RefusalPermit) -> Self {
        Self(Arc::new(Held::Refusal(permit)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use sockeye::internals::Network;

    use super::*;

    fn network(address: &str) -> Option<Network> {
        Some(Network::from(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn a_permit_is_free_when_its_last_clone_is_dropped() {
        let limiter = ConnectionLimiter::new(Some(3), Some(2));
        let acquire = |network| limiter.acquire(network, || false).map(ConnectionPermit::from);
        let (ann, ben) = (network("192.0.2.1"), network("192.0.2.2"));
        let first = acquire(ann).unwrap();
        let second = acquire(ann).unwrap();
        assert_eq!(acquire(ann).unwrap_err(), LimitReached::Address);
        let _third = acquire(ben).unwrap();
        assert_eq!(acquire(ben).unwrap_err(), LimitReached::Server);
        let websocket = first.clone();
        drop(first);
        assert!(acquire(ann).is_err());
        drop(websocket);
        let _again = acquire(ann).unwrap();
        drop(second);
        assert!(acquire(ann).is_ok());
    }
}
