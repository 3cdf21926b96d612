//! A stream: how one is made, and what its leader says of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the stream of a shard is made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    pub(crate) subjects: [String; 1],
    pub(crate) retention: &'static str,
    pub(crate) storage: &'static str,
    pub(crate) num_replicas: u8,
    pub(crate) max_msgs_per_subject: i64,
    /// In nanoseconds.
    pub(crate) max_age: u64,
    pub(crate) max_bytes: i64,
    pub(crate) max_msg_size: i32,
    pub(crate) discard: &'static str,
    /// In nanoseconds.
    pub(crate) duplicate_window: u64,
    pub(crate) allow_direct: bool,
    pub(crate) allow_rollup_hdrs: bool,
    pub(crate) allow_msg_ttl: bool,
    pub(crate) deny_delete: bool,
    pub(crate) republish: Republish,
    pub(crate) metadata: BTreeMap<&'static str, String>,
}

/// What is published again, and where.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Republish {
    pub(crate) src: String,
    pub(crate) dest: String,
}

/// What a leader says of its stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    /// As the server has it, with what this version does not know of.
    pub(crate) config: serde_json::Value,
    #[serde(default)]
    pub(crate) state: StreamState,
    /// Its leader and its followers, where there is more than one server.
    pub(crate) cluster: Option<Group>,
}

/// What a stream has.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) last_seq: u64,
}

/// The servers that have a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) leader: Option<String>,
    pub(crate) replicas: Vec<Follower>,
}

/// A server that follows the leader.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Follower {
    pub(crate) name: String,
    /// Whether it has what the leader has.
    pub(crate) current: bool,
    pub(crate) offline: bool,
    /// How many operations it is behind.
    pub(crate) lag: u64,
}

impl StreamInfo {
    /// An entry of its metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.config.get("metadata")?.get(key)?.as_str()
    }

    /// A number of its configuration.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        self.config.get(key)?.as_i64()
    }

    /// Whether the leader and enough followers that are up to date are a majority.
    pub(crate) fn has_current_quorum(&self) -> bool {
        let Some(group) = &self.cluster else { return true };
        let replicas = usize::try_from(self.number("num_replicas").unwrap_or(1)).unwrap_or(1);
        let current =
            group.replicas.iter().filter(|follower| follower.current && !follower.offline);
        group.leader.is_some() && 1 + current.count() > replicas / 2
    }
}
