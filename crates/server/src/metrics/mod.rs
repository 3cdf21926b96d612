//! What the server counts, and how collectors read it.
//!
//! Counting is adding to numbers in memory. Labels have no values but those that this module names, so
//! clients cannot create more. `docs/operate/operations.md` lists the names.
//!
//! - [`connections`]: the register of connections that `/connections` shows.
//! - `disconnect`: ending a connection for an operator.
//! - `counters`: what is counted, of the feature `prometheus`; `off` is in its place without that.
//! - `engine`: what a backplane counts.
//! - `latency`: the histogram of delivery times.
//! - `levels`: gauges that are set when a collector asks; `waiting`: those of what waits, or is remembered for a moment.
//! - `process`: CPU time, memory and descriptors of the process.
//! - `format`: OpenMetrics, or the older text format of Prometheus.

pub(crate) mod connections;
#[cfg(feature = "prometheus")]
mod counters;
#[cfg(feature = "prometheus")]
mod engine;
#[cfg(feature = "prometheus")]
mod format;
#[cfg(feature = "prometheus")]
mod latency;
#[cfg(feature = "prometheus")]
mod levels;
#[cfg(not(feature = "prometheus"))]
mod off;
#[cfg(feature = "prometheus")]
mod process;
#[cfg(feature = "prometheus")]
mod waiting;

use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(feature = "prometheus")]
pub(crate) use self::counters::Metrics;
#[cfg(feature = "prometheus")]
pub(crate) use self::format::Format;
#[cfg(feature = "prometheus")]
pub(crate) use self::levels::Levels;
#[cfg(not(feature = "prometheus"))]
pub(crate) use self::off::Metrics;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum End {
    /// The client left, or the network failed.
    Left,
    /// The channel has ended.
    Ended,
    /// The client read nothing for too long.
    Stalled,
    /// The server stops.
    Drain,
    /// The token has expired.
    Expired,
    /// An operator has ended it.
    Disconnected,
    /// Messages are missing, and its transport or its policy does not continue after that.
    Gap,
    /// The client did something that it may not, or too much of it.
    Refused,
}

impl End {
    /// In the order of their declaration.
    const ALL: [Self; 8] = [
        Self::Left,
        Self::Ended,
        Self::Stalled,
        Self::Drain,
        Self::Expired,
        Self::Disconnected,
        Self::Gap,
        Self::Refused,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Ended => "ended",
            Self::Stalled => "stalled",
            Self::Drain => "drain",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
            Self::Gap => "gap",
            Self::Refused => "refused",
        }
    }
}

/// The time as the hub tells it: milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
