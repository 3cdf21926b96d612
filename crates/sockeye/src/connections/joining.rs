//! How a WebSocket that is being opened comes into a set, and its handler with it.

use std::{
    fmt,
    future::Future,
    sync::{Mutex, PoisonError},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Connections;
use crate::WebSocket;

/// What a connection needs to join a set once it is open, whatever the set knows of its members.
pub(crate) struct Joining {
    join: Box<dyn FnOnce(&WebSocket) + Send + Sync>,
    handlers: TaskTracker,
    closing: CancellationToken,
    cut: CancellationToken,
}

/// Has the set wait for handlers, and end them.
pub(crate) struct Handlers {
    tracker: TaskTracker,
    cut: CancellationToken,
}

impl<T: Send + 'static> Connections<T> {
    /// What a connection needs to join this set once it is open.
    pub(crate) fn joining(&self, data: T) -> Joining {
        let set = self.clone();
        // What can be sent can then be inner as well, and so can the upgrade.
        let data = Mutex::new(data);
        let join = move |socket: &WebSocket| {
            set.insert_with(socket, data.into_inner().unwrap_or_else(PoisonError::into_inner));
        };
        Joining {
            join: Box::new(join),
            handlers: self.inner.handlers.clone(),
            closing: self.inner.closing.clone(),
            cut: self.inner.cut.clone(),
        }
    }
}

impl Joining {
    /// Whether the set takes no more connections.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    pub(crate) fn join(self, socket: &WebSocket) {
        (self.join)(socket);
    }

    pub(crate) fn handlers(&self) -> Handlers {
        Handlers { tracker: self.handlers.clone(), cut: self.cut.clone() }
    }
}

impl Handlers {
    /// A handler that the set waits for, and ends if it has to.
    pub(crate) fn track(
        self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let Self { tracker, cut } = self;
        tracker.track_future(async move {
            cut.run_until_cancelled(work).await;
        })
    }
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").finish_non_exhaustive()
    }
}
