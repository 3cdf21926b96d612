//! How often something may be done from one address: so many times in a second, and twice as many
//! at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Addresses kept before those are looked for that have been quiet.
const FEW: usize = 1024;

/// A limit for each address.
///
/// For each one nothing is kept but the time at which it will have used up what it has taken (the
/// generic cell rate algorithm, ITU-T I.371); once that is past, nothing is kept.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// 0 where there is no limit.
    per_second: AtomicU32,
    busy: Mutex<Busy>,
}

#[derive(Debug, Default)]
struct Busy {
    until: HashMap<Network, Instant>,
    /// How many there may be before the quiet ones are dropped.
    sweep_at: usize,
}

impl Throttle {
    /// So many in a second, at least one; `None` for no limit.
    pub(crate) fn new(per_second: impl Into<Option<u32>>) -> Self {
        let busy = Busy { until: HashMap::new(), sweep_at: FEW };
        let throttle = Self { per_second: AtomicU32::new(0), busy: Mutex::new(busy) };
        throttle.set(per_second.into());
        throttle
    }

    /// From now on so many in a second. What was taken before stays taken.
    pub(crate) fn set(&self, per_second: Option<u32>) {
        self.per_second.store(per_second.map_or(0, |count| count.max(1)), Relaxed);
    }

    /// Takes one for this address, or says after which time there is one.
    pub(crate) fn take(&self, network: Network) -> Result<(), Duration> {
        let per_second = self.per_second.load(Relaxed);
        if per_second == 0 {
            return Ok(());
        }
        // The time that one of them takes, and how far one may be ahead.
        let each = Duration::from_secs(1) / per_second;
        let burst = each * per_second * 2;
        let now = Instant::now();
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let until = busy.until.get(&network).map_or(now, |until| *until).max(now) + each;
        let ahead = until - now;
        if ahead > burst {
            return Err(ahead - burst);
        }
        busy.until.insert(network, until);
        if busy.until.len() >= busy.sweep_at {
            busy.until.retain(|_, until| *until > now);
            busy.sweep_at = FEW.max(busy.until.len() * 2);
        }
        Ok(())
    }
}

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    /// An IPv4 address, or the /64 that one customer has of IPv6.
    Ip(IpAddr),
    /// All that come by Unix sockets: programs on this machine.
    Unix,
}

impl Network {
    /// Its address, or its first one; `None` of Unix sockets.
    pub(crate) fn address(self) -> Option<IpAddr> {
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn network(address: &str) -> Network {
        Network::from(address.parse::<IpAddr>().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn twice_a_seconds_worth_at_once_and_then_one_after_the_other() {
        let throttle = Throttle::new(10);
        let ann = network("192.0.2.1");
        assert_eq!((0..30).filter(|_| throttle.take(ann).is_ok()).count(), 20);
        assert_eq!(throttle.take(ann), Err(Duration::from_millis(100)));
        // Who is refused has not taken any.
        advance(Duration::from_millis(100)).await;
        assert_eq!(throttle.take(ann), Ok(()));
        assert!(throttle.take(ann).is_err());
        advance(Duration::from_secs(10)).await;
        assert_eq!((0..30).filter(|_| throttle.take(ann).is_ok()).count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_do_not_use_up_each_others() {
        let throttle = Throttle::new(1);
        for _ in 0..2 {
            throttle.take(network("192.0.2.1")).unwrap();
        }
        assert!(throttle.take(network("192.0.2.1")).is_err());
        assert!(throttle.take(network("::ffff:192.0.2.1")).is_err());
        assert_eq!(throttle.take(network("192.0.2.2")), Ok(()));
        // One customer has a whole /64.
        for host in ["2001:db8::1", "2001:db8::2"] {
            throttle.take(network(host)).unwrap();
        }
        assert!(throttle.take(network("2001:db8::3:4")).is_err());
        assert_eq!(throttle.take(network("2001:db8:0:1::1")), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_quiet_is_forgotten() {
        let throttle = Throttle::new(100);
        for number in 0..100_000_u32 {
            throttle.take(Network::Ip(IpAddr::V4(number.into()))).unwrap();
            advance(Duration::from_micros(100)).await;
        }
        let kept = throttle.busy.lock().unwrap().until.len();
        assert!(kept <= FEW, "{kept}");
    }
}
