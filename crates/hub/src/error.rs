//! Why a publication is refused.

use crate::store::StoreError;
use crate::{Capacity, Share};

/// Why a publication was not taken. What is refused reaches no reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The hub holds as many channels or bytes as its options allow
    /// ([`Options::max_channels`](crate::Options::max_channels),
    /// [`Options::max_bytes`](crate::Options::max_bytes)), no account that holds more than the
    /// publisher's can make room, and the channel has no history left to make room with. It may work
    /// later.
    #[error("the server's room for {capacity} is used up, and {share}")]
    Full {
        /// What is used up.
        capacity: Capacity,
        /// Why no other account makes room for it.
        share: Share,
    },
    /// The channel has [ended](crate::Hub::end). [`Hub::forget`](crate::Hub::forget) opens it again.
    #[error("the channel has ended")]
    Ended,
    /// The entry alone would be charged more than a history may have in all.
    #[error("the message would take {charge} bytes of a history that has {limit}")]
    TooLarge {
        /// What the entry would be charged for, in bytes.
        charge: u64,
        /// What there is, in bytes.
        limit: u64,
    },
    /// More waits to be written to the disk than may: it does not keep up. It works again soon.
    #[error("the disk does not keep up with what is published")]
    Busy,
    /// The disk is full. It works again when there is room.
    #[error("the disk is full")]
    NoSpace,
    /// The disk failed.
    #[error("the disk failed")]
    Disk,
    /// More is on its way to the cluster than may be: it does not keep up. It works again soon.
    #[error("the cluster does not keep up with what is published")]
    ClusterBusy,
    /// The cluster has no room left. It works again when there is room.
    #[error("the cluster has no room left")]
    ClusterFull,
    /// The cluster has refused the message, for a reason that was logged.
    #[error("the cluster has refused the message")]
    ClusterFailed,
    /// The cluster has no quorum or cannot be reached. The message was not taken. It works again when the
    /// cluster does.
    #[error("the cluster cannot be reached, or has no quorum")]
    Unavailable,
    /// The hub ended, or the disk or the cluster failed, while the message was on its way: it may have
    /// been taken, or not. Repeated with the same [`IdempotencyKey`](crate::IdempotencyKey) it is there once.
    #[error(
        "it is not known whether the message was kept: the server stopped, or its disk or cluster failed"
    )]
    Unknown,
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace => Self::NoSpace,
            StoreError::Failed | StoreError::Stalled => Self::Disk,
            StoreError::Unavailable => Self::Unavailable,
            StoreError::Unknown | StoreError::Stopped => Self::Unknown,
        }
    }
}
