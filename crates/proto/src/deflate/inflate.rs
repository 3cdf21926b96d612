//! The receiving direction: DEFLATE inflated while it arrives (RFC 7692 §7.2.2).
//!
//! The limit is checked inside the loop, on what comes out, a chunk at a time: how much a few bytes
//! claim to expand to makes no difference.

use bytes::BytesMut;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::{
    TAIL,
    params::{Direction, WindowBits},
    pool,
};
use crate::error::{Failure, Limit, Violation};

/// What is put behind a message: the [`TAIL`] that was not sent, and an empty last block. A stream
/// that ends just there was complete.
const END: [u8; 9] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x01, 0x00, 0x00, 0xff, 0xff];
/// How many times a message may go on behind a block that said it was the last (RFC 7692 §7.2.3.4).
/// Senders that write such blocks do it at the end of a message; each costs a copy of the window.
const MAX_RESTARTS: usize = 32;

/// What the receiving direction of a connection keeps between messages.
pub(crate) struct Inbound {
    /// How far back the next message may refer: the peer's window, or 0 without context takeover.
    reach: usize,
    /// The last bytes that compressed messages came to, `reach` of them at most.
    history: Vec<u8>,
}

impl Inbound {
    pub(super) fn new(direction: Direction) -> Self {
        let reach = if direction.takeover { direction.window.bytes() } else { 0 };
        Self { reach, history: Vec::new() }
    }

    /// Adds a message that was compressed.
    pub(crate) fn remember(&mut self, message: &[u8]) {
        let fresh = &message[message.len().saturating_sub(self.reach)..];
        let kept = self.history.len().min(self.reach - fresh.len());
        self.history.drain(..self.history.len() - kept);
        let needed = kept + fresh.len();
        if self.history.capacity() < needed {
            let capacity = needed.max(2 * kept).min(self.reach);
            self.history.reserve_exact(capacity - kept);
        }
        self.history.extend_from_slice(fresh);
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.history.capacity()
    }
}

/// A message being inflated.
pub(crate) struct Inflation {
    inflater: Inflate,
    /// Whether any byte of it has come.
    begun: bool,
    /// Whether its last block said that it was the last.
    ended: bool,
    restarts: usize,
}

impl Inflation {
    /// Begins a message.
    pub(crate) fn new(inbound: &Inbound) -> Result<Self, Failure> {
        let mut inflater = pool::inflater();
        set_window(&mut inflater, &inbound.history)?;
        Ok(Self { inflater, begun: false, ended: false, restarts: 0 })
    }

    /// Inflates the next piece of the message behind what is in `output`, and shows `check` each
    /// chunk that comes out.
    ///
    /// After an error nothing more may be fed.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        output: &mut BytesMut,
        inbound: &Inbound,
        max: usize,
        mut check: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut scratch = pool::scratch();
        while !input.is_empty() {
            if self.ended {
                self.restart(output, inbound)?;
            }
            self.begun = true;
            input = self.inflate(input, output, &mut scratch, max, &mut check)?;
        }
        pool::keep_scratch(scratch);
        Ok(())
    }

    /// Ends the message; what was still missing of it comes out.
    pub(crate) fn finish(
        mut self,
        output: &mut BytesMut,
        inbound: &mut Inbound,
        max: usize,
        mut check: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // A message without a byte is against the letter of RFC 7692 §7.2.3.6, but some senders mean
        // an empty one.
        if self.begun && !self.ended {
            let mut scratch = pool::scratch();
            let rest = self.inflate(&END, output, &mut scratch, max, &mut check)?;
            pool::keep_scratch(scratch);
            if !self.ended || !rest.is_empty() {
                return Err(Violation::Compression.into());
            }
        }
        pool::keep_inflater(self.inflater);
        inbound.remember(output);
        Ok(())
    }

    /// Inflates up to the end of the input or of the stream; gives the rest of the input.
    fn inflate<'a>(
        &mut self,
        mut input: &'a [u8],
        output: &mut BytesMut,
        scratch: &mut [u8],
        max: usize,
        check: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<&'a [u8], Failure> {
        loop {
            // One byte more than allowed tells that there is more than allowed.
            let room = scratch.len().min((max - output.len()).saturating_add(1));
            let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self
                .inflater
                .decompress(input, &mut scratch[..room], InflateFlush::SyncFlush)
                .map_err(|_| Violation::Compression)?;
            input = &input[(self.inflater.total_in() - read) as usize..];
            let fresh = &scratch[..(self.inflater.total_out() - written) as usize];
            if fresh.len() > max - output.len() {
                return Err(Limit::MessageSize { max }.into());
            }
            check(fresh)?;
            output.extend_from_slice(fresh);
            if status == Status::StreamEnd {
                self.ended = true;
                return Ok(input);
            }
            if fresh.len() < room {
                return match input {
                    [] => Ok(input),
                    // It takes no more and gives no more: it cannot go on.
                    _ => Err(Violation::Compression.into()),
                };
            }
        }
    }

    /// Goes on behind a block that said it was the last, with the same window.
    fn restart(&mut self, output: &BytesMut, inbound: &Inbound) -> Result<(), Failure> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Err(Violation::Compression.into());
        }
        self.ended = false;
        self.inflater.reset(false);
        let reach = WindowBits::MAX.bytes();
        let recent = &output[output.len().saturating_sub(reach)..];
        let earlier = inbound.history.len().min(reach - recent.len());
        let earlier = &inbound.history[inbound.history.len() - earlier..];
        set_window(&mut self.inflater, &[earlier, recent].concat())
    }
}

/// Gives a fresh inflater what its input may refer back to.
fn set_window(inflater: &mut Inflate, window: &[u8]) -> Result<(), Failure> {
    if window.is_empty() {
        return Ok(());
    }
    inflater.set_dictionary(window).map(drop).map_err(|_| Violation::Compression.into())
}
