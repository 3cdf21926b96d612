//! What is to be transmitted: small frames side by side in one buffer, large payloads as they are.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::mem;
#[cfg(feature = "std")]
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::spare;
use crate::{
    frame::{HEADER_ROOM, Header},
    mask::apply_mask,
    message::MessageKind,
};

/// From this size on a payload is not copied beside its header.
const WORTH_SHARING: usize = 4096;
/// What a buffer may have beyond twice what waits in it.
const SLACK: usize = 256;

/// The bytes that a connection has to transmit, in order; a [`Buf`].
///
/// Empty, it holds no memory.
#[derive(Debug, Default)]
pub struct Outbox(
    /// `None` where nothing waits: most connections have nothing to send.
    Option<Box<Waiting>>,
);

/// What waits to be transmitted.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// What goes first, where there are large payloads.
    segments: Option<Box<Segments>>,
    /// What goes last, and is still growing.
    staging: Vec<u8>,
    /// How much of the staging area was transmitted.
    sent: usize,
    /// How many bytes there are until the mark, if it was not passed.
    until_mark: usize,
}

/// Runs of small frames, and large payloads.
#[derive(Debug, Default)]
struct Segments {
    queue: VecDeque<Bytes>,
    length: usize,
}

impl Outbox {
    /// How many bytes are waiting.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// Whether there is nothing to transmit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the mark behind what is waiting.
    pub(super) fn mark(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.until_mark = waiting.len();
        }
    }

    /// Whether all was transmitted that was waiting when the mark was put.
    pub(super) fn is_past_mark(&self) -> bool {
        self.0.as_ref().is_none_or(|waiting| waiting.until_mark == 0)
    }

    /// How much memory is held.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let Some(waiting) = &self.0 else { return 0 };
        let segments = waiting
            .segments
            .as_ref()
            .map_or(0, |segments| segments.queue.capacity() * size_of::<Bytes>() + segments.length);
        segments + waiting.staging.capacity()
    }

    /// Adds a frame; its payload is masked here if the header has a key.
    pub(super) fn push(&mut self, header: &Header, payload: Bytes) {
        if payload.len() < WORTH_SHARING {
            self.push_copy(header, &payload);
            return;
        }
        let waiting = self.waiting();
        waiting.push_header(header, 0);
        waiting.push_shared(match header.mask {
            Some(key) => masked(payload, key),
            None => payload,
        });
    }

    /// Adds a frame of a whole message without a mask if its length fits into one byte; whether it did.
    #[inline(always)]
    pub(super) fn push_short(&mut self, kind: MessageKind, payload: &[u8]) -> bool {
        let Some(header) = Header::short(kind, payload) else { return false };
        let waiting = self.waiting();
        waiting.reserve(header.len() + payload.len());
        waiting.staging.extend_from_slice(&header);
        waiting.staging.extend_from_slice(payload);
        true
    }

    /// Adds a frame, copying its payload.
    pub(super) fn push_copy(&mut self, header: &Header, payload: &[u8]) {
        let waiting = self.waiting();
        waiting.push_header(header, payload.len());
        let begin = waiting.staging.len();
        waiting.staging.extend_from_slice(payload);
        if let Some(key) = header.mask {
            apply_mask(&mut waiting.staging[begin..], key, 0);
        }
    }

    /// Adds a frame that is encoded already.
    pub(super) fn push_encoded(&mut self, frame: &Bytes) {
        let waiting = self.waiting();
        if frame.len() < WORTH_SHARING {
            waiting.reserve(frame.len());
            waiting.staging.extend_from_slice(frame);
        } else {
            waiting.push_shared(frame.clone());
        }
    }

    fn waiting(&mut self) -> &mut Waiting {
        self.0.get_or_insert_with(spare::take)
    }
}

impl Waiting {
    fn len(&self) -> usize {
        let segments = self.segments.as_ref().map_or(0, |segments| segments.length);
        segments + self.staging.len() - self.sent
    }

    /// Adds a header, and makes room for that many bytes after it.
    fn push_header(&mut self, header: &Header, room: usize) {
        self.reserve(HEADER_ROOM + room);
        let (bytes, size) = header.encode();
        let end = self.staging.len() + size;
        // To copy a few bytes too many and drop them is faster than to copy just as many as count.
        self.staging.extend_from_slice(&bytes);
        self.staging.truncate(end);
    }

    #[inline]
    fn reserve(&mut self, room: usize) {
        if self.staging.capacity() - self.staging.len() < room {
            self.grow(room);
        }
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        if self.staging.capacity() == 0 {
            self.staging = spare::take_buffer();
        }
        self.staging.reserve(room);
    }

    fn push_shared(&mut self, bytes: Bytes) {
        let segments = self.segments.get_or_insert_default();
        if self.sent < self.staging.len() {
            segments.push(if self.staging.len() < WORTH_SHARING {
                Bytes::copy_from_slice(&self.staging[self.sent..])
            } else {
                Bytes::from(mem::take(&mut self.staging)).split_off(self.sent)
            });
        }
        segments.push(bytes);
        self.clear_staging();
    }

