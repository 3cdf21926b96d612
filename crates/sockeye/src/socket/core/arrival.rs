//! What the protocol decodes for an application: a whole message, or a part of one.

use sockeye_proto::{Message, Part};

use super::read_buffers;

pub(super) enum Arrival {
    Message(Message),
    Part(Part),
}

impl Arrival {
    /// The number of payload bytes.
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

    /// The same, copied out of its read buffer if [`detach`](read_buffers::detach) says so.
    pub(super) fn detached(self) -> Self {
        match self {
            Self::Message(message) => Self::Message(read_buffers::detach(message)),
            Self::Part(part) => {
                let payload = read_buffers::detach_bytes(part.payload);
                Self::Part(Part { payload, ..part })
            }
        }
    }
}
