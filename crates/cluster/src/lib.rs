//! One Sockeye on many machines: the hub's backplane on NATS JetStream.
//!
//! The log of every channel is in NATS; a node is a cache and a reader of it. Channels are divided
//! among a few streams, the shards, each replicated by JetStream. The offset of a message is its
//! sequence in its shard's stream, so a position means the same on every node; an acknowledged message
//! is on a majority of the servers that have the stream.
//!
//! A node listens to what JetStream publishes again from each shard and gives it to its hub in order,
//! each once: a hole in the sequences is filled from the stream.
//!
//! It needs three servers of NATS, 2.12 or newer, in one cluster, with JetStream. The servers alone
//! may publish under `<name>.l.>`.
//!
//! # The sources
//!
//! | folder or file | |
//! |---|---|
//! | `node` | the hub's backplane: `mod` before its cluster is reached, `cluster` in it |
//! | `operate` | for operators: how a cluster is, changing it, what is wrong, numbers |
//! | `presence`, `records` | what hubs tell each other of their members; tickets, shared by all nodes |
//! | `publish` | publications, in the order in which they came, and their outcome; the clock of a shard |
//! | `shard` | what a node knows of a shard; its messages for the hub, in order and once; when an epoch begins |
//! | `streams` | the streams of a cluster: made, checked, and how much they keep |
//! | `nats` | the connection to NATS, what it may do, what is under way, and the few requests to JetStream |
//! | `message` | subjects, and messages as a stream has them |
//! | `error`, `options` | why a node does not start, and what a cluster is told |
//! | `on_nats` | tests on servers of NATS |

#![forbid(unsafe_code)]

mod error;
mod message;
mod nats;
mod node;
mod operate;
mod options;
mod presence;
mod publish;
mod records;
mod shard;
mod streams;

#[cfg(test)]
mod on_nats;

pub use error::{Refused, StartError};
pub use nats::connection::ServerStatus;
pub use node::cluster::Cluster;
pub use node::{Joining, Node};
pub use operate::apply::{ApplyError, Plan};
pub use operate::figures::{ClusterFigures, ShardFigures};
pub use operate::status::{FollowerStatus, NodeStatus, ShardStatus, Status, status};
pub use options::{
    ApplyOptions, BadClusterName, BadServers, ClusterName, ClusterOptions, Servers, Storage,
};
