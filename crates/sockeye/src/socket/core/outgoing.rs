//! Messages that wait for the end of one that is being sent in fragments.

use sockeye_proto::{Compression, Message, Prepared};

/// The waiting messages, in order.
#[derive(Default)]
pub(super) struct BehindStream(pub(super) Vec<Outgoing>);

/// A waiting message.
pub(super) enum Outgoing {
    Message(Message, Compression),
    Prepared(Prepared),
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Message(message, _) => message.len(),
            Self::Prepared(prepared) => prepared.message().len(),
        }
    }
}
