//! Compressed messages, bit by bit: literals and references of our choice in the fixed code of RFC 1951
//! §3.2.6.

/// A piece of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Block<'b> {
    /// These bytes, one by one.
    Literal(&'b [u8]),
    /// That many bytes (3 to 258) from that far back.
    Copy(usize, usize),
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// The lowest bit first.
    fn put(&mut self, value: u32, count: u32) {
        for shift in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> shift & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (self.count % 8);
            }
            self.count += 1;
        }
    }

    /// The highest bit first, as Huffman codes are.
    fn code(&mut self, code: u32, count: u32) {
        for shift in (0..count).rev() {
            self.put(code >> shift & 1, 1);
        }
    }

    fn symbol(&mut self, symbol: u32) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xC0 + symbol - 280, 8),
        }
    }

    fn copy(&mut self, length: usize, distance: usize) {
        let table = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67];
        let table = [&table[..], &[83, 99, 115, 131, 163, 195, 227]].concat();
        if length == 258 {
            self.symbol(285);
        } else {
            let at = table.iter().rposition(|base| *base <= length).unwrap_or_default();
            self.symbol(257 + at as u32);
            self.put((length - table[at]) as u32, (at as u32 / 4).saturating_sub(1));
        }
        let base = |at: u32| match at {
            0..4 => at as usize + 1,
            _ => ((2 + at as usize % 2) << (at / 2 - 1)) + 1,
        };
        let at = (0..30).rev().find(|at| base(*at) <= distance).unwrap_or_default();
        self.code(at, 5);
        self.put((distance - base(at)) as u32, (at / 2).saturating_sub(1));
    }
}

fn encode(blocks: &[Block<'_>], is_final: bool) -> Bits {
    let mut bits = Bits::default();
    bits.put(u32::from(is_final), 1);
    bits.put(1, 2);
    for block in blocks {
        match block {
            Block::Literal(bytes) => bytes.iter().for_each(|byte| bits.symbol(u32::from(*byte))),
            Block::Copy(length, distance) => bits.copy(*length, *distance),
        }
    }
    bits.symbol(256);
    bits
}

/// A message as it is sent: one block, and an empty one of which the last four bytes are left out
/// (RFC 7692 §7.2.1).
pub(crate) fn deflated(blocks: &[Block<'_>]) -> Vec<u8> {
    let mut bits = encode(blocks, false);
    bits.put(0, 3);
    bits.bytes
}

/// A message of one final block (RFC 7692 §7.2.3.4).
pub(crate) fn with_final_block(blocks: &[Block<'_>]) -> Vec<u8> {
    let mut bytes = encode(blocks, true).bytes;
    bytes.push(0);
    bytes
}

/// A message in one block that is not compressed (RFC 7692 §7.2.3.3).
pub(crate) fn stored(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let payload = &payload[..usize::from(length)];
    [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), payload, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::inflate;

    const TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];

    #[test]
    fn hello_is_what_the_standard_has() {
        let hello = deflated(&[Block::Literal(b"Hello")]);
        assert_eq!(hello, [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]);
        assert_eq!(deflated(&[Block::Copy(5, 5)]), [0x02, 0x13, 0x00, 0x00]);
        assert_eq!(with_final_block(&[Block::Literal(b"Hello")]).last(), Some(&0));
        assert_eq!(stored(b"Hello"), b"\0\x05\0\xFA\xFFHello\0");
    }

    #[test]
    fn what_is_written_is_read() {
        for length in (3..=258).step_by(3).chain([257, 258]) {
            for distance in [1, 2, 4, 5, 6, 7, 8, 9, 16, 17, 255, 256, 257, 4000, 32_767, 32_768] {
                let before: Vec<u8> = (0..32_768u32).map(|at| ((at * 7) >> 3) as u8).collect();
                let bytes = [&deflated(&[Block::Copy(length, distance)]), TAIL].concat();
                let inflated = inflate(&bytes, &before).expect("deflate");
                assert_eq!((inflated.bytes.len(), inflated.furthest), (length, distance));
                assert_eq!(inflated.bytes[0], before[32_768 - distance]);
            }
        }
    }
}
