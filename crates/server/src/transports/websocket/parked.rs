//! Connections that have no task while there is nothing to do: what would wake the task starts one.
//!
//! A [`ParkedSession`] is the waker by which its sources are polled last, before its task ends. The first of them that
//! has something gives the session to a new task. A runtime that ends drops the sessions that are parked on it, as it
//! drops tasks.

use std::collections::HashMap;
use std::future::pending;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::{self, Handle};

/// What a connection is when no task serves it.
pub(super) trait Session: Sized + Send + 'static {
    /// What came while it was to be parked, for its task.
    type Event;

    /// What is kept of it while it is parked. Dropped, it ends as the session does.
    type AtRest: Send + 'static;

    /// Registers what wakes it; ready if there is something to do already, or it cannot be parked.
    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<Self::Event>;

    /// Makes it smaller, once it is registered.
    fn rest(self) -> Self::AtRest;

    /// Serves it, in a task of its own.
    fn resume(at_rest: Self::AtRest) -> impl Future<Output = ()> + Send;

    /// The sessions of this kind, by their runtimes.
    fn lots() -> &'static Lots<Self>;
}

/// The lots of all runtimes. They do not keep them.
pub(super) type Lots<S> = Mutex<HashMap<runtime::Id, Weak<Lot<S>>>>;

/// The sessions that are parked on one runtime.
pub(super) struct Lot<S: Session> {
    runtime: Handle,
    /// `None` once the runtime has ended.
    parked: Mutex<Option<Vec<Arc<ParkedSession<S>>>>>,
}

/// A session that is parked, or was.
pub(super) struct ParkedSession<S: Session> {
    slot: Mutex<Slot<S::AtRest>>,
    lot: Arc<Lot<S>>,
}

/// What a parked session has in place of a task.
struct Slot<A> {
    phase: Phase,
    /// The index in its lot, which is locked when this is written.
    index: u32,
    session: Option<A>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What may wake it is being registered.
    Registering,
    /// Nothing has woken it yet.
    Parked,
    /// It was woken, and belongs to a task, which may not have run yet.
    Woken,
}

/// Why a session was not parked: it is given back.
pub(super) enum NotParked<S: Session> {
    /// There is something to do.
    Busy(S, S::Event),
    /// The runtime has ended.
    RuntimeEnded(S),
}

/// Parks a session, unless there is something for it to do.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub(super) fn park<S: Session>(mut session: S) -> Result<(), NotParked<S>> {
    let lot = Lot::of_this_runtime();
    let parked = Arc::new(ParkedSession {
        slot: Mutex::new(Slot { phase: Phase::Registering, index: 0, session: None }),
        lot: Arc::clone(&lot),
    });
    let waker = Waker::from(Arc::clone(&parked));
    if let Poll::Ready(event) = session.poll_parked(&mut Context::from_waker(&waker)) {
        lock(&parked.slot).phase = Phase::Woken;
        return Err(NotParked::Busy(session, event));
    }
    if lot.add(&parked, session)? {
        lot.runtime.spawn(resume(parked));
    }
    Ok(())
}

/// The task of a session that was woken. Dropped before it runs, it leaves the session to the lot, which ends then.
async fn resume<S: Session>(parked: Arc<ParkedSession<S>>) {
    let session = parked.take();
    drop(parked);
    if let Some(session) = session {
        S::resume(session).await;
    }
}

impl<S: Session> ParkedSession<S> {
    /// Takes the session out of its lot.
    fn take(&self) -> Option<S::AtRest> {
        self.lot.remove(self);
        self.take_session()
    }

    fn take_session(&self) -> Option<S::AtRest> {
        let mut slot = lock(&self.slot);
        slot.phase = Phase::Woken;
        slot.session.take()
    }
}

impl<S: Session> Wake for ParkedSession<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Never drops the session, not even when the runtime ends: the caller may hold locks that this takes.
    fn wake_by_ref(self: &Arc<Self>) {
        let before = mem::replace(&mut lock(&self.slot).phase, Phase::Woken);
        if before == Phase::Parked {
            self.lot.runtime.spawn(resume(Arc::clone(self)));
        }
    }
}

impl<S: Session> Lot<S> {
    fn of_this_runtime() -> Arc<Self> {
        let runtime = Handle::current();
        let mut lots = lock(S::lots());
        if let Some(lot) = lots.get(&runtime.id()).and_then(Weak::upgrade)
            // Of an earlier runtime of the same number, wakers that are left may keep the lot.
            && lock(&lot.parked).is_some()
        {
            return lot;
        }
        lots.retain(|_, lot| lot.strong_count() > 0);
        let id = runtime.id();
        let lot = Arc::new(Self { runtime, parked: Mutex::new(Some(Vec::new())) });
        lots.insert(id, Arc::downgrade(&lot));
        drop(lots);
        // Made before the task runs: a runtime that is ending drops the task unpolled.
        let keeper = Keeper(Arc::clone(&lot));
        lot.runtime.spawn(async move {
            let _keeper = keeper;
            pending::<()>().await;
        });
        lot
    }

    /// Adds a session. Whether it was woken meanwhile.
    fn add(&self, parked: &Arc<ParkedSession<S>>, session: S) -> Result<bool, NotParked<S>> {
        let mut list = lock(&self.parked);
        let Some(list) = &mut *list else { return Err(NotParked::RuntimeEnded(session)) };
        if list.len() == list.capacity() {
            // By an eighth: of what doubles, a quarter is empty.
            list.reserve_exact(list.len() / 8 + 16);
        }
        let index = u32::try_from(list.len()).expect("there are fewer descriptors than that");
        let at_rest = session.rest();
        list.push(Arc::clone(parked));
        // While the lot is locked: if the runtime ends now, the session is dropped with the others.
        let mut slot = lock(&parked.slot);
        (slot.index, slot.session) = (index, Some(at_rest));
        let was_woken = slot.phase == Phase::Woken;
        if !was_woken {
            slot.phase = Phase::Parked;
        }
        Ok(was_woken)
    }

