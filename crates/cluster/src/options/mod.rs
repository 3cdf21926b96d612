//! What a cluster is told: where NATS is, what the cluster is called, what it keeps.
//!
//! - `servers`: the servers of NATS, as a user writes them
//! - `apply`: what is to be changed

mod apply;
mod servers;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use self::apply::ApplyOptions;
pub(crate) use self::servers::shown;
pub use self::servers::{BadServers, Servers};
use sockeye_hub::{ChannelName, ENTRY_OVERHEAD, EventName};

/// What headers and subject of a message take at most beside its payload.
pub(crate) const OVERHEAD: usize = 4096;
// Its channel twice (subject, and `Nats-Subject` when it is published again), its event, and the
// headers of JetStream with their names.
const _: () = assert!(2 * ChannelName::MAX_LEN + EventName::MAX_LEN + 1024 < OVERHEAD);
const _: () = assert!(ENTRY_OVERHEAD < OVERHEAD as u64);

/// Where NATS is and how the cluster keeps its channels. Every node of a cluster is given the same
/// `name` and history.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The servers to connect to, one of them at a time.
    pub servers: Servers,
    /// A file with the JWT and the seed of a NATS user.
    pub credentials: Option<PathBuf>,
    /// A file of certificates, in PEM, that the servers' own are checked with, in the place of those
    /// that the system trusts.
    pub ca_certificate: Option<PathBuf>,
    /// The files of a certificate and its key, both in PEM, to show to the servers.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What the names of its streams and subjects begin with. Default `sockeye`.
    pub name: ClusterName,
    /// The number of streams that its channels are divided among: decided when the cluster is made,
    /// and for ever. Default `None`: that of the cluster that is there, or else 8.
    pub shards: Option<u16>,
    /// On how many servers of NATS each stream is, decided when the cluster is made. Default `None`:
    /// as it is, or else 3.
    pub replicas: Option<u8>,
    /// Where the servers of NATS keep it, decided when the cluster is made. Default `None`: as it is, or else
    /// on disk.
    pub storage: Option<Storage>,
    /// The most bytes of all channels on each server that has them, decided when the cluster is made.
    /// Default `None`: as it is, or else as many as the servers' own limits allow.
    pub max_bytes: Option<u64>,
    /// The most entries of a channel: see [`sockeye_hub::Options::history_count`].
    pub history_count: usize,
    /// The most bytes of a channel: see [`sockeye_hub::Options::history_bytes`].
    pub history_bytes: u64,
    /// The greatest age of an entry: see [`sockeye_hub::Options::history_age`].
    pub history_age: Duration,
    /// The largest payload that is published, in bytes.
    pub max_message: usize,
    /// What this node is called where operators see it. Default: a number by chance.
    pub node: String,
    /// How many messages of a shard may wait between the connection to NATS and the feed. Beyond it
    /// they are dropped, and fetched again. Default 65,536, at least 16.
    pub feed_capacity: usize,
    /// How many bytes of messages a node holds back while others are missing that come before them, an
    /// equal part for each shard and one answer of 4 MiB more. Beyond it messages are fetched again, and
    /// a shard that is farther behind is passed over: its channels are read again when they are used.
    /// Default 256 MiB.
    pub max_held_bytes: u64,
    /// How many channels are read from NATS at once, an equal part of each shard and one at least; further
    /// ones of the shard wait in turn, up to 10 s. Each has up to 4 MiB in memory meanwhile, and of those
    /// that have more four at a time up to twice `history_bytes`. Default 32.
    pub max_reads: usize,
}

impl ClusterOptions {
    /// The defaults, with these servers.
    pub fn new(servers: Servers) -> Self {
        let hub = sockeye_hub::Options::default();
        Self {
            servers,
            credentials: None,
            ca_certificate: None,
            certificate: None,
            name: ClusterName("sockeye".to_owned()),
            shards: None,
            replicas: None,
            storage: None,
            max_bytes: None,
            history_count: hub.history_count,
            history_bytes: hub.history_bytes,
            history_age: hub.history_age,
            max_message: 64 << 10,
            node: random_name(),
            feed_capacity: 65_536,
            max_held_bytes: 256 << 20,
            max_reads: 32,
        }
    }

    /// Sets [`servers`](Self::servers).
    pub fn servers(mut self, servers: Servers) -> Self {
        self.servers = servers;
        self
    }

