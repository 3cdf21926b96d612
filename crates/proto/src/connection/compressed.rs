//! What permessage-deflate adds to sending (RFC 7692).

use alloc::boxed::Box;

use bytes::Bytes;

use super::{Connection, State};
#[cfg(feature = "std")]
use crate::deflate::Prepared;
use crate::{
    deflate::{DeflateAgreement, Deflation},
    error::Misuse,
    frame::Opcode,
    message::{Compression, Fragment, Message, MessageKind},
};

/// Compression.
impl Connection {
    /// The same connection with permessage-deflate as the handshake agreed on it; `None` changes
    /// nothing.
    ///
    /// Without context takeover a connection holds no compression state between messages: its thread
    /// lends it. With it, a connection holds a compressor from the first message it sends (see
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

    /// Sends a message in one frame like [`send`](Self::send), compressed or not.
    ///
    /// Do not compress a secret together with what an attacker may choose: the length tells him how
    /// well his guess fits (RFC 7692 §8). With context takeover that holds for all messages compressed
    /// on the connection.
    pub fn send_with(&mut self, message: Message, compression: Compression) -> Result<(), Misuse> {
        let opcode = self.begin_message(message.kind())?;
        let compressed =
            compression == Compression::On && self.queue_compressed(opcode, message.as_bytes());
        if !compressed {
            self.queue_frame(true, opcode, message.into_bytes());
        }
        Ok(())
    }

    /// Sends the next fragment of a message like [`send_fragment`](Self::send_fragment); the message
    /// is compressed if its first fragment says so and compression was agreed on.
    ///
    /// Each fragment is flushed: the peer can inflate what has arrived. Fragments go uncompressed
    /// unless you ask for it, because Safari 15.0 to 15.3 cannot read compressed ones.
    pub fn send_fragment_with(
        &mut self,
        kind: MessageKind,
        payload: Bytes,
        fragment: Fragment,
        compression: Compression,
    ) -> Result<(), Misuse> {
        let wanted = compression == Compression::On && self.deflate.is_some();
        let last = fragment.is_last();
        let (opcode, compress) = match self.fragmented {
            None => (self.begin_message(kind)?, wanted),
            Some((begun, compress)) if begun == kind && self.state == State::Open => {
                (Opcode::Continuation, compress)
            }
            Some(_) if self.state == State::Open => return Err(Misuse::Fragmented),
            Some(_) => return Err(Misuse::Closing),
        };
        self.fragmented = (!last).then_some((kind, compress));
        match &mut self.deflate {
            Some(deflate) if compress => {
                let (role, outbox) = (&mut self.role, &mut self.outbox);
                deflate.outbound.fragment(&payload, last, |fragment| {
                    // RSV1 stands on the first frame only (RFC 7692 §6.1).
                    let rsv1 = opcode != Opcode::Continuation;
                    outbox.push_copy(&role.header(last, rsv1, opcode, fragment), fragment);
                });
            }
            _ => self.queue_frame(last, opcode, payload),
        }
        Ok(())
    }

    /// Sends a message that was prepared for many connections: without encoding it again on a server's
    /// connection, and without compressing it again if it has no context takeover. Elsewhere it is
    /// sent like any other.
    #[cfg(feature = "std")]
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Misuse> {
        let message = prepared.message();
        if self.is_client() {
            return self.send(message.clone());
        }
        let frame = match &self.deflate {
            Some(deflate) if message.len() >= deflate.threshold => {
                if !deflate.outbound.takes_prepared(message.len()) {
                    return self.send(message.clone());
                }
                prepared.shortest()
            }
            _ => prepared.plain(),
        };
        self.begin_message(message.kind())?;
        self.outbox.push_encoded(frame);
        Ok(())
    }

    /// Queues whole messages whose frames were made before, one behind the other: each as
    /// [`Prepared::plain`] has it or, where compression was agreed on and the agreement
    /// [takes it](crate::DeflateAgreement::takes_prepared_frames), as [`Prepared::shortest`] has it.
    /// Neither that they are frames nor that they are such frames is checked.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Misuse::Unmasked`] on a client.
    pub fn send_frames(&mut self, frames: &Bytes) -> Result<(), Misuse> {
        if self.is_client() {
            return Err(Misuse::Unmasked);
        }
        self.begin_message(MessageKind::Binary)?;
        self.outbox.push_encoded(frames);
        Ok(())
    }

    /// Gives up the memory that compression holds while the connection is idle. To be called whenever
    /// that is worth it; it changes nothing but that the next message refers to none before it.
    ///
    /// Only context takeover holds any: a compressor of 147 KiB with the smallest window, 161 with one
    /// of 2¹² bytes, 273 with one of 2¹⁵. What the peer may refer back to has to be kept: what was
    /// received last, up to the peer's window of at most 32 KiB.
    pub fn release_deflate(&mut self) {
        if self.fragmented.is_none()
            && let Some(deflate) = &mut self.deflate
        {
            deflate.outbound.release();
        }
    }

    /// Whether a new message may be sent, and the opcode of its first frame.
    fn begin_message(&self, kind: MessageKind) -> Result<Opcode, Misuse> {
        if self.state != State::Open {
            return Err(Misuse::Closing);
        }
        match (self.fragmented, kind) {
            (Some(_), _) => Err(Misuse::Fragmented),
            (None, MessageKind::Text) => Ok(Opcode::Text),
            (None, MessageKind::Binary) => Ok(Opcode::Binary),
        }
    }

    /// Queues a message compressed; false if it is to go as it is.
    fn queue_compressed(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
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
