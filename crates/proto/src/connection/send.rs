//! Sending messages: whole, in fragments, or prepared for many connections.

use bytes::Bytes;

use super::{Connection, Role, State};
#[cfg(feature = "std")]
use crate::deflate::Prepared;
use crate::{
    error::Misuse,
    frame::Opcode,
    message::{Compression, Fragment, Message, MessageKind},
};

/// Messages with compression or without, fragments, and prepared messages.
impl Connection {
    /// Sends a message in one frame like [`send`](Self::send), compressed or not.
    ///
    /// Do not compress a secret together with data that an attacker may choose: the length reveals how well
    /// a guess fits (RFC 7692 §8). With context takeover that holds for all messages compressed on the
    /// connection.
    #[inline]
    pub fn send_with(&mut self, message: Message, compression: Compression) -> Result<(), Misuse> {
        // Most are short and go as they are, on a server, which does not mask.
        let is_usual = self.state == State::Open
            && self.fragmented.is_none()
            && self.deflate.is_none()
            && matches!(self.role, Role::Server);
        if is_usual && self.outbox.push_short(message.kind(), message.as_bytes()) {
            return Ok(());
        }
        self.send_unusual(message, compression)
    }

    fn send_unusual(&mut self, message: Message, compression: Compression) -> Result<(), Misuse> {
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

    /// Sends a message that was prepared for many connections: on a server's connection without encoding it
    /// again, and without context takeover also without compressing it again. Otherwise it is sent like any
    /// other.
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

    /// Queues the frames of whole messages that were made before, one after the other: each as
    /// [`Prepared::plain`] has it or, where compression was agreed on and the agreement
    /// [takes it](crate::DeflateAgreement::takes_prepared_frames), as [`Prepared::shortest`] has it.
    /// The frames are not checked.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Misuse::Unmasked`] on a client.
    pub fn send_frames(&mut self, frames: &Bytes) -> Result<(), Misuse> {
        self.may_send_frames()?;
        self.outbox.push_encoded(frames);
        Ok(())
    }

    /// Whether [`send_frames`](Self::send_frames) takes frames now. Where [nothing is to be
    /// transmitted](Self::transmit), they may as well go to the transport at once: those that are written there whole
    /// count as sent, and the rest of the others has to be queued before anything else.
    ///
    /// # Errors
    ///
    /// Those of [`send_frames`](Self::send_frames).
    pub fn may_send_frames(&self) -> Result<(), Misuse> {
        if self.is_client() {
            return Err(Misuse::Unmasked);
        }
        self.begin_message(MessageKind::Binary).map(|_| ())
    }

    /// Whether a new message may be sent, and the opcode of its first frame.
    pub(super) fn begin_message(&self, kind: MessageKind) -> Result<Opcode, Misuse> {
        if self.state != State::Open {
            return Err(Misuse::Closing);
        }
        match (self.fragmented, kind) {
            (Some(_), _) => Err(Misuse::Fragmented),
            (None, MessageKind::Text) => Ok(Opcode::Text),
            (None, MessageKind::Binary) => Ok(Opcode::Binary),
        }
    }
}
