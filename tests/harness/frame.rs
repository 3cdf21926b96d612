//! Frames of RFC 6455 §5.2, written and read byte for byte, broken ones too.

use std::io::{self, Read};

/// The first byte of a whole message in one frame, or of its last fragment.
pub const CONTINUATION: u8 = 0x80;
/// A text message in one frame.
pub const TEXT: u8 = 0x81;
/// A binary message in one frame.
pub const BINARY: u8 = 0x82;
/// A close frame.
pub const CLOSE: u8 = 0x88;
/// A ping.
pub const PING: u8 = 0x89;
/// A pong.
pub const PONG: u8 = 0x8A;

/// The bit that a frame's first byte has unless more fragments follow.
pub const FIN: u8 = 0x80;

/// The masking key of all hand-made frames: that of the examples in RFC 6455 §5.7.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The FIN bit, the reserved bits and the opcode.
    pub first: u8,
    /// The masking key, if it came masked.
    pub mask: Option<[u8; 4]>,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// A frame as a client sends it.
#[must_use]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [header(first, payload.len() as u64), mask(payload)].concat()
}

/// A frame as a server sends it.
#[must_use]
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    let length_end = frame.len() - KEY.len();
    frame.truncate(length_end);
    frame[1] &= 0x7F;
    [frame, payload.to_vec()].concat()
}

/// The header of a masked frame that announces `length` bytes, in the shortest form.
#[must_use]
pub fn header(first: u8, length: u64) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => [&[first, 0x80 | short][..], &KEY].concat(),
        (_, Ok(medium)) => header_with(first, 126, &medium.to_be_bytes()),
        _ => header_with(first, 127, &length.to_be_bytes()),
    }
}

/// The header of a masked frame with a length form of one's own choosing.
#[must_use]
pub fn header_with(first: u8, form: u8, length: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | form], length, &KEY].concat()
}

/// A payload as it stands behind [`header`].
#[must_use]
pub fn mask(payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// The payload of a close frame.
#[must_use]
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

impl Frame {
    /// Reads one frame.
    ///
    /// # Errors
    ///
    /// Those of the connection: its end is `UnexpectedEof`.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let [first, second] = read_array(from)?;
        let length = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes(read_array(from)?)),
            127 => u64::from_be_bytes(read_array(from)?),
            short => u64::from(short),
        };
        let mask = if second & 0x80 != 0 { Some(read_array(from)?) } else { None };
        let mut payload = Vec::new();
        if from.take(length).read_to_end(&mut payload)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let key = mask.unwrap_or_default();
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        Ok(Self { first, mask, payload })
    }

    /// The code of a close frame, if it has one.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk().copied().map(u16::from_be_bytes);
        code.filter(|_| self.first == CLOSE)
    }
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
