//! What is wrong with a node's part in its cluster, in words: then it is not ready.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;

use crate::ClusterOptions;
use crate::nats::api::Api;
use crate::nats::connection::unfit;
use crate::nats::permissions::Forbidden;
use crate::operate::status::named;
use crate::shard::Shard;

/// Why a node is not ready, if so: it does not know everything, or cannot do what its clients may ask for. A shard may be
/// stale for `allowed`.
pub(crate) fn of_a_node(
    api: &Api,
    options: &ClusterOptions,
    shards: &[Arc<Shard>],
    allowed: Duration,
    forbidden: &Forbidden,
) -> Option<String> {
    let unknown = of_what_is_known(api, options, shards, allowed);
    let all: Vec<_> =
        [unknown, of_the_server(api, options), forbidden.to_all()].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What the server that the node is connected to lacks, if anything.
pub(crate) fn of_the_server(api: &Api, options: &ClusterOptions) -> Option<String> {
    match api.client().connection_state() {
        State::Connected => unfit(&api.client().server_info(), options).map(|why| why.to_string()),
        State::Pending | State::Disconnected => None,
    }
}

/// Why a node does not know everything, if so.
fn of_what_is_known(
    api: &Api,
    options: &ClusterOptions,
    shards: &[Arc<Shard>],
    allowed: Duration,
) -> Option<String> {
    if api.client().connection_state() != State::Connected {
        return Some(format!("NATS cannot be reached at {}", options.servers));
    }
    let unknown = shards.iter().filter(|shard| !shard.is_live());
    let unknown: Vec<_> = unknown.map(|shard| shard.number).collect();
    if !unknown.is_empty() {
        return Some(format!("{} cannot be followed yet: a stream has no leader", named(&unknown)));
    }
    let stale = shards.iter().filter(|shard| shard.staleness() > allowed);
    let (stale, times): (Vec<_>, Vec<_>) =
        stale.map(|shard| (shard.number, shard.staleness().as_secs())).unzip();
    let longest = times.into_iter().max()?;
    Some(format!(
        "it has not been known for {longest} s whether all of {} is here: its stream does not answer",
        named(&stale)
    ))
}
