//! Fan-out beside message brokers, and the transports of a channel side by side.

mod cases;
mod serve;
mod servers;
pub(super) mod table;

pub(super) use self::cases::{install, names, run, servers, titles};
pub(crate) use self::servers::Broker;
pub(crate) use super::running::Running;
