//! How a cluster is: its servers, shards and nodes, and what is wrong with them, for operators.
//!
//! - `answer`: what a node says of itself when it is asked
//! - `judge`: what is wrong, in words

mod answer;
mod judge;

use std::time::Duration;

use async_nats::Client;
use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::answer::{About, answer};
pub(crate) use self::judge::named;
use crate::error::jetstream::{ApiError, code};
use crate::message::subjects::Names;
use crate::nats::api::Api;
use crate::nats::api::stream::{Group, StreamInfo};
use crate::nats::connection::{self, ServerStatus};
use crate::streams::{self, key};
use crate::{ClusterOptions, StartError};

/// How long the answers of nodes are waited for.
const ANSWERS: Duration = Duration::from_secs(1);
/// The most nodes that are listened to.
const MAX_NODES: usize = 1000;

/// How a cluster is. As JSON it is what `sockeye cluster status --json` prints and a node shows operators
/// under `/cluster`.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The name of the cluster.
    pub cluster: String,
    /// Whether nothing is wrong.
    pub well: bool,
    /// What is wrong, one thing each, with what to do.
    pub trouble: Vec<String>,
    /// The servers of NATS that were asked.
    pub servers: Vec<ServerStatus>,
    /// The shards, in order.
    pub shards: Vec<ShardStatus>,
    /// The nodes that have answered.
    pub nodes: Vec<NodeStatus>,
    /// The stream of tickets, if it was asked for.
    #[serde(skip)]
    pub(crate) records: Option<ShardStatus>,
}

/// A shard: a stream in NATS.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ShardStatus {
    /// Its number.
    pub shard: u16,
    /// The stream's name.
    pub stream: String,
    /// The server that leads it.
    pub leader: Option<String>,
    /// The servers that follow.
    pub followers: Vec<FollowerStatus>,
    /// On how many servers it should be.
    pub replicas: i64,
    /// `file` or `memory`.
    pub storage: String,
    /// Messages stored, the clock's included.
    pub messages: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// The most bytes it takes; `None` if that is not limited.
    pub max_bytes: Option<u64>,
    /// The position of its newest message.
    pub at: Option<String>,
    /// Its last sequence.
    #[serde(skip)]
    pub(crate) last: u64,
    /// What history it keeps.
    #[serde(skip)]
    pub(crate) history: String,
    /// Why its leader does not answer.
    pub failure: Option<String>,
}

/// A server that follows the leader of a shard.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// Its name.
    pub name: String,
    /// Whether it has what the leader has.
    pub current: bool,
    /// Whether the leader has lost it.
    pub offline: bool,
    /// How many operations it is behind.
    pub lag: u64,
}

/// A node, as it says itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NodeStatus {
    /// What it is called: see [`ClusterOptions::node`].
    pub node: String,
    /// The version of Sockeye.
    pub version: String,
    /// For how long it has been part of the cluster, in seconds.
    pub uptime: u64,
    /// The server of NATS that it is connected to.
    pub server: String,
    /// Whether it takes clients.
    pub ready: bool,
    /// Why not.
    pub failure: Option<String>,
    /// For how long it has been unknown whether a shard is complete, in seconds: of the worst.
    pub stale: f64,
    /// How many messages it is behind the leaders, in all shards.
    pub behind: u64,
    /// Up to which sequence it knows each shard, in order.
    pub known: Vec<u64>,
}

/// Asks the servers of a cluster and its nodes how they are. It changes nothing.
///
/// # Errors
///
/// [`StartError`] if no server of NATS can be asked, in one line that says what to do.
pub async fn status(options: &ClusterOptions) -> Result<Status, StartError> {
    let (client, servers) = connection::connect_to_each(options).await?;
    let api = api(client, options).await?;
    let mut status = gather(&api, options).await;
    status.servers = servers;
    status.judge();
    Ok(status)
}

