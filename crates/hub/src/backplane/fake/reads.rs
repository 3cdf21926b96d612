//! Reads of channels: how many there are at once.

use super::Engine;

/// Reads of channels, of all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// How many are under way.
    pub under_way: usize,
    /// The most that have been at once.
    pub most: usize,
    /// How many have begun.
    pub begun: usize,
}

/// A read under way.
pub(super) struct ReadGuard(Engine);

impl ReadGuard {
    pub(super) fn begin(engine: &Engine) -> Self {
        let reads = &mut engine.lock().reads;
        reads.begun += 1;
        reads.under_way += 1;
        reads.most = reads.most.max(reads.under_way);
        Self(engine.clone())
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.0.lock().reads.under_way -= 1;
    }
}
