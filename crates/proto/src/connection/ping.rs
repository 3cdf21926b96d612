//! A ping whose pong cannot be sent yet.

use crate::frame::MAX_CONTROL_PAYLOAD;

/// The payload of a ping.
pub(super) struct PingPayload {
    bytes: [u8; MAX_CONTROL_PAYLOAD],
    length: usize,
}

impl PingPayload {
    /// Of a control frame whose length was checked.
    pub(super) fn new(payload: &[u8]) -> Self {
        let (mut bytes, length) =
            ([0; MAX_CONTROL_PAYLOAD], payload.len().min(MAX_CONTROL_PAYLOAD));
        bytes[..length].copy_from_slice(&payload[..length]);
        Self { bytes, length }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
