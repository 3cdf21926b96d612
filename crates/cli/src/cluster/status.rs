//! `sockeye cluster status`: servers, shards and nodes, and what is wrong, in words.

use std::fmt::Write as _;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use sockeye_cluster::{FollowerStatus, NodeStatus, Servers, ShardStatus, status};
use tokio::runtime::Builder;
use url::Url;

use super::{
    access::Access,
    monitor::{Sync, monitor_url, sync_of},
    table::{Table, bytes},
};
use crate::{
    flags::units::{number, trimmed},
    terminal::output::print_line,
};

/// Show the servers, shards and nodes of a cluster, and what is wrong
///
/// It exits with 1 if anything is wrong, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye cluster status --cluster nats://10.0.0.1:4222,nats://10.0.0.2:4222
  sockeye cluster status --cluster nats://10.0.0.1:4222 --monitor http://10.0.0.1:8222
  sockeye cluster status --cluster nats://10.0.0.1:4222 --nodes 3
  sockeye cluster status --cluster nats://10.0.0.1:4222 --json | jq .trouble")]
pub(crate) struct Status {
    /// The servers of NATS: each is asked
    #[arg(long, value_name = "URLS", env = "SOCKEYE_CLUSTER", value_parser = trimmed::<Servers>)]
    cluster: Servers,

    #[command(flatten)]
    access: Access,

    /// Where a server of NATS shows its figures, its http_port: says what a 201 survives; may be given
    /// several times
    #[arg(long, value_name = "URL", value_parser = monitor_url)]
    monitor: Vec<Url>,

    /// How many nodes there should be: it is wrong if fewer answer
    #[arg(long, value_name = "N", value_parser = number::<usize>)]
    nodes: Option<usize>,

    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let options = self.access.options(self.cluster);
        let (status, syncs) = runtime.block_on(async {
            let mut status = status(&options).await?;
            status.expect_nodes(self.nodes.unwrap_or(0));
            let mut syncs = Vec::new();
            for url in &self.monitor {
                syncs.push(sync_of(url).await?);
            }
            anyhow::Ok((status, syncs))
        })?;
        match self.json {
            true => print_line(&in_json(&status, &syncs)?)?,
            false => print_line(&in_words(&status, &syncs))?,
        }
        match status.trouble.len() {
            0 => Ok(()),
            1 => bail!("something is wrong with the cluster {}", status.cluster),
            many => bail!("{many} things are wrong with the cluster {}", status.cluster),
        }
    }
}

fn in_json(status: &sockeye_cluster::Status, syncs: &[Sync]) -> anyhow::Result<String> {
    let mut shown = serde_json::to_value(status)?;
    if !syncs.is_empty() {
        shown["sync"] = syncs.iter().map(Sync::json).collect();
    }
    Ok(json!(shown).to_string())
}

fn in_words(status: &sockeye_cluster::Status, syncs: &[Sync]) -> String {
    let mut text = String::new();
    let mut say = |line: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    };
    say(&format!("cluster {}", status.cluster));
    say("");
    let mut servers = Table::new(["server", "name", "version"]);
    for server in &status.servers {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        servers.row([server.address.clone(), or_none(&server.name), or_none(&server.version)]);
    }
    say(&servers.to_string());
    let mut shards =
        Table::new(["shard", "leader", "followers", "messages", "bytes", "of", "position"]);
    status.shards.iter().for_each(|shard| shards.row(of_shard(shard)));
    say(&shards.to_string());
    let mut nodes = Table::new(["node", "version", "up", "server", "state", "behind"]);
    status.nodes.iter().for_each(|node| nodes.row(of_node(node)));
    say(&nodes.to_string());
    let in_memory = status.shards.iter().any(|shard| shard.storage == "memory");
    if in_memory {
        say("in memory: a 201 survives as long as a majority of the servers of NATS keeps running");
    }
    syncs.iter().for_each(|sync| say(&sync.in_words()));
    if syncs.is_empty() && !in_memory {
        say("what a 201 survives is decided by sync_interval of NATS: --monitor reads it");
    }
    match &status.trouble[..] {
        [] => say("all is well"),
        trouble => {
            say("");
            trouble.iter().for_each(|what| say(&format!("WRONG: {what}")));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn of_shard(shard: &ShardStatus) -> [String; 7] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let follower = |follower: &FollowerStatus| match follower {
        FollowerStatus { name, offline: true, .. } => format!("{name} (away)"),
        FollowerStatus { name, current: true, lag: 0, .. } => name.clone(),
        FollowerStatus { name, lag: 0, .. } => format!("{name} (behind)"),
        FollowerStatus { name, lag, .. } => format!("{name} (-{lag})"),
    };
    let followers: Vec<_> = shard.followers.iter().map(follower).collect();
    [
        shard.shard.to_string(),
        or_none(&shard.leader),
        if followers.is_empty() { "-".to_owned() } else { followers.join(" ") },
        shard.messages.to_string(),
        bytes(shard.bytes),
        shard.max_bytes.map_or_else(|| "-".to_owned(), bytes),
        or_none(&shard.at),
    ]
}

fn of_node(node: &NodeStatus) -> [String; 6] {
    let up = match node.uptime {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    };
    let state = if node.ready { "ready" } else { "not ready" };
    let server = if node.server.is_empty() { "-" } else { &node.server };
    [
        node.node.clone(),
        node.version.clone(),
        up,
        server.to_owned(),
        state.to_owned(),
        node.behind.to_string(),
    ]
}
