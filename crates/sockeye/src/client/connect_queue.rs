//! The queue that limits clients to one connection attempt at a time per server (RFC 6455 §4.1, rule 2).

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use tokio::sync::OwnedMutexGuard;

/// Lets one client at a time connect to each host and port; the others wait in order of arrival. This
/// keeps a program from overwhelming a server with attempts (RFC 6455 §10.4).
///
/// Clients that share a `ConnectQueue` wait for each other. Hosts are told apart by name, as RFC 6455 §4.1
/// says for addresses that are not known. Clones share the queue.
///
/// The RFC requires this of every client, but a load test, or a proxy for many users, has good reasons
/// not to: [`Client`](crate::Client) queues only when told to, and [`web`](crate::web), like a browser,
/// unless told not to.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Client, ConnectQueue};
///
/// let queue = ConnectQueue::new();
/// for room in ["lobby", "garden"] {
///     let client = Client::new(format!("wss://example.org/{room}"))?.connect_queue(queue.clone());
///     tokio::spawn(client.connect());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ConnectQueue {
    servers: Arc<Mutex<Servers>>,
}

/// Clients that connect to a host and port, or wait to, keep its permit alive.
type Servers = HashMap<(String, u16), Weak<Permit>>;

type Permit = tokio::sync::Mutex<()>;

impl ConnectQueue {
    /// A new queue, independent of all others.
    pub fn new() -> Self {
        Self::default()
    }

    /// The queue that all sockets of [`web`](crate::web) use unless they are given another.
    pub fn process_wide() -> Self {
        static QUEUE: LazyLock<ConnectQueue> = LazyLock::new(ConnectQueue::default);
        QUEUE.clone()
    }

    /// Waits until no other client connects to this server. The next one proceeds when the permit is
    /// dropped.
    pub(crate) async fn enter(&self, host: &str, port: u16) -> OwnedMutexGuard<()> {
        let permit = self.permit(host, port);
        permit.lock_owned().await
    }

    fn permit(&self, host: &str, port: u16) -> Arc<Permit> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port);
        if let Some(permit) = servers.get(&key).and_then(Weak::upgrade) {
            return permit;
        }
        servers.retain(|_, permit| permit.strong_count() > 0);
        let permit = Arc::default();
        servers.insert(key, Arc::downgrade(&permit));
        permit
    }
}
