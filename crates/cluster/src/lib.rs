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
//! | `node`, `cluster` | the hub's backplane: before the cluster is reached, and in it |
//! | `connection`, `permissions`, `traffic`, `api` | NATS: the connection, what it may do, what is under way, and the few requests to JetStream |
//! | `streams`, `subjects`, `history` | the streams of a cluster, their names, and how much they keep |
//! | `record`, `time` | messages as a stream has them |
//! | `feed`, `shard`, `epoch`, `clock` | a shard's messages for the hub, in order and once; when a new epoch begins |
//! | `publish` | publications, in the order in which they came, and their outcome |
//! | `members`, `outbox`, `records` | presence and tickets, shared by all nodes |
//! | `status`, `apply`, `trouble`, `figures` | for operators: how it is, changing it, what is wrong, numbers |
//! | `options`, `error` | what a cluster is told, and why a node does not start |

#![forbid(unsafe_code)]

mod api;
mod apply;
mod clock;
mod cluster;
mod connection;
mod epoch;
mod error;
mod feed;
mod figures;
mod history;
mod members;
mod node;
mod options;
mod outbox;
mod permissions;
mod publish;
mod record;
mod records;
mod shard;
mod status;
mod streams;
mod subjects;
mod time;
mod traffic;
mod trouble;

#[cfg(test)]
mod nats;

pub use apply::{ApplyError, Plan};
pub use cluster::Cluster;
pub use error::{Refused, StartError};
pub use figures::{ClusterFigures, ShardFigures};
pub use node::{Joining, Node};
pub use options::{
    BadClusterName, BadServers, ClusterName, ClusterOptions, Servers, Storage, Wanted,
};
pub use status::{FollowerStatus, NodeStatus, ServerStatus, ShardStatus, Status, status};
