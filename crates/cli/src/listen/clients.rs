//! The clients that are connected, by their numbers.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sockeye::{Message, Prepared, Writer};
use tokio::{sync::Notify, time::timeout};

/// What a client is called, here and in what is typed: `@1`, `@2`, … in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) u64);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// The clients to which something can be sent.
#[derive(Debug, Default)]
pub(super) struct Clients {
    next: AtomicU64,
    open: Mutex<BTreeMap<Name, Writer>>,
    came: Notify,
}

impl Clients {
    /// The name of one more client.
    pub(super) fn name(&self) -> Name {
        Name(self.next.fetch_add(1, Relaxed) + 1)
    }

    /// Adds a client, until what this gives is dropped.
    pub(super) fn enter(self: &Arc<Self>, name: Name, writer: Writer) -> Present {
        self.open().insert(name, writer);
        self.came.notify_waiters();
        Present { clients: Arc::clone(self), name }
    }

    pub(super) fn writer(&self, name: Name) -> Option<Writer> {
        self.open().get(&name).cloned()
    }

    /// Waits until there is a client.
    pub(super) async fn some(&self) {
        loop {
            let came = self.came.notified();
            if !self.open().is_empty() {
                return;
            }
            came.await;
        }
    }

    /// Sends a message to all clients; gives those that did not take it within that time. They are cut off.
    pub(super) async fn send_to_all(&self, message: Message, within: Duration) -> Sent {
        let all: Vec<_> =
            self.open().iter().map(|(name, writer)| (*name, writer.clone())).collect();
        let prepared = Prepared::new(message);
        let sending = all.iter().map(async |(name, writer)| {
            match timeout(within, writer.send_prepared(&prepared)).await {
                // One that has closed meanwhile is told by its reader.
                Ok(_) => None,
                Err(_) => {
                    writer.abort();
                    Some(*name)
                }
            }
        });
        let slow = join_all(sending).await.into_iter().flatten().collect();
        Sent { clients: all.len(), slow }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Name, Writer>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a message went.
#[derive(Debug)]
pub(super) struct Sent {
    /// How many clients there were.
    pub(super) clients: usize,
    pub(super) slow: Vec<Name>,
}

/// A client's entry.
#[derive(Debug)]
pub(super) struct Present {
    clients: Arc<Clients>,
    name: Name,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.clients.open().remove(&self.name);
    }
}
