//! `--cluster` and what belongs to it: channels that are the same on many machines.

use std::{future::pending, process, sync::Arc, time::Duration};

use anyhow::bail;
use clap::Args;
use sockeye_cluster::{ClusterOptions, Joining, Node, Servers, Storage};
use sockeye_server::{ChannelRule, ServerOptions};
use tokio::time::timeout;

use crate::{
    cluster::access::{Access, replicas},
    flags::units::{Size, number, some_size, trimmed},
};

/// How long a node that has joined its cluster may take until it follows every shard.
const FOLLOW: Duration = Duration::from_secs(5);

/// A server's part in a cluster, if it has one.
#[derive(Debug)]
pub(super) struct Membership(Option<Joining>);

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterFlags {
    /// Keep channels in NATS JetStream, at these servers, and share them with every node that does:
    /// nats://10.0.0.1:4222,nats://10.0.0.2:4222, or tls://…
    #[arg(long, value_name = "URLS", env = "SOCKEYE_CLUSTER", conflicts_with = "data")]
    #[arg(value_parser = trimmed::<Servers>)]
    cluster: Option<Servers>,

    #[command(flatten)]
    access: Access,

    /// Among how many streams channels are divided: 8 if not given, decided by the first node for ever
    #[arg(long, value_name = "N", env = "SOCKEYE_CLUSTER_SHARDS", requires = "cluster")]
    #[arg(value_parser = number::<u16>)]
    cluster_shards: Option<u16>,

    /// On how many servers of NATS each stream is: 3 if not given, decided by the first node
    #[arg(long, value_name = "N", env = "SOCKEYE_CLUSTER_REPLICAS", requires = "cluster")]
    #[arg(value_parser = replicas)]
    cluster_replicas: Option<u8>,

    /// Where NATS keeps them, file or memory: file if not given, decided by the first node
    #[arg(long, value_name = "WHERE", env = "SOCKEYE_CLUSTER_STORAGE", requires = "cluster")]
    #[arg(value_parser = trimmed::<Storage>)]
    cluster_storage: Option<Storage>,

    /// How much all channels may take on each server of NATS: what its configuration allows if not given,
    /// decided by the first node
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_CLUSTER_BYTES", requires = "cluster")]
    #[arg(value_parser = some_size)]
    cluster_bytes: Option<Size>,

    /// How many channels are read from NATS at once, an equal part of each shard; further ones wait in turn
    #[arg(long, value_name = "N", env = "SOCKEYE_CLUSTER_READS", requires = "cluster")]
    #[arg(value_parser = some_reads)]
    cluster_reads: Option<usize>,

    /// How much of what came from NATS waits for messages that are missing before it; beyond it that is
    /// fetched again
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_CLUSTER_BACKLOG", requires = "cluster")]
    #[arg(value_parser = some_size)]
    cluster_backlog: Option<Size>,
}

impl ClusterFlags {
    /// Has the server keep its channels in the cluster, if one is named. Where NATS cannot be reached, that goes
    /// on beside the server.
    pub(super) async fn join(self, server: &mut ServerOptions) -> anyhow::Result<Membership> {
        let Some(options) = self.options(server) else { return Ok(Membership(None)) };
        let bounds_history = |rule: &&ChannelRule| rule.bounds_history();
        if let Some(rule) = server.channels.channel.iter().find(bounds_history) {
            bail!(
                "with --cluster all channels keep the same history: leave history_count, history_bytes and \
                 history_age out of the rule for {}, and use --history-count and so on",
                rule.channels
            );
        }
        let (node, mut joining) = Node::start(options);
        joining.settled().await?;
        server.channels.backplane = Some(Arc::new(node));
        Ok(Membership(Some(joining)))
    }

    /// The cluster to join, with the history that the server is to show.
    fn options(self, server: &ServerOptions) -> Option<ClusterOptions> {
        let mut options = self.access.options(self.cluster?).node(node_name());
        options.shards = self.cluster_shards;
        options.replicas = self.cluster_replicas;
        options.storage = self.cluster_storage;
        options.max_bytes = self.cluster_bytes.map(|size| size.0);
        if let Some(reads) = self.cluster_reads {
            options.max_reads = reads;
        }
        if let Some(Size(bytes)) = self.cluster_backlog {
            options.max_held_bytes = bytes;
        }
        options.history_count = server.channels.history_count;
        options.history_bytes = server.channels.history_bytes;
        options.history_age = server.channels.history_age;
        options.max_message = server.channels.max_message;
        Some(options)
    }
}

fn some_reads(text: &str) -> Result<usize, &'static str> {
    match number::<usize>(text)? {
        0 => Err("at least one channel has to be read at once"),
        reads => Ok(reads),
    }
}

impl Membership {
    /// Waits, for a while, until the channels of the cluster can be used: no client is served yet.
    pub(super) async fn follow(&mut self) -> anyhow::Result<()> {
        if let Some(joining) = &mut self.0
            && joining.settled().await?
            && let Ok(outcome) = timeout(FOLLOW, joining.ready()).await
        {
            outcome?;
        }
        Ok(())
    }

    /// Why the server cannot be part of the cluster after all, once NATS says so.
    pub(super) async fn refused(self) -> anyhow::Error {
        match self.0 {
            Some(joining) => joining.refused().await.into(),
            None => pending().await,
        }
    }
}

/// What operators see the node as: its machine, and its process there.
fn node_name() -> String {
    let machine = rustix::system::uname();
    format!("{}:{}", machine.nodename().to_string_lossy(), process::id())
}
