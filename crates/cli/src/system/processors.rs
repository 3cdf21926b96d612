//! How many processors there are for this program.

use std::thread;

/// Those that it may run on, by affinity and quota too; one where that cannot be told.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
