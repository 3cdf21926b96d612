//! The receiving direction: DEFLATE inflated while it arrives (RFC 7692 §7.2.2).
//!
//! The limit is checked inside the loop, on what comes out, a chunk at a time: how much a few bytes
//! claim to expand to makes no difference.

use alloc::collections::VecDeque;

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
/// How many times a message may go on after a block marked as the last (RFC 7692 §7.2.3.4).
/// Senders that write such blocks do it at the end of a message; each costs a copy of the window.
const MAX_RESTARTS: usize = 32;

/// What the receiving direction of a connection keeps between messages.
pub(crate) struct Inbound {
    /// How far back the next message may refer: the peer's window, or 0 without context takeover.
    reach: usize,
    /// The last bytes that compressed messages came to, `reach` of them at most.
    history: VecDeque<u8>,
}

impl Inbound {
    pub(super) fn new(direction: Direction) -> Self {
        let reach = if direction.takeover { direction.window.bytes() } else { 0 };
        Self { reach, history: VecDeque::new() }
    }

    /// Adds a message that was compressed.
    pub(crate) fn remember(&mut self, message: &[u8]) {
        keep_last(&mut self.history, message, self.reach);
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.history.capacity()
    }
}

/// A message being inflated.
pub(crate) struct Inflation {
    inflater: Inflate,
    /// Whether any byte of it has arrived.
    begun: bool,
    /// Whether its last block was marked as the last.
    ended: bool,
    /// Whether more may come out though nothing goes in.
    has_more: bool,
    restarts: usize,
    /// The last bytes that were taken out of the output while the message goes on, 32 KiB at most.
    taken_out: VecDeque<u8>,
}

/// How much may come out.
#[derive(Clone, Copy)]
pub(crate) struct OutputLimits {
    /// At this length of the output inflating pauses; what is left of the input stays.
    pub(crate) pause_at: usize,
    /// The most that the output may have; more is the end.
    pub(crate) most: usize,
    /// The message's limit, to be named then.
    pub(crate) limit: usize,
}

impl Inflation {
    /// Begins a message.
    pub(crate) fn new(inbound: &Inbound) -> Result<Self, Failure> {
        let mut inflater = pool::inflater();
        set_window(&mut inflater, &inbound.history)?;
        let taken_out = VecDeque::new();
        Ok(Self { inflater, begun: false, ended: false, has_more: false, restarts: 0, taken_out })
    }

    /// Inflates the next piece of the message behind what is in `output`, and shows `check` each
    /// chunk that comes out. Gives how many bytes of the input are left because it paused.
    ///
    /// After an error nothing more may be fed.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        output: &mut BytesMut,
        inbound: &Inbound,
        limits: OutputLimits,
        mut check: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut scratch = pool::scratch();
        while output.len() < limits.pause_at && (self.has_more || !input.is_empty()) {
            if self.ended {
                self.restart(output, inbound)?;
            }
            self.begun = true;
            input = self.inflate(input, output, &mut scratch, limits, &mut check)?;
        }
        pool::keep_scratch(scratch);
        Ok(input.len())
    }

    /// Whether it paused before all came out that had gone in.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Tells it of bytes that are taken out of the output while the message goes on: what comes may
    /// refer back to them.
    pub(crate) fn take_out(&mut self, bytes: &[u8]) {
        keep_last(&mut self.taken_out, bytes, WindowBits::MAX.bytes());
    }

    /// Ends the message; what was still missing of it comes out.
    pub(crate) fn finish(
        mut self,
        output: &mut BytesMut,
        inbound: &mut Inbound,
        limits: OutputLimits,
        mut check: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // A message without a byte is against the letter of RFC 7692 §7.2.3.6, but some senders mean
        // an empty one.
        if self.begun && !self.ended {
            let mut scratch = pool::scratch();
            // A few bytes at the most, and never the last of many: no pause.
            let limits = OutputLimits { pause_at: usize::MAX, ..limits };
            let rest = self.inflate(&END, output, &mut scratch, limits, &mut check)?;
            pool::keep_scratch(scratch);
            if !self.ended || !rest.is_empty() {
                return Err(Violation::Compression.into());
            }
        }
        pool::keep_inflater(self.inflater);
        let (first, second) = self.taken_out.as_slices();
        [first, second, output].into_iter().for_each(|bytes| inbound.remember(bytes));
        Ok(())
    }

    /// Inflates up to the end of the input or of the stream, or to a pause; gives the rest of the
    /// input.
    fn inflate<'a>(
        &mut self,
        mut input: &'a [u8],
        output: &mut BytesMut,
        scratch: &mut [u8],
        limits: OutputLimits,
        check: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<&'a [u8], Failure> {
        loop {
            // One byte more than allowed tells that there is more than allowed.
            let space = (limits.most - output.len()).saturating_add(1);
            let space = scratch.len().min(space).min(limits.pause_at - output.len());
            let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
            let status =
                self.inflater.decompress(input, &mut scratch[..space], InflateFlush::SyncFlush);
            input = &input[(self.inflater.total_in() - read) as usize..];
            let fresh = &scratch[..(self.inflater.total_out() - written) as usize];
            if fresh.len() > limits.most - output.len() {
                return Err(Limit::MessageSize { max: limits.limit }.into());
            }
            // What came out before it failed is looked at first: which error is named must not depend
            // on how the input was cut.
            check(fresh)?;
            let status = status.map_err(|_| Violation::Compression)?;
            output.extend_from_slice(fresh);
            self.has_more = fresh.len() == space && status != Status::StreamEnd;
            if status == Status::StreamEnd {
                self.ended = true;
                return Ok(input);
            }
            if self.has_more && output.len() >= limits.pause_at {
                return Ok(input);
            }
            if fresh.len() < space {
                return match input {
                    [] => Ok(input),
                    // It takes no more and gives no more: it cannot go on.
                    _ => Err(Violation::Compression.into()),
                };
            }
        }
    }

    /// Goes on after a block marked as the last, with the same window.
    fn restart(&mut self, output: &BytesMut, inbound: &Inbound) -> Result<(), Failure> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Err(Violation::Compression.into());
        }
        self.ended = false;
        self.inflater.reset(false);
        let reach = WindowBits::MAX.bytes();
        let mut window = VecDeque::with_capacity(reach);
        for bytes in [&inbound.history, &self.taken_out] {
            let (first, second) = bytes.as_slices();
            keep_last(&mut window, first, reach);
            keep_last(&mut window, second, reach);
        }
        keep_last(&mut window, output, reach);
        set_window(&mut self.inflater, &window)
    }
}

/// Adds bytes to those kept, of which the last `most` stay. None of them is moved for it.
fn keep_last(kept: &mut VecDeque<u8>, bytes: &[u8], most: usize) {
    let fresh = &bytes[bytes.len().saturating_sub(most)..];
    let stays = kept.len().min(most - fresh.len());
    kept.drain(..kept.len() - stays);
    let needed = stays + fresh.len();
    if kept.capacity() < needed {
        let capacity = needed.max(2 * stays).min(most);
        kept.reserve_exact(capacity - stays);
    }
    kept.extend(fresh);
}

/// Gives a fresh inflater what its input may refer back to.
fn set_window(inflater: &mut Inflate, window: &VecDeque<u8>) -> Result<(), Failure> {
    let (first, second) = window.as_slices();
    for bytes in [first, second].into_iter().filter(|bytes| !bytes.is_empty()) {
        inflater.set_dictionary(bytes).map_err(|_| Violation::Compression)?;
    }
    Ok(())
}
