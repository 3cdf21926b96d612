//! The outcome of sending without waiting.

/// What became of frames that were [sent without waiting](crate::Writer::try_send_frames).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The transport has taken all of them.
    Written,
    /// They are queued, wholly or in part: the peer is slow to read. Or the connection was lost meanwhile,
    /// which waiting for them tells.
    Queued,
    /// Nothing was sent, because too much is queued already (64 KiB), a message is being sent in fragments, or
    /// the connection is closing or has ended: what waits for room tells which.
    Refused,
}
