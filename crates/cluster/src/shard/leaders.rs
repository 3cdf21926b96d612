//! Connections to the servers of NATS that lead shards, beside the one that a node has for everything: what is published into
//! such a shard, and what JetStream publishes again of it, is spared the way over a second server.
//!
//! Nothing depends on them. Where a leader cannot be reached, or does not do what it should, its shards use the connection
//! for everything, and it is left alone for a while.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ServerAddr};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::ClusterOptions;
use crate::nats::direct::Direct;
use crate::nats::permissions::Forbidden;
use crate::shard::Shard;

/// How often it is looked which servers lead.
const LOOK: Duration = Duration::from_secs(1);
/// For how long a server is left alone that has failed.
const AVOIDED: Duration = Duration::from_secs(10);
/// The same of one that could not be reached.
const UNREACHABLE: Duration = Duration::from_secs(30);

/// What an attempt to reach a leader came to.
struct Attempt {
    leader: String,
    direct: Option<Direct>,
    /// What servers are called.
    names: Vec<(ServerAddr, String)>,
}

/// The connections, one at most for each server that leads.
pub(crate) struct Leaders {
    options: ClusterOptions,
    /// The connection for everything.
    common: Client,
    forbidden: Forbidden,
    shards: Vec<Arc<Shard>>,
    /// Rung when something has changed.
    changed: Arc<Notify>,
    /// By the names of the servers.
    open: HashMap<String, Direct>,
    /// Until when servers are left alone.
    avoided: HashMap<String, Instant>,
    /// What servers are called.
    names: Vec<(ServerAddr, String)>,
    attempt: Option<Pin<Box<dyn Future<Output = Attempt> + Send>>>,
}

impl Leaders {
    /// `common` is the connection for everything.
    pub(crate) fn new(
        options: ClusterOptions,
        common: Client,
        forbidden: Forbidden,
        shards: Vec<Arc<Shard>>,
    ) -> Self {
        Self {
            options,
            common,
            forbidden,
            shards,
            changed: Arc::default(),
            open: HashMap::new(),
            avoided: HashMap::new(),
            names: Vec::new(),
            attempt: None,
        }
    }

    /// What is to be rung when another server leads.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Gives each shard the connection to its leader, until that for everything is closed for good.
    pub(crate) async fn keep(mut self, mut connections: watch::Receiver<u64>) {
        let changed = self.changed();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let attempt = async {
                match &mut self.attempt {
                    Some(attempt) => attempt.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                attempt = attempt => self.tried(attempt),
                () = changed.notified() => {}
                _ = looks.tick() => {}
                changed = connections.changed() => if changed.is_err() { break },
            }
            self.look();
        }
        for shard in &self.shards {
            shard.take_link(None);
        }
    }

    /// Gives each shard the connection that it is to use, and begins to make one that is missing.
    fn look(&mut self) {
        let now = Instant::now();
        for (name, _) in self.open.extract_if(|_, direct| !direct.is_good()) {
            tracing::debug!(name, "this leader is left alone for a while");
            self.avoided.insert(name, now + AVOIDED);
        }
        self.avoided.retain(|_, until| now < *until);
        let own = self.common.server_info().server_name;
        let mut wanted = HashSet::new();
        for shard in &self.shards {
            let leader = shard.leader().filter(|leader| *leader != own);
            shard.take_link(leader.as_ref().and_then(|leader| self.open.get(leader)).cloned());
            wanted.extend(leader);
        }
        self.open.retain(|name, _| wanted.contains(name));
        let is_missing =
            |name: &&String| !self.open.contains_key(*name) && !self.avoided.contains_key(*name);
        if self.attempt.is_none()
            && let Some(leader) = wanted.iter().find(is_missing)
        {
            self.attempt = Some(Box::pin(self.attempt(leader.clone())));
        }
    }

    /// Connects to servers until one is that leader.
    fn attempt(&self, leader: String) -> impl Future<Output = Attempt> + Send + use<> {
        let (options, common) = (self.options.clone(), self.common.clone());
        let (forbidden, changed) = (self.forbidden.clone(), self.changed());
        let mut names = self.names.clone();
        async move {
            let pool = common.server_pool().await.unwrap_or_default();
            let mut addresses: VecDeque<_> = pool.into_iter().map(|server| server.addr).collect();
            // Those of other servers come last: they may have another name by now, and tell of others.
            let name = |address: &ServerAddr| names.iter().find(|(known, _)| known == address);
            addresses.make_contiguous().sort_by_key(|address| {
                name(address).map_or(1, |(_, name)| if *name == leader { 0 } else { 2 })
            });
            let mut tried = Vec::new();
            while let Some(address) = addresses.pop_front() {
                if tried.contains(&address) {
                    continue;
                }
                tried.push(address.clone());
                let connect = Direct::connect(&options, &address, &forbidden, &changed);
                let Some(direct) = connect.await else { continue };
                let info = direct.server();
                // What the connection for everything was told is as old as that.
                addresses.extend(info.connect_urls.iter().filter_map(|url| url.parse().ok()));
                names.retain(|(known, _)| *known != address);
                names.push((address, info.server_name.clone()));
                if info.server_name == leader {
                    return Attempt { leader, direct: Some(direct), names };
                }
            }
            Attempt { leader, direct: None, names }
        }
    }

    fn tried(&mut self, Attempt { leader, direct, names }: Attempt) {
        (self.attempt, self.names) = (None, names);
        match direct {
            Some(direct) => {
                tracing::debug!(leader, "connected to a server that leads");
                self.open.insert(leader, direct);
            }
            None => {
                tracing::debug!(leader, "this leader cannot be reached directly");
                self.avoided.insert(leader, Instant::now() + UNREACHABLE);
            }
        }
    }
}
