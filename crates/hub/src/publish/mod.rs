//! Publishing to a store or a backplane: what waits, the thread that writes, and how it is doing.
//!
//! - `publishing`: the future of an outcome
//! - `batch`: one channel's part of a group that is written at once
//! - `remote`: publishing to a backplane
//! - `writer`: the thread that hands groups to the store
//! - `health`: whether the store takes what is written

mod batch;
mod health;
mod publishing;
pub(crate) mod remote;
mod writer;

pub(crate) use self::batch::{ChannelBatch, PendingPublish};
pub(crate) use self::health::Health;
pub(crate) use self::publishing::Outcome;
pub use self::publishing::{Publishing, Writing};
pub(crate) use self::writer::Writer;
