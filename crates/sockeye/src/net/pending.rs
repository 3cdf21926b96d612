//! Connections that wait for their peer: for a first request, for the next one, or for the end of what
//! was refused. They are the first to end when the server needs a place or a descriptor.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

/// How long a connection that has sent something is safe. A handshake or a head under way is cheaper
/// to finish than to begin again, so an honest rush makes progress.
const GRACE: Duration = Duration::from_secs(1);

/// How long an idle connection of a trusted peer is safe: one that publishes now and then is not cut off
/// between two publications by those that are not known.
const TRUSTED_GRACE: Duration = Duration::from_secs(10);

/// The pending connections of one server. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct PendingConnections(Arc<Mutex<Register>>);

/// Each queue is in the order in which its connections came to wait.
#[derive(Debug, Default)]
struct Register {
    next: u64,
    /// Nothing has arrived on these.
    silent: Queue,
    /// Something has arrived on these, and the peer has to send more.
    begun: Queue,
    /// These have their answers: the peer may send another request, or is to close.
    idle: Queue,
    /// The same of peers that the server trusts.
    trusted: Queue,
    evicted: u64,
}

type Queue = BTreeMap<u64, PendingEntry>;

#[derive(Debug)]
struct PendingEntry {
    since: Instant,
    /// Wakes the task that is to end the connection.
    waker: Option<Waker>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// For the server: it is not in the register.
    Safe,
    Silent,
    Begun,
    Idle,
    Trusted,
    /// For its end.
    Evicted,
}

impl PendingConnections {
    /// Adds a connection that was just accepted.
    pub fn register(&self) -> Pending {
        let pending = self.register_served();
        pending.wait_as(&mut self.lock(), Stage::Silent, None);
        pending
    }

    /// Adds a connection whose request is complete: it is safe until it waits for its peer again.
    pub fn register_served(&self) -> Pending {
        Pending { set: self.clone(), place: AtomicU64::new(PackedStage::SAFE) }
    }

    /// Ends the oldest connection on which nothing has arrived. If there is none, the one that has
    /// waited longest of those that are idle or linger, and of those that have begun for a second or
    /// more; last those of trusted peers that have idled for ten seconds. `false` if there is none of these
    /// either.
    pub fn evict_oldest(&self) -> bool {
        let mut register = self.lock();
        let Some(oldest) = register.take_oldest() else { return false };
        register.evicted += 1;
        drop(register);
        if let Some(waker) = oldest.waker {
            waker.wake();
        }
        true
    }

    /// How many connections have not sent a complete request.
    pub fn len(&self) -> usize {
        let register = self.lock();
        register.silent.len() + register.begun.len()
    }

