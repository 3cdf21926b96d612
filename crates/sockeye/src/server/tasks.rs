//! The tasks of a server's connections: as small as possible, and registered, so that a server that stops
//! can await their end and abort those that do not end.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use slab::Slab;
use tokio::{sync::Notify, task::AbortHandle};

/// The tasks that have not ended. Dropping this does not end them.
#[derive(Default)]
pub(super) struct Tasks {
    register: Arc<Register>,
}

#[derive(Default)]
struct Register {
    /// The handle of each task; `None` until the runtime has given it.
    running: Mutex<Slab<Option<AbortHandle>>>,
    /// Notified when the last one ends.
    ended: Notify,
}

impl Tasks {
    /// Spawns a task that does some work.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "one at a time")]
    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let number = self.register.running().insert(None);
        let registered = Registered { register: self.register.clone(), number };
        let abort =
            tokio::spawn(Task { work: Box::pin(work), _registered: registered }).abort_handle();
        // It may have ended by now. Numbers are given out here only, so this one is not another's yet.
        if let Some(handle) = self.register.running().get_mut(number) {
            *handle = Some(abort);
        }
    }

    /// The number of tasks.
    pub(super) fn len(&self) -> usize {
        self.register.running().len()
    }

    /// Completes when no task is left.
    pub(super) async fn ended(&self) {
        loop {
            let ended = self.register.ended.notified();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Aborts every task: each ends at its next poll.
    pub(super) fn abort_all(&self) {
        let handles: Vec<_> =
            self.register.running().iter().filter_map(|(_, handle)| handle.clone()).collect();
        handles.iter().for_each(AbortHandle::abort);
    }
}

impl Register {
    fn running(&self) -> MutexGuard<'_, Slab<Option<AbortHandle>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task. With at most 24 bytes, tokio's allocation for it takes 128; the next size is 256. So the work
/// is boxed.
struct Task<W> {
    work: Pin<Box<W>>,
    _registered: Registered,
}

impl<W: Future> Future for Task<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        self.work.as_mut().poll(cx)
    }
}

/// A task's entry in the register; removed when the task ends.
struct Registered {
    register: Arc<Register>,
    number: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let (_removed, left) = {
            let mut running = self.register.running();
            let removed = running.try_remove(self.number);
            if running.is_empty() {
                // Frees what many connections have taken.
                *running = Slab::new();
            }
            (removed, running.len())
        };
        if left == 0 {
            self.register.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_memory_is_kept_for_tasks_that_have_ended() {
        let mut tasks = Tasks::default();
        (0..1000).for_each(|_| tasks.spawn(std::future::ready(())));
        assert_eq!(tasks.len(), 1000);
        tasks.ended().await;
        assert_eq!((tasks.len(), tasks.register.running().capacity()), (0, 0));
    }

    #[tokio::test]
    async fn the_number_of_a_task_that_has_ended_is_given_to_the_next() {
        let mut tasks = Tasks::default();
        (0..3).for_each(|_| tasks.spawn(std::future::pending()));
        let handle = tasks.register.running()[1].clone();
        handle.expect("the runtime has given it").abort();
        while tasks.len() > 2 {
            tokio::task::yield_now().await;
        }
        (0..2).for_each(|_| tasks.spawn(std::future::pending()));
        let numbers: Vec<_> = tasks.register.running().iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        tasks.abort_all();
        tasks.ended().await;
    }
}
