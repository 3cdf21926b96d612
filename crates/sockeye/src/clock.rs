//! The clock of the library: tokio's, so that time which a test pauses stands still here too.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// The time now. The one place that asks; `clippy.toml` forbids std's clock, which goes on while a
/// test's time is paused: a deadline by one clock and a sleep by the other is a busy loop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What has passed on the clock of all connections. It begins long before any of them, so none has a beginning
/// of its own to keep.
pub(crate) fn elapsed() -> Duration {
    elapsed_at(now())
}

/// The moment at which that much has passed; `None` if it cannot be told.
pub(crate) fn at(elapsed: Duration) -> Option<Instant> {
    match elapsed.checked_sub(BEFORE) {
        Some(since) => ORIGIN.checked_add(since),
        None => ORIGIN.checked_sub(BEFORE.saturating_sub(elapsed)),
    }
}

/// A moment while the program runs. A runtime whose time was paused before it was asked for is behind it.
static ORIGIN: LazyLock<Instant> = LazyLock::new(now);

/// What has passed at that moment.
const BEFORE: Duration = Duration::from_hours(24 * 365);

fn elapsed_at(now: Instant) -> Duration {
    let origin = *ORIGIN;
    match now.checked_duration_since(origin) {
        Some(since) => BEFORE + since,
        None => BEFORE.saturating_sub(origin.saturating_duration_since(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_moment_is_told_before_and_after_the_origin() {
        tokio::time::advance(Duration::from_hours(1)).await;
        let (first, moment) = (elapsed(), now());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(elapsed(), first + Duration::from_secs(5));
        assert_eq!((at(first), at(elapsed())), (Some(moment), Some(now())));
        let behind = *ORIGIN - Duration::from_millis(7);
        assert_eq!(elapsed_at(behind), BEFORE - Duration::from_millis(7));
        assert_eq!(at(elapsed_at(behind)), Some(behind));
        assert_eq!(at(Duration::MAX), None);
    }
}
