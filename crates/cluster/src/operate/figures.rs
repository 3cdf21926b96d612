//! What a node has done in its cluster, for operators.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sockeye_hub::backplane::{Amount, Figure};

use crate::publish::PublishCounts;
use crate::shard::{Counts, Shard};

/// What a node has done in its cluster since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterFigures {
    /// Each shard, in order.
    pub shards: Vec<ShardFigures>,
    /// Messages that were stored.
    pub stored: u64,
    /// Repeats of messages that were stored before.
    pub repeated: u64,
    /// Messages that were refused: too large, or no room for them.
    pub refused: u64,
    /// Messages that were not taken in time.
    pub unavailable: u64,
    /// Messages of which it is not known whether they were stored.
    pub unknown: u64,
}

/// What a node has done to follow a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardFigures {
    /// Messages that came.
    pub messages: u64,
    /// Holes that were found in what came.
    pub holes: u64,
    /// Messages that were fetched to fill them.
    pub filled: u64,
    /// What is held back at present until something is there that is missing before it, in bytes.
    pub held: u64,
    /// How often it was too far behind to fetch all, and began again behind it.
    pub skips: u64,
    /// How often the stream had lost something, and a new epoch began.
    pub resets: u64,
    /// For how long it has not been known whether something is missing.
    pub stale: Duration,
}

impl ClusterFigures {
    pub(crate) fn of(shards: &[Arc<Shard>], counts: &PublishCounts) -> Self {
        let load = |count: &AtomicU64| count.load(Relaxed);
        let PublishCounts { stored, repeated, refused, unavailable, unknown } = counts;
        let shards = shards.iter().map(|shard| {
            let Counts { messages, holes, filled, held, skips, resets } = &shard.counts;
            ShardFigures {
                messages: load(messages),
                holes: load(holes),
                filled: load(filled),
                held: load(held),
                skips: load(skips),
                resets: load(resets),
                stale: shard.staleness(),
            }
        });
        Self {
            shards: shards.collect(),
            stored: load(stored),
            repeated: load(repeated),
            refused: load(refused),
            unavailable: load(unavailable),
            unknown: load(unknown),
        }
    }

    /// Of a node that has not joined yet: for that long it has not known anything.
    pub(crate) fn before_joining(stale: Duration) -> Self {
        Self { shards: vec![ShardFigures { stale, ..ShardFigures::default() }], ..Self::default() }
    }

    /// All of it under the names of metrics. A level is that of the shard where it is the worst.
    pub(crate) fn for_operators(&self) -> Vec<Figure> {
        let sum = |count: fn(&ShardFigures) -> u64| self.shards.iter().map(count).sum();
        let stale = self.shards.iter().map(|shard| shard.stale).max().unwrap_or_default();
        let counts = [
            ("received", "Messages that came from all shards", sum(|shard| shard.messages)),
            ("holes", "Holes found in what came", sum(|shard| shard.holes)),
            ("filled", "Messages fetched to fill holes", sum(|shard| shard.filled)),
            ("skips", "Times a shard was too far behind to fetch all", sum(|shard| shard.skips)),
            ("resets", "Times a stream had lost something", sum(|shard| shard.resets)),
            ("stored", "Publications stored", self.stored),
            ("repeated", "Publications that were stored before", self.repeated),
            ("refused", "Publications refused: too large, or no room", self.refused),
            ("unavailable", "Publications that were not taken in time", self.unavailable),
            (
                "unknown",
                "Publications of which it is unknown whether they are stored",
                self.unknown,
            ),
        ];
        let counts =
            counts.map(|(name, help, count)| Figure { name, help, amount: Amount::Count(count) });
        let stale = Figure {
            name: "stale_seconds",
            help: "Time since the shard that is known least was known to be complete",
            amount: Amount::Level(stale.as_secs_f64()),
        };
        let held = Figure {
            name: "held_bytes",
            help: "Messages held back until others have come",
            amount: Amount::Level(sum(|shard| shard.held) as f64),
        };
        counts.into_iter().chain([held, stale]).collect()
    }
}
