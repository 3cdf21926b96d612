//! Headers of frames, read and written.

use std::hint::black_box;

use sockeye_proto::internals::{Header, Opcode, Rules};

use crate::client_frame;

/// A client's frame, whose header is to be read.
pub struct Decode(Vec<u8>);

impl Decode {
    /// A frame of `size` bytes of payload.
    pub fn new(size: usize) -> Self {
        Self(client_frame(&vec![0; size]))
    }

    /// Reads the header; gives the payload's length.
    pub fn run(&self) -> u64 {
        let rules = Rules { masked: true, rsv1: false, long_lengths: false };
        match Header::decode(&self.0, rules) {
            Ok(Some((header, _))) => header.length,
            _ => unreachable!("the frame is right"),
        }
    }
}

/// A server's header, to be written.
pub struct Encode(Header);

impl Encode {
    /// The header of a frame of `size` bytes of payload.
    pub fn new(size: usize) -> Self {
        let length = size as u64;
        let opcode = Opcode::Binary;
        Self(Header { fin: true, rsv1: false, opcode, mask: None, length })
    }

    /// Writes the header; gives its length.
    pub fn run(&self) -> usize {
        black_box(self.0.encode()).1
    }
}
