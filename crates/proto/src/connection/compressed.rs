//! permessage-deflate on a connection (RFC 7692).

use alloc::boxed::Box;

use super::Connection;
use crate::{
    deflate::{DeflateAgreement, Deflation},
    frame::Opcode,
};

/// Compression.
impl Connection {
    /// The same connection with permessage-deflate as the handshake agreed on it; `None` changes
    /// nothing.
    ///
    /// Without context takeover a connection holds no compression state between messages: it borrows its
    /// thread's. With it, a connection holds a compressor from the first message it sends (see
    /// [`release_deflate`](Self::release_deflate)), and the last bytes it received: as many as the
    /// peer's window has, at most 32 KiB.
    ///
    /// [`max_message_size`](crate::Config::max_message_size) holds for what messages inflate to, and
    /// is checked while they do.
    pub fn with_deflate(mut self, agreement: impl Into<Option<DeflateAgreement>>) -> Self {
        let is_client = self.is_client();
        let agreement = agreement.into();
        self.deflate = agreement.map(|agreement| Box::new(Deflation::new(&agreement, is_client)));
        self
    }

    /// Frees the memory that compression holds, for a connection that is idle. The only effect on the peer
    /// is that the next message does not refer to earlier ones.
    ///
    /// Only context takeover holds any: a compressor of 147 KiB with the smallest window, 161 with one
    /// of 2¹² bytes, 273 with one of 2¹⁵. The last bytes received are kept, because the peer may refer to
    /// them: up to its window of at most 32 KiB.
    pub fn release_deflate(&mut self) {
        if self.fragmented.is_none()
            && let Some(deflate) = &mut self.deflate
        {
            deflate.outbound.release();
        }
    }

    /// Queues a message compressed; false if it has to be sent uncompressed.
    pub(super) fn queue_compressed(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        let Some(deflate) = &mut self.deflate else { return false };
        if payload.len() < deflate.threshold {
            return false;
        }
        let (role, outbox) = (&mut self.role, &mut self.outbox);
        deflate.outbound.message(payload, |compressed| {
            outbox.push_copy(&role.header(true, true, opcode, compressed), compressed);
        })
    }
}
