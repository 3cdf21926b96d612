//! The frame header (RFC 6455 §5.2): read strictly, written in its shortest form.

use crate::{error::Violation, message::MessageKind};

/// What a frame is (RFC 6455 §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with the message begun.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Starts or answers the closing handshake.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    /// The opcode's four bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether frames of this kind carry no message data: they are short and never fragmented.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    /// The kind of message that a frame of this kind begins.
    pub(crate) fn kind(self) -> MessageKind {
        if self == Self::Text { MessageKind::Text } else { MessageKind::Binary }
    }

    fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(Violation::UnknownOpcode(bits)),
        })
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// RSV1, which permessage-deflate sets on the first frame of a compressed message.
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key its payload is masked with; clients mask, servers don't.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes.
    pub length: u64,
}

/// What there is to know of the header of a whole message in one masked frame that is all there.
pub(crate) struct UsualHeader {
    pub(crate) is_binary: bool,
    /// Of the header itself, with the key.
    pub(crate) size: usize,
    /// Of the payload.
    pub(crate) length: usize,
    pub(crate) key: [u8; 4],
}

/// What a receiver allows in a header.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether frames must be masked (they come from a client) or must not be.
    pub masked: bool,
    /// Whether an extension that gives RSV1 a meaning was negotiated.
    pub rsv1: bool,
    /// Whether a length in a longer form than necessary is let through.
    pub long_lengths: bool,
}

/// Room for the longest header, which has two bytes, a 64-bit length and a masking key, and two
/// bytes more: what a processor moves at once.
pub(crate) const HEADER_ROOM: usize = 16;
/// The longest payload of a control frame.
pub(crate) const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASKED: u8 = 0x80;
/// The first byte of a text, or of a binary message, in one frame that is not compressed.
const TEXT: u8 = FIN | 0x1;
const BINARY: u8 = FIN | 0x2;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

impl Header {
    /// Reads the header at the beginning of `input`; with it, the bytes it takes.
    ///
    /// `None` means that more bytes are needed. Every check is made as soon as its byte is there, in
    /// the order: opcode, reserved bits, mask, rules of control frames, form of the length.
    pub fn decode(input: &[u8], rules: Rules) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = input.first() else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
        let rsv1_allowed = rules.rsv1 && matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & RSV2_AND_3 != 0 || (rsv1 && !rsv1_allowed) {
            return Err(Violation::ReservedBits((first >> 4) & 0x7));
        }
        let Some(&second) = input.get(1) else { return Ok(None) };
        let masked = second & MASKED != 0;
        if masked != rules.masked {
            return Err(if masked { Violation::Masked } else { Violation::Unmasked });
        }
        let short = second & !MASKED;
        if opcode.is_control() {
            if !fin {
                return Err(Violation::FragmentedControl);
            }
            if short > MAX_CONTROL_PAYLOAD as u8 {
                return Err(Violation::LongControl);
            }
        }
        let Some((length, after_length)) = decode_length(short, &input[2..], rules.long_lengths)?
        else {
            return Ok(None);
        };
        let mut size = 2 + after_length;
        let mut mask = None;
        if masked {
            let Some(&key) = input[size..].first_chunk::<4>() else { return Ok(None) };
            mask = Some(key);
            size += 4;
        }
        Ok(Some((Self { fin, rsv1, opcode, mask, length }, size)))
    }

    /// The header at the beginning of `input` if it is of the form that a server receives most: of a whole
    /// message, masked, not compressed, with a length of 16 bits at most, all of whose frame is there. It
    /// keeps every rule that [`decode`](Self::decode) checks; `None` says only that `decode` has to look.
    #[inline(always)]
    pub(crate) fn decode_usual(input: &[u8]) -> Option<UsualHeader> {
        let &[first, second, a, b, c, d, ..] = input else { return None };
        let kind = first.wrapping_sub(TEXT);
        if kind > BINARY - TEXT {
            return None;
        }
        // Without the bit of the mask this is too long.
        let (length, size, key) = match second ^ MASKED {
            short @ 0..LENGTH_16 => (usize::from(short), 6, [a, b, c, d]),
            LENGTH_16 => {
                let length = u16::from_be_bytes([a, b]);
                if length < LENGTH_16.into() {
                    return None;
                }
                (usize::from(length), 8, [c, d, *input.get(6)?, *input.get(7)?])
            }
            _ => return None,
        };
        let is_binary = kind == BINARY - TEXT;
        (input.len() >= size + length).then_some(UsualHeader { is_binary, size, length, key })
    }

    /// Whether the frame is a message by itself, not compressed.
    pub(crate) fn is_whole_message(&self) -> bool {
        matches!(self.opcode, Opcode::Text | Opcode::Binary) && self.fin && !self.rsv1
    }

    /// The header, encoded, of a whole message without a mask whose length fits into one byte.
    #[inline(always)]
    pub(crate) fn short(kind: MessageKind, payload: &[u8]) -> Option<[u8; 2]> {
        let first = if kind == MessageKind::Text { TEXT } else { BINARY };
        (payload.len() < LENGTH_16.into()).then_some([first, payload.len() as u8])
    }

    /// Writes the header in its shortest form; gives the bytes and how many of them count.
    ///
    /// It is put together as one number and not byte by byte, so that copying it need not wait for
    /// each of them to be stored.
    pub fn encode(&self) -> ([u8; HEADER_ROOM], usize) {
        let (short, long, mut size) = match self.length {
            0..126 => (self.length, 0, 2),
            126..=0xffff => (LENGTH_16.into(), u64::from((self.length as u16).swap_bytes()), 4),
            _ => (LENGTH_64.into(), self.length.swap_bytes(), 10),
        };
        let fin = if self.fin { FIN } else { 0 };
        let rsv1 = if self.rsv1 { RSV1 } else { 0 };
        let first = self.opcode.bits() | fin | rsv1;
        // The lowest byte goes first.
        let mut number = u128::from(first) | u128::from(short) << 8 | u128::from(long) << 16;
        if let Some(key) = self.mask {
            number |= u128::from(MASKED) << 8;
            number |= u128::from(u32::from_le_bytes(key)) << (8 * size);
            size += 4;
        }
        (number.to_le_bytes(), size)
    }
}

