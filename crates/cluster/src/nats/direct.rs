//! A connection to a server of NATS that leads shards, beside the one that a node has for everything.
//!
//! It is to one server, and is not made again by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use async_nats::connection::State;
use async_nats::{Client, Event, ServerAddr, ServerInfo};
use tokio::sync::Notify;

use crate::ClusterOptions;
use crate::nats::connection;
use crate::nats::permissions::Forbidden;

/// A connection to a server that leads shards. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    client: Client,
    health: Arc<Health>,
}

#[derive(Debug, Default)]
struct Health {
    /// Whether other connections are to be used as soon as what is under way has its answers.
    is_left: AtomicBool,
    /// Whether it was lost.
    is_gone: AtomicBool,
}

impl Direct {
    /// Connects to one server. `changed` is rung when it is of no use any more.
    pub(crate) async fn connect(
        options: &ClusterOptions,
        address: &ServerAddr,
        forbidden: &Forbidden,
        changed: &Arc<Notify>,
    ) -> Option<Self> {
        let health = Arc::new(Health::default());
        let (told, forbidden, changed) =
            (Arc::clone(&health), forbidden.clone(), Arc::clone(changed));
        let heard = move |event: &Event| {
            match event {
                Event::Disconnected | Event::Closed => told.is_gone.store(true, SeqCst),
                Event::LameDuckMode => told.is_left.store(true, SeqCst),
                Event::ServerError(error) => {
                    forbidden.heard(error);
                    told.is_left.store(true, SeqCst);
                }
                _ => return,
            }
            changed.notify_one();
        };
        let client = connection::connect_once(options, address, heard).await?;
        Some(Self { client, health })
    }

    /// What the server says of itself.
    pub(crate) fn server(&self) -> ServerInfo {
        self.client.server_info()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// No shard begins anything over it any more, for a while.
    pub(crate) fn leave(&self) {
        self.health.is_left.store(true, SeqCst);
    }

    /// Whether it may be taken.
    pub(crate) fn is_good(&self) -> bool {
        !self.health.is_left.load(SeqCst) && !self.is_gone()
    }

    /// Whether what is under way is lost.
    pub(crate) fn is_gone(&self) -> bool {
        self.health.is_gone.load(SeqCst) || self.client.connection_state() != State::Connected
    }
}

impl PartialEq for Direct {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.health, &other.health)
    }
}
