//! The permit of a connection, as all that uses the connection holds it. What counts them is that of the
//! library.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use sockeye::internals::{ClientPermit, Permit, RefusalPermit};
pub(crate) use sockeye::internals::{ConnectionLimiter, LimitReached};

/// Allows one connection. All that uses the connection holds a clone, a WebSocket that it has become as
/// well; the permit is free when the last clone is dropped.
///
/// What is noted of the peer is with it: each connection has both, and so both are one allocation.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPermit(Arc<Held>);

/// The marks beside each kind of permit: so they take no more than that.
#[derive(Debug)]
enum Held {
    Connection(AtomicU8, #[expect(dead_code, reason = "held, and never read")] Permit),
    Client(AtomicU8, #[expect(dead_code, reason = "held, and never read")] ClientPermit),
    Refusal(AtomicU8, #[expect(dead_code, reason = "held, and never read")] RefusalPermit),
    /// Of what is not counted.
    Nothing(AtomicU8),
}

impl ConnectionPermit {
    /// What is noted of the peer.
    pub(crate) fn marks(&self) -> &AtomicU8 {
        match &*self.0 {
            Held::Connection(marks, _)
            | Held::Client(marks, _)
            | Held::Refusal(marks, _)
            | Held::Nothing(marks) => marks,
        }
    }

    /// Whether it is that of the same connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for ConnectionPermit {
    fn default() -> Self {
        Self(Arc::new(Held::Nothing(AtomicU8::default())))
    }
}

impl From<Permit> for ConnectionPermit {
    fn from(permit: Permit) -> Self {
        Self(Arc::new(Held::Connection(AtomicU8::default(), permit)))
    }
}

impl From<ClientPermit> for ConnectionPermit {
    fn from(permit: ClientPermit) -> Self {
        Self(Arc::new(Held::Client(AtomicU8::default(), permit)))
    }
}

impl From<RefusalPermit> for ConnectionPermit {
    fn from(permit: RefusalPermit) -> Self {
        Self(Arc::new(Held::Refusal(AtomicU8::default(), permit)))
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

    /// Each connection has one.
    #[test]
    fn a_permit_has_40_bytes() {
        assert!(2 * size_of::<usize>() + size_of::<Held>() <= 40, "{}", size_of::<Held>());
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
