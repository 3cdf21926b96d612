//! Sources of publications, whose order is kept.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where publications come from, one after the other: a connection, for example. See
/// [`Publication::source`](crate::Publication::source). Each one that is made differs from all others of
/// the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(u64);

impl Source {
    /// Another one than all before.
    #[expect(clippy::new_without_default, reason = "no two are equal")]
    pub fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        Self(MADE.fetch_add(1, Relaxed))
    }
}