/// A cluster that is there, as it is asked by others than its nodes.
pub(crate) async fn api(client: Client, options: &ClusterOptions) -> Result<Api, StartError> {
    let capacity = connection::capacity(options);
    let names = |shards| Names::new(options.name.clone(), shards).into();
    let api = Api::new(client.clone(), names(1), capacity);
    let first = api.names().stream(0);
    let shards = match api.info(&first).await {
        Ok(info) => streams::shards_of(&first, &info)?,
        Err(error) => {
            let (name, server) = (options.name.to_string(), options.servers.to_string());
            return Err(match error.code() {
                Some(code::NO_STREAM) => StartError::NoCluster { name, server },
                Some(code::NOT_ENABLED | code::NOT_ENABLED_FOR_ACCOUNT) => {
                    StartError::NoJetStream { server }
                }
                _ if error.is_passing() => StartError::NoAnswer { server, said: error.to_string() },
                _ => streams::refused(&format!("to look for {first}"), error),
            });
        }
    };
    Ok(Api::new(client, names(shards), capacity))
}

/// Asks the leaders of all shards, and all nodes.
pub(crate) async fn gather(api: &Api, options: &ClusterOptions) -> Status {
    let names = api.names();
    let infos = (0..names.shards()).map(|shard| {
        let stream = names.stream(shard);
        async move { ShardStatus::of(shard, &stream, api.info(&stream).await) }
    });
    let records = async {
        let stream = names.records_stream();
        Some(ShardStatus::of(0, &stream, api.info(&stream).await))
    };
    let (shards, nodes, records) = tokio::join!(join_all(infos), nodes(api), records);
    let cluster = options.name.to_string();
    let mut status = Status { cluster, shards, nodes, records, ..Status::default() };
    for node in &mut status.nodes {
        let behind = node.known.iter().zip(&status.shards);
        node.behind = behind.map(|(known, shard)| shard.last.saturating_sub(*known)).sum();
    }
    status.judge();
    status
}

/// What the nodes answer that are there.
pub(crate) async fn nodes(api: &Api) -> Vec<NodeStatus> {
    let mut nodes = Vec::new();
    let (client, deadline) = (api.client(), Instant::now() + ANSWERS);
    let asked = async {
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.ok()?;
        let question = api.names().question_subject();
        client.publish_with_reply(question, inbox, Vec::new().into()).await.ok()?;
        while let Some(answer) = answers.next().await {
            // No server is there.
            if answer.status.is_some() || nodes.len() >= MAX_NODES {
                break;
            }
            nodes.extend(serde_json::from_slice::<NodeStatus>(&answer.payload).ok());
        }
        Some(())
    };
    let _ = timeout_at(deadline, asked).map(drop).await;
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    nodes
}

impl Status {
    /// Of a node that has not joined yet.
    pub(crate) fn before_joining(options: &ClusterOptions, failure: Option<String>) -> Self {
        let trouble = failure.iter().map(|why| format!("the node {}: {why}", options.node));
        let node = NodeStatus {
            node: options.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            failure: failure.clone(),
            ..NodeStatus::default()
        };
        let (cluster, trouble) = (options.name.to_string(), trouble.collect());
        Self { cluster, trouble, nodes: vec![node], ..Self::default() }
    }
}

impl ShardStatus {
    fn of(shard: u16, stream: &str, info: Result<StreamInfo, ApiError>) -> Self {
        let stream = stream.to_owned();
        let info = match info {
            Ok(info) => info,
            Err(error) => {
                return Self { shard, stream, failure: Some(error.to_string()), ..Self::default() };
            }
        };
        let group = info.cluster.clone().unwrap_or_default();
        let Group { leader, replicas: followers } = group;
        let epoch = info.metadata(key::EPOCH);
        let storage = info.config.get("storage").and_then(serde_json::Value::as_str);
        let max_bytes = info.number("max_bytes").and_then(|bytes| u64::try_from(bytes).ok());
        let followers = followers.into_iter().map(|follower| FollowerStatus {
            name: follower.name,
            current: follower.current,
            offline: follower.offline,
            lag: follower.lag,
        });
        Self {
            shard,
            stream,
            leader,
            followers: followers.collect(),
            replicas: info.number("num_replicas").unwrap_or(1),
            storage: storage.unwrap_or_default().to_owned(),
            messages: info.state.messages,
            bytes: info.state.bytes,
            max_bytes,
            at: epoch.map(|epoch| format!("{epoch}.{}", info.state.last_seq)),
            last: info.state.last_seq,
            history: info.metadata(key::HISTORY).unwrap_or_default().to_owned(),
            failure: None,
        }
    }
}
