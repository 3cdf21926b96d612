//! The tasks of a server's connections: each as small as can be, and all known, so that their end can
//! be awaited, and they be aborted if it does not come.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::{sync::Notify, task::AbortHandle};

use crate::places::Places;

/// The tasks that have not ended. They go on if nobody waits for them any more.
#[derive(Default)]
pub(super) struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// How to abort each, as soon as that is known.
    running: Mutex<Places<Option<AbortHandle>>>,
    /// Told when the last one ends.
    ended: Notify,
}

impl Tasks {
    /// Spawns a task that does some work.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "one at a time")]
    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let number = self.shared.running().insert(None);
        let place = Place { tasks: self.shared.clone(), number };
        let abort = tokio::spawn(Task { work: Box::pin(work), _place: place }).abort_handle();
        // Unless it has ended by now: places are taken here only, so nobody else has got that one.
        if let Some(handle) = self.shared.running().get_mut(number) {
            *handle = Some(abort);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.shared.running().len()
    }

    /// Ready when there is none.
    pub(super) async fn ended(&self) {
        loop {
            let ended = self.shared.ended.notified();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Has each end as soon as the runtime comes to it.
    pub(super) fn abort_all(&self) {
        let handles: Vec<_> = self.shared.running().iter().flatten().cloned().collect();
        handles.iter().for_each(AbortHandle::abort);
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Places<Option<AbortHandle>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task. With no more than 24 bytes, tokio's part of it takes 128; the next step is 256. So the
/// work is in a box.
struct Task<W> {
    work: Pin<Box<W>>,
    _place: Place,
}

impl<W: Future> Future for Task<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        self.work.as_mut().poll(cx)
    }
}

/// A task's place among those that run, until it has ended.
struct Place {
    tasks: Arc<Shared>,
    number: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (_removed, left) = {
            let mut running = self.tasks.running();
            (running.remove(self.number), running.len())
        };
        if left == 0 {
            self.tasks.ended.notify_waiters();
        }
    }
}
