//! Tasks whose ends are awaited together, as tokio's `JoinSet` does it.

#![allow(clippy::unused_self, reason = "the interface is that of tokio and the system")]

use std::{collections::HashMap, fmt};

use futures_util::future::{AbortHandle as Abort, abortable};
use tokio::sync::mpsc;

/// The number of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u64);

/// Ends a task.
#[derive(Debug, Clone)]
pub(crate) struct AbortHandle {
    id: Id,
    abort: Abort,
}

/// A task was aborted. One that panics ends the whole program.
#[derive(Debug)]
pub(crate) struct JoinError(Id);

/// Tasks, which end when this is dropped.
#[derive(Debug)]
pub(crate) struct JoinSet<T> {
    ended: mpsc::UnboundedReceiver<(Id, Option<T>)>,
    ends: mpsc::UnboundedSender<(Id, Option<T>)>,
    running: HashMap<Id, Abort>,
    last: u64,
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> JoinSet<T> {
    pub(crate) fn new() -> Self {
        let (ends, ended) = mpsc::unbounded_channel();
        Self { ended, ends, running: HashMap::new(), last: 0 }
    }

    /// Waits for a task that ends; `None` if there is none.
    pub(crate) async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        let ended = self.join_next_with_id().await?;
        Some(ended.map(|(_, value)| value))
    }

    /// The same, with the task's number.
    pub(crate) async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        if self.running.is_empty() {
            return None;
        }
        // It holds a sender itself, so that the channel is not closed.
        let (id, value) = self.ended.recv().await?;
        self.running.remove(&id);
        Some(value.map(|value| (id, value)).ok_or(JoinError(id)))
    }
}

impl<T: 'static> JoinSet<T> {
    pub(crate) fn spawn(&mut self, task: impl Future<Output = T> + 'static) -> AbortHandle {
        self.last += 1;
        let id = Id(self.last);
        let (task, abort) = abortable(task);
        let ends = self.ends.clone();
        wasm_bindgen_futures::spawn_local(async move {
            // The set may be gone.
            let _ = ends.send((id, task.await.ok()));
        });
        self.running.insert(id, abort.clone());
        AbortHandle { id, abort }
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

impl AbortHandle {
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }
}

impl JoinError {
    pub(crate) fn id(&self) -> Id {
        self.0
    }

    pub(crate) fn is_panic(&self) -> bool {
        false
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the task was ended")
    }
}
