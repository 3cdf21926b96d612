//! Whose share of the room stands in the way, and what room there is, in words.

use std::fmt;

use crate::Capacity;

/// Whose share of the room stands in the way of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Share {
    /// The publisher's own: no other account holds more.
    Own,
    /// Those of accounts that hold more: all their channels have readers.
    Others,
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Channels => "channels",
            Self::Bytes => "messages",
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "the publisher holds as much of it as any other",
            Self::Others => "all channels of publishers that hold more of it have readers",
        })
    }
}