    /// Removes a session, unless the runtime has ended.
    fn remove(&self, parked: &ParkedSession<S>) {
        let mut list = lock(&self.parked);
        let Some(list) = &mut *list else { return };
        let index = lock(&parked.slot).index;
        list.swap_remove(index as usize);
        if let Some(moved) = list.get(index as usize) {
            lock(&moved.slot).index = index;
        }
        if list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
    }
}

/// Ends a lot with its runtime.
struct Keeper<S: Session>(Arc<Lot<S>>);

impl<S: Session> Drop for Keeper<S> {
    fn drop(&mut self) {
        let parked = lock(&self.0.parked).take();
        // Without locks: a session takes some when it is dropped.
        for parked in parked.into_iter().flatten() {
            drop(parked.take_session());
        }
    }
}

/// How many sessions are parked on this runtime.
#[cfg(test)]
pub(super) fn count<S: Session>() -> usize {
    lock(&Lot::<S>::of_this_runtime().parked).as_ref().map_or(0, Vec::len)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Consistent between any two statements, so a panic elsewhere does not matter.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use tokio::runtime::Builder;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    /// A session that tells when it is resumed, and keeps its waker, as its sources do.
    struct Told {
        number: usize,
        tell: UnboundedSender<usize>,
        wakers: Arc<Mutex<Vec<Waker>>>,
        /// Whether it is woken while it is being parked.
        is_woken: bool,
        is_busy: bool,
    }

    impl Session for Told {
        type Event = &'static str;
        type AtRest = Self;

        fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<Self::Event> {
            lock(&self.wakers).push(cx.waker().clone());
            if self.is_woken {
                cx.waker().wake_by_ref();
            }
            if self.is_busy { Poll::Ready("busy") } else { Poll::Pending }
        }

        fn rest(self) -> Self {
            self
        }

        async fn resume(told: Self) {
            let _ = told.tell.send(told.number);
        }

        fn lots() -> &'static Lots<Self> {
            static LOTS: LazyLock<Lots<Told>> = LazyLock::new(Lots::default);
            &LOTS
        }
    }

    struct Rig {
        tell: UnboundedSender<usize>,
        told: UnboundedReceiver<usize>,
        wakers: Arc<Mutex<Vec<Waker>>>,
    }

    impl Rig {
        fn new() -> Self {
            let (tell, told) = unbounded_channel();
            Self { tell, told, wakers: Arc::default() }
        }

        fn session(&self, number: usize) -> Told {
            let (tell, wakers) = (self.tell.clone(), Arc::clone(&self.wakers));
            Told { number, tell, wakers, is_woken: false, is_busy: false }
        }

        fn wake(&self, number: usize) {
            let waker = lock(&self.wakers)[number].clone();
            waker.wake();
        }
    }

    #[tokio::test]
    async fn each_is_resumed_once_by_whatever_wakes_it_first() {
        let mut rig = Rig::new();
        for number in 0..100 {
            assert!(park(rig.session(number)).is_ok());
        }
        let order = (0..100).map(|index| index * 37 % 100);
        for number in order.clone() {
            rig.wake(number);
            rig.wake(number);
            assert_eq!(rig.told.recv().await, Some(number));
        }
        order.for_each(|number| rig.wake(number));
        tokio::task::yield_now().await;
        assert!(rig.told.try_recv().is_err());
        assert_eq!(count::<Told>(), 0);
    }

    #[tokio::test]
    async fn one_that_is_woken_while_it_is_parked_is_resumed() {
        let mut rig = Rig::new();
        assert!(park(Told { is_woken: true, ..rig.session(7) }).is_ok());
        assert_eq!(rig.told.recv().await, Some(7));
    }

    #[tokio::test]
    async fn one_that_has_something_to_do_is_given_back() {
        let mut rig = Rig::new();
        let busy = park(Told { is_busy: true, ..rig.session(7) });
        assert!(matches!(busy, Err(NotParked::Busy(Told { number: 7, .. }, "busy"))));
        rig.wake(0);
        tokio::task::yield_now().await;
        assert!(rig.told.try_recv().is_err());
    }

    /// Nothing is left of what was parked on a runtime that has ended, though the wakers are still there; woken later, it
    /// is not resumed.
    #[test]
    fn a_runtime_that_ends_drops_what_is_parked_on_it() {
        let mut rig = Rig::new();
        for builder in [&mut Builder::new_current_thread(), &mut Builder::new_multi_thread()] {
            let runtime = builder.build().unwrap();
            let parked = runtime.block_on(async {
                let session = rig.session(0);
                let is_parked = tokio::spawn(async { park(session).is_ok() }).await.unwrap();
                // Another is woken, and its task may not have run when the runtime ends.
                let woken = park(Told { is_woken: true, ..rig.session(1) });
                is_parked && woken.is_ok()
            });
            assert!(parked);
            drop(runtime);
            let wakers = mem::take(&mut *lock(&rig.wakers));
            wakers.iter().for_each(Waker::wake_by_ref);
            let resumed = std::iter::from_fn(|| rig.told.try_recv().ok());
            assert!(resumed.into_iter().all(|number| number == 1));
            // The sender of the rig alone is left.
            assert_eq!(rig.tell.strong_count(), 1);
        }
    }
}
