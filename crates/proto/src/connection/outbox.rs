//! What is to be transmitted: small frames side by side in one buffer, large payloads as they are.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use crate::{frame::Header, mask::apply_mask};

/// From this size on a payload is not copied beside its header.
const WORTH_SHARING: usize = 4096;

/// The bytes that a connection has to transmit, in order; a [`Buf`].
///
/// Empty, it holds no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What goes first: runs of small frames and large payloads.
    segments: VecDeque<Bytes>,
    /// What goes last, and is still growing.
    staging: BytesMut,
    length: usize,
    written: u64,
}

impl Outbox {
    /// How many bytes are waiting.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing to transmit.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many bytes were transmitted since the beginning.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes will have been transmitted when this is empty.
    pub(super) fn end(&self) -> u64 {
        self.written + self.length as u64
    }

    /// How much memory is held.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let segments: usize = self.segments.iter().map(Bytes::len).sum();
        self.segments.capacity() + segments + self.staging.capacity()
    }

    /// Adds a frame; its payload is masked here if the header has a key.
    pub(super) fn push(&mut self, header: &Header, payload: Bytes) {
        if payload.len() < WORTH_SHARING {
            self.push_copy(header, &payload);
            return;
        }
        let (bytes, size) = header.encode();
        self.length += size;
        self.staging.extend_from_slice(&bytes[..size]);
        self.push_shared(match header.mask {
            Some(key) => masked(payload, key),
            None => payload,
        });
    }

    /// Adds a frame, copying its payload.
    pub(super) fn push_copy(&mut self, header: &Header, payload: &[u8]) {
        let (bytes, size) = header.encode();
        self.length += size + payload.len();
        self.staging.reserve(size + payload.len());
        self.staging.extend_from_slice(&bytes[..size]);
        let begin = self.staging.len();
        self.staging.extend_from_slice(payload);
        if let Some(key) = header.mask {
            apply_mask(&mut self.staging[begin..], key, 0);
        }
    }

    /// Adds a frame that is encoded already.
    pub(super) fn push_encoded(&mut self, frame: &Bytes) {
        if frame.len() < WORTH_SHARING {
            self.length += frame.len();
            self.staging.extend_from_slice(frame);
        } else {
            self.push_shared(frame.clone());
        }
    }

    fn push_shared(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        if !self.staging.is_empty() {
            self.segments.push_back(self.staging.split().freeze());
        }
        self.segments.push_back(bytes);
    }
}

/// Masks a payload: in place if nobody else holds it, in a copy otherwise.
fn masked(payload: Bytes, key: [u8; 4]) -> Bytes {
    let mut payload = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    apply_mask(&mut payload, key, 0);
    payload.freeze()
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&self.staging, |segment| segment)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let staging = Some(&self.staging[..]).filter(|staging| !staging.is_empty());
        let chunks = self.segments.iter().map(|segment| &segment[..]).chain(staging);
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.length, "cannot advance by {count}, there are {} bytes", self.length);
        self.length -= count;
        self.written += count as u64;
        if self.length == 0 {
            // An idle connection holds no buffer.
            self.segments = VecDeque::new();
            self.staging = BytesMut::new();
            return;
        }
        while let Some(front) = self.segments.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.segments.pop_front();
        }
        self.staging.advance(count);
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
    fn a_large_payload_that_nobody_shares_is_masked_in_place() {
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
            assert_eq!((outbox.staging.capacity(), outbox.segments.capacity()), (0, 0));
        }
    }
}