    /// Sets [`node`](Self::node).
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Sets [`credentials`](Self::credentials).
    pub fn credentials(mut self, file: impl Into<Option<PathBuf>>) -> Self {
        self.credentials = file.into();
        self
    }

    /// Sets [`ca_certificate`](Self::ca_certificate).
    pub fn ca_certificate(mut self, file: impl Into<Option<PathBuf>>) -> Self {
        self.ca_certificate = file.into();
        self
    }

    /// Sets [`certificate`](Self::certificate): its file, then that of its key.
    pub fn certificate(mut self, files: impl Into<Option<(PathBuf, PathBuf)>>) -> Self {
        self.certificate = files.into();
        self
    }

    /// Sets [`name`](Self::name).
    pub fn name(mut self, name: ClusterName) -> Self {
        self.name = name;
        self
    }

    /// Sets [`shards`](Self::shards).
    pub fn shards(mut self, shards: impl Into<Option<u16>>) -> Self {
        self.shards = shards.into();
        self
    }

    /// Sets [`replicas`](Self::replicas).
    pub fn replicas(mut self, servers: impl Into<Option<u8>>) -> Self {
        self.replicas = servers.into();
        self
    }

    /// Sets [`storage`](Self::storage).
    pub fn storage(mut self, storage: impl Into<Option<Storage>>) -> Self {
        self.storage = storage.into();
        self
    }

    /// Sets [`max_bytes`](Self::max_bytes).
    pub fn max_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_bytes = bytes.into();
        self
    }

    /// Sets [`history_count`](Self::history_count).
    pub fn history_count(mut self, count: usize) -> Self {
        self.history_count = count;
        self
    }

    /// Sets [`history_bytes`](Self::history_bytes).
    pub fn history_bytes(mut self, bytes: u64) -> Self {
        self.history_bytes = bytes;
        self
    }

    /// Sets [`history_age`](Self::history_age).
    pub fn history_age(mut self, time: Duration) -> Self {
        self.history_age = time;
        self
    }

    /// Sets [`max_message`](Self::max_message), in bytes.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets [`feed_capacity`](Self::feed_capacity).
    pub fn feed_capacity(mut self, messages: usize) -> Self {
        self.feed_capacity = messages;
        self
    }

    /// Sets [`max_held_bytes`](Self::max_held_bytes).
    pub fn max_held_bytes(mut self, bytes: u64) -> Self {
        self.max_held_bytes = bytes;
        self
    }

    /// Sets [`max_reads`](Self::max_reads).
    pub fn max_reads(mut self, reads: usize) -> Self {
        self.max_reads = reads;
        self
    }

    /// The largest message of NATS that is published, in bytes.
    pub(crate) fn max_message_size(&self) -> usize {
        self.max_message.saturating_add(OVERHEAD)
    }

    /// How many channels of one of that many shards are read at once.
    pub(crate) fn reads_of_shard(&self, shards: u16) -> usize {
        (self.max_reads / usize::from(shards.max(1))).max(1)
    }
}

/// Six digits of which a cluster hardly has the same twice.
fn random_name() -> String {
    let mut bytes = [0; 3];
    // Without randomness it has a name, too.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the servers of NATS keep the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// On disk.
    File,
    /// In memory: what was acknowledged survives as long as a majority of the servers keeps running.
    Memory,
}

impl FromStr for Storage {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "file" => Ok(Self::File),
            "memory" => Ok(Self::Memory),
            _ => Err("storage is `file` or `memory`"),
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Memory => "memory",
        })
    }
}

/// What the names of a cluster's streams and subjects begin with: 1 to 32 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a [`ClusterName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's name is 1 to 32 letters, digits, `_` and `-`")]
pub struct BadClusterName;

impl FromStr for ClusterName {
    type Err = BadClusterName;

    fn from_str(text: &str) -> Result<Self, BadClusterName> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match (1..=32).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(BadClusterName),
        }
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_a_short_plain_name() {
        let longest = "c".repeat(32);
        for name in ["a", "Prod_2-b", &longest] {
            assert_eq!(name.parse::<ClusterName>().unwrap().as_str(), name);
        }
        for name in ["", "a.b", "a b", "ü", "*", &"c".repeat(33)] {
            assert_eq!(name.parse::<ClusterName>(), Err(BadClusterName), "{name:?}");
        }
    }
}
