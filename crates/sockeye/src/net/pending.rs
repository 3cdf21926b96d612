//! Connections that have not sent a complete request yet. They are the first to end when the server
//! needs a place or a descriptor.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// How long a connection that has sent something is safe. A handshake or a head under way is cheaper
/// to finish than to begin again, so an honest rush makes progress.
const GRACE: Duration = Duration::from_secs(1);

/// The pending connections of one server. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct PendingConnections(Arc<Mutex<Register>>);

#[derive(Debug, Default)]
struct Register {
    next: u64,
    /// Nothing has arrived on these. In the order of their acceptance.
    silent: BTreeMap<u64, Arc<Notify>>,
    /// Something has arrived on these, and the peer has to send more.
    begun: BTreeMap<u64, (Instant, Arc<Notify>)>,
    evicted: u64,
}

impl PendingConnections {
    /// Adds a connection that was just accepted.
    pub fn register(&self) -> Pending {
        let evicted = Arc::new(Notify::new());
        let mut register = self.lock();
        let number = register.next;
        register.next += 1;
        register.silent.insert(number, Arc::clone(&evicted));
        drop(register);
        Pending { set: self.clone(), number, evicted, is_settled: AtomicBool::new(false) }
    }

    /// Ends the oldest connection on which nothing has arrived; if there is none, the oldest that has
    /// been waiting for its peer for a second. `false` if there is none of these either.
    pub fn evict_oldest(&self) -> bool {
        let mut register = self.lock();
        let oldest = match register.silent.pop_first() {
            Some((_, oldest)) => oldest,
            None => match register.begun.first_entry() {
                Some(entry) if entry.get().0.elapsed() >= GRACE => entry.remove().1,
                _ => return false,
            },
        };
        register.evicted += 1;
        oldest.notify_one();
        true
    }

    /// How many connections wait for their peer.
    pub fn len(&self) -> usize {
        let register = self.lock();
        register.silent.len() + register.begun.len()
    }

    /// Whether no connection waits for its peer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were ended to make room.
    pub fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        // Each change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's entry; dropped or [settled](Self::settle), the connection is safe.
#[derive(Debug)]
pub struct Pending {
    set: PendingConnections,
    number: u64,
    evicted: Arc<Notify>,
    is_settled: AtomicBool,
}

impl Pending {
    /// Says that something has arrived, and that the peer has to send more.
    pub fn begin(&self) {
        if self.is_settled.load(Relaxed) {
            return;
        }
        let mut register = self.set.lock();
        // An evicted connection is in neither map, and stays out.
        if register.silent.remove(&self.number).is_some() {
            register.begun.insert(self.number, (Instant::now(), Arc::clone(&self.evicted)));
        }
    }

    /// Runs something that waits for the server, not for the peer: the connection is safe meanwhile.
    pub async fn safe<T>(&self, work: impl Future<Output = T>) -> T {
        let removed = {
            let mut register = self.set.lock();
            register.silent.remove(&self.number).is_some()
                || register.begun.remove(&self.number).is_some()
        };
        let done = work.await;
        if removed {
            let entry = (Instant::now(), Arc::clone(&self.evicted));
            self.set.lock().begun.insert(self.number, entry);
        }
        done
    }

    /// Runs something that waits for the peer; `None` if the connection is to end first. An evicted
    /// connection ends even if the peer has sent what was waited for: its place is another's.
    pub async fn or_evicted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.evicted() => None,
            done = work => Some(done),
        }
    }

    /// Waits until the connection is to end.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Says that a complete request has arrived: the connection is not pending any more. `false` if it
    /// was evicted before, and is to end.
    pub fn settle(&self) -> bool {
        if self.is_settled.swap(true, Relaxed) {
            return true;
        }
        let mut register = self.set.lock();
        register.silent.remove(&self.number).is_some()
            || register.begun.remove(&self.number).is_some()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_connection_ends_first_and_begun_ones_after_a_grace() {
        let set = PendingConnections::default();
        let [begun, old, new] = [(); 3].map(|()| set.register());
        begun.begin();
        assert!(set.evict_oldest());
        assert_eq!(old.or_evicted(pending::<()>()).await, None);
        assert!(set.evict_oldest());
        assert_eq!(new.or_evicted(pending::<()>()).await, None);
        assert!(!set.evict_oldest(), "its head may be on the way");
        advance(GRACE).await;
        assert!(set.evict_oldest());
        assert_eq!(begun.or_evicted(pending::<()>()).await, None);
        assert_eq!((set.len(), set.evicted()), (0, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_safe_while_the_server_works_for_it_and_when_it_is_settled() {
        let set = PendingConnections::default();
        let (working, settled) = (set.register(), set.register());
        settled.settle();
        settled.begin();
        let evicts = async {
            advance(GRACE * 10).await;
            set.evict_oldest()
        };
        assert!(!working.safe(evicts).await);
        assert_eq!(set.len(), 1);
        advance(GRACE).await;
        assert!(set.evict_oldest());
        assert_eq!(working.or_evicted(ready("arrived")).await, None, "its place is another's");
        assert!(!working.settle());
        let served = set.register();
        assert_eq!(served.or_evicted(ready("arrived")).await, Some("arrived"));
        assert!(served.settle() && served.settle());
        drop((working, settled, served));
        assert!(set.is_empty());
    }
}