    /// Whether there is no such connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections have their answers: another request may come, or they are about to close.
    pub fn idle(&self) -> usize {
        let register = self.lock();
        register.idle.len() + register.trusted.len()
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

impl Register {
    fn take_oldest(&mut self) -> Option<PendingEntry> {
        if let Some((_, oldest)) = self.silent.pop_first() {
            return Some(oldest);
        }
        let begun = self.begun.first_key_value();
        let begun = begun.filter(|(_, waiting)| waiting.since.elapsed() >= GRACE);
        let begun = begun.map_or(u64::MAX, |(number, _)| *number);
        let idle = self.idle.first_key_value().map_or(u64::MAX, |(number, _)| *number);
        let queue = match begun.min(idle) {
            u64::MAX => {
                let (_, oldest) = self.trusted.first_key_value()?;
                if oldest.since.elapsed() < TRUSTED_GRACE {
                    return None;
                }
                &mut self.trusted
            }
            oldest if oldest == begun => &mut self.begun,
            _ => &mut self.idle,
        };
        queue.pop_first().map(|(_, oldest)| oldest)
    }

    fn queue(&mut self, stage: Stage) -> Option<&mut Queue> {
        match stage {
            Stage::Silent => Some(&mut self.silent),
            Stage::Begun => Some(&mut self.begun),
            Stage::Idle => Some(&mut self.idle),
            Stage::Trusted => Some(&mut self.trusted),
            Stage::Safe | Stage::Evicted => None,
        }
    }
}

/// A stage, and the number in its queue, in a word.
#[derive(Clone, Copy, Debug)]
struct PackedStage {
    stage: Stage,
    number: u64,
}

impl PackedStage {
    const SAFE: u64 = Self { stage: Stage::Safe, number: 0 }.pack();

    const fn pack(self) -> u64 {
        self.number << 3 | self.stage as u64
    }

    fn unpack(word: u64) -> Self {
        const STAGES: [Stage; 6] =
            [Stage::Safe, Stage::Silent, Stage::Begun, Stage::Idle, Stage::Trusted, Stage::Evicted];
        let stage = STAGES.get((word & 7) as usize).copied().unwrap_or(Stage::Evicted);
        Self { stage, number: word >> 3 }
    }
}

/// One connection's entry, for its one task. Dropped or [settled](Self::settle), the connection is safe.
#[derive(Debug)]
pub struct Pending {
    set: PendingConnections,
    /// Changed under the register's lock alone.
    place: AtomicU64,
}

impl Pending {
    /// Says that a part of a request has arrived, and that the peer has to send more.
    pub fn begin(&self) {
        self.advance(&[Stage::Silent, Stage::Idle, Stage::Trusted], Stage::Begun);
    }

    /// Says that the peer has all its answers: the connection waits for another request. Of a trusted peer
    /// it is kept longer than others. Ready, as [`poll_evicted`](Self::poll_evicted), when the connection is
    /// to end.
    pub fn poll_idle(&self, is_trusted: bool, cx: &mut Context<'_>) -> Poll<()> {
        if self.place().stage != Stage::Safe {
            return self.poll_evicted(cx);
        }
        // The waker comes along: all connections share the lock, so each request takes it twice, not thrice.
        let idle = if is_trusted { Stage::Trusted } else { Stage::Idle };
        self.wait_as(&mut self.set.lock(), idle, Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Says that the connection has had its last answer, and is read to the peer's end.
    pub fn linger(&self) {
        self.advance(&[Stage::Safe, Stage::Begun, Stage::Trusted], Stage::Idle);
    }

    /// Runs something that waits for the server, not for the peer: the connection is safe meanwhile.
    pub async fn safe<T>(&self, work: impl Future<Output = T>) -> T {
        self.settle();
        let done = work.await;
        self.advance(&[Stage::Safe], Stage::Begun);
        done
    }

    /// Runs something that waits for the peer; `None` if the connection is to end first. An evicted
    /// connection ends even if the peer has sent what was waited for: its place is another's.
    pub async fn or_evicted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.poll_evicted(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Ready when the connection is to end. To be polled again after it has come to wait.
    pub fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.place().stage {
            Stage::Safe => return Poll::Pending,
            Stage::Evicted => return Poll::Ready(()),
            _ => {}
        }
        let mut register = self.set.lock();
        let PackedStage { stage, number } = self.place();
        match register.queue(stage).and_then(|queue| queue.get_mut(&number)) {
            Some(waiting) => {
                match &mut waiting.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            None => {
                self.set_place(Stage::Evicted, 0);
                Poll::Ready(())
            }
        }
    }

    /// Waits until the connection is to end.
    pub async fn evicted(&self) {
        poll_fn(|cx| self.poll_evicted(cx)).await;
    }

    /// Says that a complete request has arrived: the connection is not pending any more. `false` if it
    /// was evicted before, and is to end.
    pub fn settle(&self) -> bool {
        match self.place().stage {
            Stage::Safe => return true,
            Stage::Evicted => return false,
            _ => {}
        }
        let mut register = self.set.lock();
        let was_waiting = self.leave(&mut register).is_some();
        self.set_place(if was_waiting { Stage::Safe } else { Stage::Evicted }, 0);
        was_waiting
    }

    /// Goes on to wait in another way, unless it waits in none of these or was evicted.
    fn advance(&self, from: &[Stage], to: Stage) {
        if !from.contains(&self.place().stage) {
            return;
        }
        let mut register = self.set.lock();
        if self.place().stage == Stage::Safe {
            self.wait_as(&mut register, to, None);
        } else if let Some(before) = self.leave(&mut register) {
            self.wait_as(&mut register, to, before.waker);
        } else {
            self.set_place(Stage::Evicted, 0);
        }
    }

    fn wait_as(&self, register: &mut Register, stage: Stage, waker: Option<Waker>) {
        let number = register.next;
        register.next += 1;
        let waiting = PendingEntry { since: Instant::now(), waker };
        if let Some(queue) = register.queue(stage) {
            queue.insert(number, waiting);
        }
        self.set_place(stage, number);
    }

    /// What it is in the register, if it was not evicted.
    fn leave(&self, register: &mut Register) -> Option<PendingEntry> {
        let PackedStage { stage, number } = self.place();
        register.queue(stage)?.remove(&number)
    }

    fn place(&self) -> PackedStage {
        PackedStage::unpack(self.place.load(Relaxed))
    }

    fn set_place(&self, stage: Stage, number: u64) {
        self.place.store(PackedStage { stage, number }.pack(), Relaxed);
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

    /// It waits for its next request, and its task is that of the test, which needs no waking.
    fn idle(pending: &Pending, is_trusted: bool) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = pending.poll_idle(is_trusted, &mut cx);
    }

    /// Whether it is to end now.
    async fn is_evicted(pending: &Pending) -> bool {
        poll_fn(|cx| Poll::Ready(pending.poll_evicted(cx).is_ready())).await
    }

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

    #[tokio::test(start_paused = true)]
    async fn idle_and_lingering_connections_end_in_the_order_in_which_they_came_to_wait() {
        let set = PendingConnections::default();
        let [begun, trusted, old, lingers, busy, new] = [(); 6].map(|()| set.register());
        for connection in [&trusted, &old, &lingers, &busy, &new] {
            assert!(connection.settle());
        }
        idle(&trusted, true);
        idle(&old, false);
        begun.begin();
        lingers.linger();
        idle(&new, false);
        assert_eq!((set.len(), set.idle()), (1, 4));
        assert!(set.evict_oldest() && is_evicted(&old).await);
        assert!(set.evict_oldest() && is_evicted(&lingers).await, "the begun one has a second");
        advance(GRACE).await;
        idle(&busy, false);
        assert!(set.evict_oldest() && is_evicted(&begun).await);
        assert!(set.evict_oldest() && is_evicted(&new).await);
        // Its next request has come.
        assert!(busy.settle());
        assert!(!set.evict_oldest(), "the trusted one has ten seconds");
        advance(TRUSTED_GRACE).await;
        assert!(set.evict_oldest() && is_evicted(&trusted).await);
        assert!(!set.evict_oldest() && !is_evicted(&busy).await);
        assert!(!old.settle() && !lingers.settle());
        idle(&old, false);
        lingers.linger();
        assert_eq!((set.len(), set.idle(), set.evicted()), (0, 0, 5));
    }

    #[tokio::test]
    async fn an_idle_connection_is_woken_when_it_is_evicted() {
        let set = PendingConnections::default();
        let connection = set.register();
        assert!(connection.settle());
        let ends = poll_fn(|cx| connection.poll_idle(false, cx));
        let ((), ()) = tokio::join!(ends, async {
            assert!(set.evict_oldest());
        });
    }
}
