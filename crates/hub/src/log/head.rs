//! Where a log stands, for a store.

/// Where a log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The offset just before the oldest entry kept.
    pub start: u64,
    /// The offset of the newest entry there ever was.
    pub last: u64,
    /// The timestamp of that.
    pub last_ts: u64,
    /// Entries up to this offset were deleted on purpose.
    pub forgotten: u64,
    /// What the entries kept are charged for, in bytes.
    pub bytes: u64,
    /// Keys of entries up to this offset are not remembered any more.
    pub keys_start: u64,
    /// Whether the channel has ended. Then `last` is the offset of its end, which is no entry.
    pub ended: bool,
}

impl Head {
    /// The offset of the newest entry there ever was: not that of an end.
    pub fn newest(&self) -> u64 {
        self.last - u64::from(self.ended).min(self.last)
    }
}
