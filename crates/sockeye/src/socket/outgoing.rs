//! Messages that were accepted while another was being sent in fragments, and are not queued yet.

use sockeye_proto::{Compression, Message, Prepared};

/// Those messages, in the order in which they are to be queued.
#[derive(Default)]
pub(super) struct BehindStream(pub(super) Vec<Outgoing>);

/// One of them.
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
