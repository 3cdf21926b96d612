//! The clock of the library: tokio's, so that time which a test pauses stands still here too.

use std::time::Instant;

/// The time now. The one place that asks; `clippy.toml` forbids std's clock, which goes on while a
/// test's time is paused: a deadline by one clock and a sleep by the other is a busy loop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
