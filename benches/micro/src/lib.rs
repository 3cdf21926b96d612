//! The pieces that messages pass through, each ready to be run again and again: `benches/time.rs`
//! times them and `benches/count.rs` counts their instructions. `cargo xtask micro` runs either.
//!
//! Each piece is made warm: what happens once only, such as a thread's first compressor, has
//! happened when it is first measured.

mod channel;
mod deflate;
mod echo;
mod frame;
mod handshake;
mod pair;
mod payload;

pub use channel::Channel;
pub use deflate::{Compress, Inflate};
pub use echo::Echo;
pub use frame::{Decode, Encode};
pub use handshake::Handshake;
pub use pair::Pair;
pub use payload::{Payload, Text};

use sockeye_proto::internals::{Header, Opcode, apply_mask};

/// The masking key of all frames.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A binary message as a client's frame.
fn client_frame(payload: &[u8]) -> Vec<u8> {
    let (opcode, length) = (Opcode::Binary, payload.len() as u64);
    let header = Header { fin: true, rsv1: false, opcode, mask: Some(KEY), length };
    let (bytes, size) = header.encode();
    let mut frame = [&bytes[..size], payload].concat();
    apply_mask(&mut frame[size..], KEY, 0);
    frame
}
