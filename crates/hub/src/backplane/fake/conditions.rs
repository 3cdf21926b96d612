//! Under which conditions the engine works: what it holds, and what goes wrong.

/// What an engine holds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many shards there are.
    pub shards: u16,
    /// The messages of a history: one more is held.
    pub count: usize,
    /// For how long messages are held, in milliseconds: longer than they are shown.
    pub age: u64,
    /// How often each shard's clock ticks, in milliseconds.
    pub tick: u64,
}

/// How often something goes wrong, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// An announcement is lost.
    pub lost: u8,
    /// An announcement comes twice.
    pub repeated: u8,
    /// An announcement comes after the next one.
    pub swapped: u8,
    /// A copy that is asked is behind, by up to ten messages.
    pub stale: u8,
    /// A copy that is asked does not answer.
    pub silent: u8,
}
