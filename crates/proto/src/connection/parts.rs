//! Receiving messages in parts: large ones, without holding them whole.

use core::time::Duration;

use super::{Connection, State};
use crate::{
    closed::Peer,
    error::{Failure, Limit},
};

/// Receiving in parts.
impl Connection {
    /// Has the message that is being received, or else the next one, come in parts as they arrive
    /// ([`Event::Part`](super::Event::Part)). After its last part messages come whole again, until
    /// parts are asked for again.
    ///
    /// With `false` the message comes whole after all; one of which a part was given goes on in parts
    /// to its end.
    ///
    /// Such a message may have as many bytes as
    /// [`max_streamed_size`](crate::Config::max_streamed_size) says, and the time of
    /// [`message_timeout`](crate::Config::message_timeout) for each part. A part of a compressed
    /// message has at most 64 KiB and some, however much a few bytes inflate to; meanwhile the
    /// connection holds an inflater (40 KiB) and the last 32 KiB. A part of any other is a slice of the
    /// input buffer.
    pub fn receive_parts(&mut self, wanted: bool) {
        self.receiver.want_parts(wanted);
    }

    /// Whether the message that is being received is larger than a whole one may be, and can come in
    /// parts only: nothing is taken of it until [they are asked for](Self::receive_parts) or it is
    /// [refused](Self::refuse_oversized). Never where
    /// [`max_streamed_size`](crate::Config::max_streamed_size) is not set.
    pub fn is_oversized(&self) -> bool {
        self.state != State::Closed && self.receiver.is_held(&self.config)
    }

    /// Fails the connection, with 1009, if the message that is being received
    /// [can come in parts only](Self::is_oversized).
    pub fn refuse_oversized(&mut self, now: Duration) {
        if self.is_oversized() {
            let max = self.config.max_message_size;
            self.fail(Failure::Limit(Limit::MessageSize { max }), Peer::Local, now);
        }
    }
}
