//! Small records that all hubs of a cluster share, for a time.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::Answer;

/// A record, and the number of its change: each change has a greater one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub value: Bytes,
    /// The number of the change that made it so.
    pub revision: u64,
}

/// Records by their keys, each gone after its time. Of several that change one at once, one succeeds.
///
/// An [`Answer`] is [`Unavailable`](crate::store::StoreError::Unavailable) if the engine cannot be asked,
/// and [`NoSpace`](crate::store::StoreError::NoSpace) if it is full. If it did not answer, the change may
/// have been made.
pub trait Records: fmt::Debug + Send + Sync {
    /// Writes the record if it is at that revision, 0 where there is none, and gives the new revision;
    /// `None` if it is at another. A key is made of ASCII letters, digits, `-` and `_`.
    fn put(&self, key: String, value: Bytes, at: u64, ttl: Duration) -> Answer<Option<u64>>;

    /// How much of the room for all records is taken, in per mille. Default: nothing, where there is no
    /// bound.
    fn taken(&self) -> Answer<u32> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// The record as it is, from the server that knows for certain.
    fn get(&self, key: String) -> Answer<Option<Record>>;
}