    fn clear_staging(&mut self) {
        self.sent = 0;
        if self.staging.capacity() > 0 {
            spare::give_back_buffer(mem::take(&mut self.staging));
        }
    }

    /// Empties it for another connection. How much memory it keeps.
    pub(super) fn clear(&mut self) -> usize {
        self.staging.clear();
        (self.segments, self.sent, self.until_mark) = (None, 0, 0);
        self.staging.capacity()
    }

    /// Drops what was transmitted of it. Whether nothing waits any more.
    fn advance(&mut self, mut count: usize) -> bool {
        self.until_mark = self.until_mark.saturating_sub(count);
        if let Some(segments) = &mut self.segments {
            count = segments.advance(count);
            if segments.queue.is_empty() {
                self.segments = None;
            }
        }
        self.sent += count;
        let waiting = self.staging.len() - self.sent;
        if waiting == 0 {
            if self.segments.is_none() {
                return true;
            }
            self.clear_staging();
        } else if self.staging.capacity() > 2 * waiting + SLACK {
            // The transport does not take everything: what waits gets no more memory than it needs.
            let rest = self.staging[self.sent..].to_vec();
            self.clear_staging();
            self.staging = rest;
        }
        false
    }
}

impl Segments {
    fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.queue.push_back(bytes);
    }

    /// Drops what was transmitted of them; gives how much more that was.
    fn advance(&mut self, mut count: usize) -> usize {
        self.length = self.length.saturating_sub(count);
        while let Some(front) = self.queue.front_mut() {
            if count < front.len() {
                front.advance(count);
                return 0;
            }
            count -= front.len();
            self.queue.pop_front();
        }
        count
    }
}

/// Masks a payload: in place if it is not shared, in a copy otherwise.
fn masked(payload: Bytes, key: [u8; 4]) -> Bytes {
    let mut payload = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    apply_mask(&mut payload, key, 0);
    payload.freeze()
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        let Some(waiting) = &self.0 else { return &[] };
        let first = waiting.segments.as_ref().and_then(|segments| segments.queue.front());
        first.map_or(&waiting.staging[waiting.sent..], |segment| segment)
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(waiting) = &self.0 else { return 0 };
        let segments = waiting.segments.iter().flat_map(|segments| &segments.queue);
        let staging = Some(&waiting.staging[waiting.sent..]).filter(|staging| !staging.is_empty());
        let chunks = segments.map(|segment| &segment[..]).chain(staging);
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, count: usize) {
        let length = self.len();
        assert!(count <= length, "cannot advance by {count}, there are {length} bytes");
        if let Some(waiting) = &mut self.0
            && waiting.advance(count)
            && let Some(empty) = self.0.take()
        {
            spare::give_back(empty);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Opcode;

    fn push(outbox: &mut Outbox, payload: &[u8], mask: Option<[u8; 4]>) {
        let length = payload.len() as u64;
        let header = Header { fin: true, rsv1: false, opcode: Opcode::Binary, mask, length };
        outbox.push(&header, Bytes::copy_from_slice(payload));
    }

    #[test]
    fn small_frames_go_out_in_one_piece() {
        let mut outbox = Outbox::default();
        (0..16).for_each(|i| push(&mut outbox, &[i; 100], None));
        assert_eq!(outbox.chunk().len(), outbox.len());
    }

    #[test]
    fn a_large_payload_is_not_copied() {
        let mut outbox = Outbox::default();
        let payload = Bytes::from(vec![5; 100_000]);
        let header =
            Header { fin: true, rsv1: false, opcode: Opcode::Binary, mask: None, length: 100_000 };
        outbox.push(&header, payload.clone());
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(outbox.chunks_vectored(&mut slices), 2);
        assert_eq!(slices[0].len(), 10);
        assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    }

    #[test]
    fn a_large_payload_that_is_not_shared_is_masked_in_place() {
        let mut outbox = Outbox::default();
        let payload = Bytes::from(vec![5; 100_000]);
        let address = payload.as_ptr();
        let mask = Some([1, 2, 3, 4]);
        let header =
            Header { fin: true, rsv1: false, opcode: Opcode::Binary, mask, length: 100_000 };
        outbox.push(&header, payload);
        outbox.advance(14);
        assert_eq!(outbox.chunk().as_ptr(), address);
        assert_eq!(outbox.chunk()[..5], [4, 7, 6, 1, 4]);
    }

    #[test]
    fn any_way_to_advance_gives_the_same_bytes_and_leaves_no_memory() {
        let fill = |outbox: &mut Outbox| {
            for size in [3, 5000, 0, 70_000, 4096, 1] {
                push(outbox, &vec![size as u8; size], None);
            }
        };
        let mut whole = Outbox::default();
        fill(&mut whole);
        let whole = whole.copy_to_bytes(whole.len());
        for step in [1, 7, 4095, 60_000] {
            let mut outbox = Outbox::default();
            fill(&mut outbox);
            let mut got = Vec::new();
            while outbox.has_remaining() {
                let take = step.min(outbox.chunk().len());
                got.extend_from_slice(&outbox.chunk()[..take]);
                outbox.advance(take);
            }
            assert_eq!(got, whole);
            assert_eq!(outbox.capacity(), 0);
        }
    }
}
