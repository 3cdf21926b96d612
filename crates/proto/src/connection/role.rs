//! Which end of a connection this is: a client's masks what it sends.

use alloc::boxed::Box;

use crate::frame::{Header, Opcode};

/// Where a client's masking keys come from (RFC 6455 §5.3): unpredictable, a fresh one per frame.
///
/// Any `FnMut() -> [u8; 4]` is one. Draw from a cryptographic generator: a peer that can foretell
/// keys can make a proxy see requests of its choice.
pub trait MaskSource: Send {
    /// The key for the next frame.
    fn next_key(&mut self) -> [u8; 4];
}

impl<F: FnMut() -> [u8; 4] + Send> MaskSource for F {
    fn next_key(&mut self) -> [u8; 4] {
        self()
    }
}

/// Which end of the connection this is.
pub(super) enum Role {
    /// A pointer of one word: servers, which have many connections, would have room for two.
    Client(Box<Masks>),
    Server,
}

pub(super) struct Masks(Box<dyn MaskSource>);

impl Role {
    pub(super) fn client(masks: Box<dyn MaskSource>) -> Self {
        Self::Client(Box::new(Masks(masks)))
    }

    /// The key for the next frame; servers do not mask.
    pub(super) fn next_mask(&mut self) -> Option<[u8; 4]> {
        match self {
            Self::Client(masks) => Some(masks.0.next_key()),
            Self::Server => None,
        }
    }

    /// The header of the next frame.
    pub(super) fn header(
        &mut self,
        fin: bool,
        rsv1: bool,
        opcode: Opcode,
        payload: &[u8],
    ) -> Header {
        Header { fin, rsv1, opcode, mask: self.next_mask(), length: payload.len() as u64 }
    }
}
