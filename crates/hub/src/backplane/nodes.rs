//! What the hubs of a cluster tell each other without an engine that stores it: which members are present on which channel.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use bytes::Bytes;

use super::Figure;

/// One life of a hub in its cluster: a new one with each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// A random one.
    pub fn random() -> Self {
        // The standard hasher is keyed by the operating system's random source. That is random
        // enough for a number which must differ and need not be secret.
        Self(RandomState::new().hash_one(SystemTime::now()))
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The longest message of a hub to others, in bytes.
pub const MAX_NODE_MESSAGE: usize = 512 << 10;

/// Carries messages from a hub to the others.
///
/// Each comes once or not at all, and those of one hub to all come in their order: what is lost, repeated
/// or late all the same is found by numbers, and asked for again.
pub trait NodeLink: fmt::Debug + Send + Sync {
    /// Sends to one node, or to all others. It does not wait: what cannot be sent now is lost. A message
    /// has at most [`MAX_NODE_MESSAGE`] bytes, and one at least.
    fn send(&self, to: Option<NodeId>, message: Bytes);

    /// Sends a sign of life to all others, ahead of all that waits and in the place of an older one that
    /// does. Default: nothing, for links where nothing waits; what is sent to all has such signs, too.
    fn show_life(&self, sign: Bytes) {
        let _ = sign;
    }
}

/// What a hub does with messages of others. [`heard`](Self::heard) and [`tick`](Self::tick) are called one at
/// a time.
pub trait NodeSink: fmt::Debug + Send + Sync {
    /// A message has come.
    fn heard(&self, message: Bytes);

    /// To be called every quarter of a second: says that the hub is alive, and looks which others are.
    fn tick(&self);

    /// What the hub counts of the others, for operators.
    fn figures(&self) -> Vec<Figure>;
}
