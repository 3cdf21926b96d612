//! What the protocol gives to an application: a whole message, or a part of one.

use sockeye_proto::{Message, Part};

use super::buffers;

pub(super) enum Arrival {
    Message(Message),
    Part(Part),
}

impl Arrival {
    /// How many bytes of payload it has.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Part(part) => part.payload.len(),
        }
    }

    /// The same; a whole message as its only part.
    pub(super) fn into_part(self) -> Part {
        match self {
            Self::Message(message) => {
                Part { kind: message.kind(), payload: message.into_bytes(), last: true }
            }
            Self::Part(part) => part,
        }
    }

    /// The same, cut loose from the buffer it arrived in if that is worth it.
    pub(super) fn detached(self) -> Self {
        match self {
            Self::Message(message) => Self::Message(buffers::detach(message)),
            Self::Part(part) => {
                let payload = buffers::detach_bytes(part.payload);
                Self::Part(Part { payload, ..part })
            }
        }
    }
}