/// Reads the extended length, if there is one; with it, the bytes it takes.
fn decode_length(
    short: u8,
    input: &[u8],
    long_allowed: bool,
) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        LENGTH_16 => {
            let Some(bytes) = input.first_chunk::<2>() else { return Ok(None) };
            let length = u16::from_be_bytes(*bytes);
            if length < u16::from(LENGTH_16) && !long_allowed {
                return Err(Violation::LongForm(length.into()));
            }
            Ok(Some((length.into(), 2)))
        }
        LENGTH_64 => {
            let Some(bytes) = input.first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(*bytes);
            if length >> 63 != 0 {
                return Err(Violation::LengthTooBig);
            }
            if length <= u16::MAX.into() && !long_allowed {
                return Err(Violation::LongForm(length));
            }
            Ok(Some((length, 8)))
        }
        _ => Ok(Some((short.into(), 0))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FROM_CLIENT: Rules = Rules { masked: true, rsv1: false, long_lengths: false };
    const FROM_SERVER: Rules = Rules { masked: false, rsv1: false, long_lengths: false };

    fn decode(bytes: &[u8], rules: Rules) -> Result<Option<(Header, usize)>, Violation> {
        // However the bytes are cut, the verdict is the same, and it comes no later than whole.
        let whole = Header::decode(bytes, rules);
        // The short way says the same, or nothing.
        let usual = Header::decode_usual(bytes).filter(|_| rules.masked);
        if let Some(UsualHeader { is_binary, size, length, key }) = usual {
            let opcode = if is_binary { Opcode::Binary } else { Opcode::Text };
            let (mask, length) = (Some(key), length as u64);
            let header = Header { fin: true, rsv1: false, opcode, mask, length };
            assert_eq!(whole, Ok(Some((header, size))));
            assert!(length <= (bytes.len() - size) as u64);
        }
        let first = (0..=bytes.len())
            .map(|cut| Header::decode(&bytes[..cut], rules))
            .find(|result| !matches!(result, Ok(None)));
        assert_eq!(first.unwrap_or(Ok(None)), whole);
        whole
    }

    /// Rule: W61.
    #[test]
    fn the_shortest_length_form_is_required() {
        for (bytes, verdict) in [
            (&[0x82, 126, 0, 125][..], Err(Violation::LongForm(125))),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Err(Violation::LongForm(65535))),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5], Err(Violation::LongForm(5))),
        ] {
            assert_eq!(decode(bytes, FROM_SERVER), verdict);
        }
        for (length, size) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            let header =
                Header { fin: true, rsv1: false, opcode: Opcode::Binary, mask: None, length };
            let (bytes, written) = header.encode();
            assert_eq!(written, size);
            let short = Header::short(MessageKind::Binary, &vec![0; length as usize]);
            assert_eq!(short.as_ref().map(|short| &short[..]), (size == 2).then_some(&bytes[..2]));
            assert_eq!(decode(&bytes[..written], FROM_SERVER), Ok(Some((header, size))));
        }
    }

    /// Rule: W60.
    #[test]
    fn the_highest_bit_of_a_64_bit_length_must_be_zero() {
        let bytes = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode(&bytes, FROM_SERVER), Err(Violation::LengthTooBig));
    }

    /// Rule: W59.
    #[test]
    fn unknown_opcodes_are_refused() {
        for opcode in (0x3..=0x7).chain(0xb..=0xf) {
            let verdict = decode(&[0x80 | opcode, 0], FROM_SERVER);
            assert_eq!(verdict, Err(Violation::UnknownOpcode(opcode)));
        }
    }

    /// Rules: W57, W58, W63, W64, W65.
    #[test]
    fn reserved_bits_are_refused_unless_negotiated() {
        for rsv in 1..=7u8 {
            let first = 0x81 | rsv << 4;
            assert_eq!(decode(&[first, 0], FROM_SERVER), Err(Violation::ReservedBits(rsv)));
        }
        let deflate = Rules { masked: false, rsv1: true, long_lengths: false };
        assert!(matches!(decode(&[0xc1, 0], deflate), Ok(Some((Header { rsv1: true, .. }, 2)))));
    }

    /// Rule: D22.
    #[test]
    fn rsv1_on_a_continuation_or_control_frame_is_refused() {
        let deflate = Rules { masked: false, rsv1: true, long_lengths: false };
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca] {
            assert_eq!(decode(&[first, 0], deflate), Err(Violation::ReservedBits(0b100)));
        }
    }

    /// Rules: W54, W56, W66.
    #[test]
    fn the_mask_bit_must_fit_the_sender() {
        assert_eq!(decode(&[0x81, 0x05], FROM_CLIENT), Err(Violation::Unmasked));
        assert_eq!(decode(&[0x81, 0x85], FROM_SERVER), Err(Violation::Masked));
    }

    /// Rules: W69, W79.
    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [0x8, 0x9, 0xa] {
            assert_eq!(decode(&[opcode, 0], FROM_SERVER), Err(Violation::FragmentedControl));
            for long in [126, 127] {
                let verdict = decode(&[0x80 | opcode, long], FROM_SERVER);
                assert_eq!(verdict, Err(Violation::LongControl));
            }
        }
    }

    proptest! {
        #[test]
        fn a_header_reads_as_it_was_written(
            fin: bool,
            text: bool,
            mask: Option<[u8; 4]>,
            length in prop_oneof![0..200u64, 65_000..66_000u64, 0..u64::MAX >> 1],
        ) {
            let opcode = if text { Opcode::Text } else { Opcode::Continuation };
            let header = Header { fin, rsv1: false, opcode, mask, length };
            let (bytes, size) = header.encode();
            let rules = Rules { masked: mask.is_some(), rsv1: false, long_lengths: false };
            prop_assert_eq!(decode(&bytes[..size], rules), Ok(Some((header, size))));
        }

        #[test]
        fn any_bytes_give_a_header_or_one_violation(
            bytes: Vec<u8>,
            masked: bool,
            rsv1: bool,
            long_lengths: bool,
        ) {
            let _ = decode(&bytes, Rules { masked, rsv1, long_lengths });
        }
    }
}
