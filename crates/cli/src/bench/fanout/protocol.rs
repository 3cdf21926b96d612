//! What is spoken on a connection, as far as the load needs it: bytes in, payloads and bytes out.

use std::time::Instant;

use bytes::{Buf, BytesMut};

/// Takes down the payload of a message that has come.
pub(super) type Hear<'h> = &'h mut dyn FnMut(&[u8]) -> anyhow::Result<()>;

/// A subscriber, or a client that has sent nothing yet.
pub(super) trait Protocol {
    /// Takes from the front of `input` what has come whole, and gives each payload to `hear`.
    ///
    /// # Errors
    ///
    /// When the server refuses, ends it, or breaks the protocol.
    fn take(&mut self, input: &mut BytesMut, now: Instant, hear: Hear<'_>) -> anyhow::Result<()>;

    /// What is to be sent.
    fn outgoing(&mut self) -> &mut dyn Buf;

    /// Whether whatever is published from now on comes here, and may be published here.
    fn is_ready(&self) -> bool;

    /// It is time to ask for messages, where the protocol has to ask.
    fn ask(&mut self) {}
}

/// A publisher.
pub(super) trait Publisher: Protocol {
    /// Puts a message among what is to be sent.
    ///
    /// # Errors
    ///
    /// When nothing can be published any more.
    fn queue_message(&mut self, message: String) -> anyhow::Result<()>;
}

/// What is after `prefix`, wherever that is.
pub(super) fn after<'b>(bytes: &'b [u8], prefix: &[u8]) -> Option<&'b [u8]> {
    let at = bytes.windows(prefix.len()).position(|window| window == prefix)?;
    Some(&bytes[at + prefix.len()..])
}
