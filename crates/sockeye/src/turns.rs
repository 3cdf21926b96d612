//! One at a time: who may connect to a server (RFC 6455 §4.1, rule 2).

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use tokio::sync::OwnedMutexGuard;

/// Lets one client at a time connect to each host and port; the others wait in the order in which
/// they came. So nobody overwhelms a server with attempts (RFC 6455 §10.4).
///
/// Clients that share a `Turns` wait for each other. Hosts are told apart by name, as RFC 6455 §4.1
/// has it where their addresses are not known. Clones are the same.
///
/// The RFC asks it of every client, but a load test, or a proxy for others, has good reasons not to:
/// so [`Client`](crate::Client) does it when asked to, and [`web`](crate::web), as browsers do, unless
/// told otherwise.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Client, Turns};
///
/// let turns = Turns::new();
/// for room in ["lobby", "garden"] {
///     let client = Client::new(format!("wss://example.org/{room}"))?.turns(turns.clone());
///     tokio::spawn(client.connect());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Turns {
    servers: Arc<Mutex<Servers>>,
}

/// Whoever connects to a host and port, or waits to, keeps its turn alive.
type Servers = HashMap<(String, u16), Weak<Turn>>;

type Turn = tokio::sync::Mutex<()>;

impl Turns {
    /// Turns of one's own: the clients that are given them wait for nobody else's.
    pub fn new() -> Self {
        Self::default()
    }

    /// The turns that all sockets of [`web`](crate::web) take, unless they are given others.
    pub fn process_wide() -> Self {
        static TURNS: LazyLock<Turns> = LazyLock::new(Turns::default);
        TURNS.clone()
    }

    /// Waits until nobody else connects to this server; ends when the guard is dropped.
    pub(crate) async fn take(&self, host: &str, port: u16) -> OwnedMutexGuard<()> {
        let turn = self.turn(host, port);
        turn.lock_owned().await
    }

    fn turn(&self, host: &str, port: u16) -> Arc<Turn> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port);
        if let Some(turn) = servers.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        servers.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        servers.insert(key, Arc::downgrade(&turn));
        turn
    }
}
