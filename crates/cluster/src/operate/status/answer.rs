//! What a node says of itself when it is asked under `<name>.s`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use futures_util::StreamExt as _;

use super::NodeStatus;
use crate::ClusterOptions;
use crate::nats::api::Api;
use crate::nats::permissions::Forbidden;
use crate::operate::trouble;
use crate::shard::Shard;

/// What a node knows of itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) api: Api,
    pub(crate) options: ClusterOptions,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) since: Instant,
    /// For how long a shard may be stale.
    pub(crate) allowed: Duration,
    pub(crate) forbidden: Forbidden,
}

impl About {
    /// Whether all shards are followed and none is stale, and the node may do what its clients ask for.
    pub(crate) fn is_healthy(&self) -> bool {
        let Self { api, options, shards, allowed, forbidden, .. } = self;
        let is_followed = |shard: &Arc<Shard>| shard.is_live() && shard.staleness() <= *allowed;
        shards.iter().all(is_followed)
            && trouble::of_the_server(api, options).is_none()
            && forbidden.to_all().is_none()
    }

    pub(crate) fn status(&self) -> NodeStatus {
        let Self { api, options, shards, since, allowed, forbidden } = self;
        let failure = trouble::of_a_node(api, options, shards, *allowed, forbidden);
        let ready = failure.is_none();
        let stale = shards.iter().map(|shard| shard.staleness()).max().unwrap_or_default();
        let server = match api.client().connection_state() {
            State::Connected => api.client().server_info().server_name,
            State::Pending | State::Disconnected => String::new(),
        };
        NodeStatus {
            node: options.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: since.elapsed().as_secs(),
            server,
            ready,
            failure: failure.or_else(|| forbidden.lately()),
            // A millisecond says enough.
            stale: (stale.as_secs_f64() * 1000.0).round() / 1000.0,
            behind: 0,
            known: shards.iter().map(|shard| shard.place().upto).collect(),
        }
    }
}

/// Answers for as long as there is a client.
pub(crate) async fn answer(about: About) {
    let client = about.api.client().clone();
    let Ok(mut questions) = client.subscribe(about.api.names().question_subject()).await else {
        return;
    };
    while let Some(question) = questions.next().await {
        let Some(reply) = question.reply else { continue };
        if let Ok(answer) = serde_json::to_vec(&about.status())
            && client.publish(reply, answer.into()).await.is_err()
        {
            return;
        }
    }
}
