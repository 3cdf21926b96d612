//! Inflating (RFC 1951), slow and simple, with the distance of every reference.

/// What came out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inflated {
    pub(crate) bytes: Vec<u8>,
    /// How far back the furthest reference goes.
    pub(crate) furthest: usize,
}

/// The most that is inflated: four times the largest message of any case.
const MOST: usize = 1 << 24;

/// Bytes as bits, the lowest first.
struct Bits<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for shift in 0..count {
            let byte = *self.bytes.get(self.position / 8)?;
            value |= u32::from(byte >> (self.position % 8) & 1) << shift;
            self.position += 1;
        }
        Some(value)
    }

    fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }

    fn is_at_end(&self) -> bool {
        self.position >= self.bytes.len() * 8
    }
}

/// A Huffman code: how many codes each length has, and their symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0; 16];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        counts[0] = 0;
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|at| lengths[*at] > 0).collect();
        symbols.sort_by_key(|at| lengths[*at]);
        Self { counts, symbols }
    }

    fn read(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)? as usize;
            if code < first + count {
                return self.symbols.get(index + code - first).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

const LENGTHS: [usize; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];
const LENGTH_BITS: [u32; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCES: [usize; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
    2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
];
/// In which order the lengths of the code of code lengths come.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Inflates `compressed`, which may refer to `before`, until its last byte. `None` if it is not deflate.
pub(crate) fn inflate(compressed: &[u8], before: &[u8]) -> Option<Inflated> {
    let mut bits = Bits { bytes: compressed, position: 0 };
    let (mut out, mut furthest) = (before.to_vec(), 0);
    while !bits.is_at_end() {
        let is_final = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, &mut out)?,
            1 => {
                let lengths: Vec<u8> = (0..288)
                    .map(|at| match at {
                        0..144 => 8,
                        144..256 => 9,
                        256..280 => 7,
                        _ => 8,
                    })
                    .collect();
                let codes = (Code::new(&lengths), Code::new(&[5; 30]));
                block(&mut bits, &codes, &mut out, &mut furthest)?;
            }
            2 => {
                let codes = dynamic(&mut bits)?;
                block(&mut bits, &codes, &mut out, &mut furthest)?;
            }
            _ => return None,
        }
        if is_final {
            // A message may go on behind it (RFC 7692 §7.2.3.4).
            bits.align();
        }
    }
    Some(Inflated { bytes: out.split_off(before.len()), furthest })
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Option<()> {
    bits.align();
    let (length, complement) = (bits.take(16)?, bits.take(16)?);
    if length ^ complement != 0xFFFF {
        return None;
    }
    let begin = bits.position / 8;
    let end = begin + length as usize;
    out.extend_from_slice(bits.bytes.get(begin..end)?);
    bits.position = end * 8;
    Some(())
}

/// The codes of a block that brings its own.
fn dynamic(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    let literals = bits.take(5)? as usize + 257;
    let distances = bits.take(5)? as usize + 1;
    let count = bits.take(4)? as usize + 4;
    let mut lengths = [0; 19];
    for at in &ORDER[..count] {
        lengths[*at] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths);
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match code.read(bits)? {
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (u8::try_from(length).ok()?, 1),
        };
        lengths.extend((0..times).map(|_| value));
    }
    let (literal, distance) = lengths.get(..literals + distances)?.split_at(literals);
    Some((Code::new(literal), Code::new(distance)))
}

fn block(
    bits: &mut Bits<'_>,
    (literals, distances): &(Code, Code),
    out: &mut Vec<u8>,
    furthest: &mut usize,
) -> Option<()> {
    loop {
        match literals.read(bits)? {
            literal @ 0..256 => out.push(literal as u8),
            256 => return Some(()),
            symbol => {
                let at = symbol - 257;
                let length = LENGTHS.get(at)? + bits.take(LENGTH_BITS[at])? as usize;
                let at = distances.read(bits)?;
                let extra = (at as u32 / 2).saturating_sub(1);
                let distance = DISTANCES.get(at)? + bits.take(extra)? as usize;
                let begin = out.len().checked_sub(distance)?;
                *furthest = distance.max(*furthest);
                for index in begin..begin + length {
                    out.push(out[index]);
                }
            }
        }
        if out.len() > MOST {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7692 §7.2.3, with the bytes that senders cut off.
    #[test]
    fn the_examples_of_the_standard_are_inflated() {
        let tail = [0, 0, 0xFF, 0xFF];
        let examples: [&[u8]; 4] = [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            &[0xF2, 0x48, 0x05, 0, 0, 0, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ];
        for example in examples {
            let inflated = inflate(&[example, &tail].concat(), b"").expect("deflate");
            assert_eq!(inflated.bytes, b"Hello", "{example:x?}");
        }
        let second = inflate(&[&[0xF2, 0, 0x11, 0, 0][..], &tail].concat(), b"Hello");
        assert_eq!(second, Some(Inflated { bytes: b"Hello".to_vec(), furthest: 5 }));
        assert_eq!(inflate(&[0xFF], b""), None);
    }

    /// As zlib compresses it.
    #[test]
    fn a_block_with_codes_of_its_own_is_inflated() {
        let compressed = [
            0xAC, 0x8C, 0xCB, 0x0D, 0xC3, 0x30, 0x0C, 0x43, 0x57, 0xE1, 0x04, 0x59, 0xA0, 0xA7,
            0xCE, 0x90, 0x09, 0x54, 0x5B, 0x48, 0x8C, 0x3A, 0x52, 0x20, 0xA9, 0x31, 0xBC, 0x7D,
            0xD4, 0xCE, 0xD0, 0x1B, 0x3F, 0x8F, 0x5C, 0xB5, 0xBC, 0x79, 0x32, 0x7C, 0xB4, 0xC3,
            0xF1, 0xD2, 0xD8, 0x31, 0x68, 0x3A, 0x9A, 0x40, 0x25, 0xE3, 0x30, 0xA6, 0x63, 0xC1,
            0xFA, 0x57, 0xEC, 0x89, 0xB2, 0x93, 0x08, 0x77, 0x34, 0x07, 0x65, 0x67, 0x95, 0x8D,
            0x2B, 0xBA, 0x6E, 0x69, 0x2B, 0xF8, 0x62, 0x9B, 0x08, 0x23, 0xF1, 0x53, 0x2D, 0x7E,
            0x14, 0x72, 0x9A, 0x14, 0x46, 0xCB, 0x53, 0x42, 0xF9, 0x98, 0xAB, 0x3D, 0x52, 0x6D,
            0x74, 0x7E, 0x81, 0xD0, 0x5E, 0x97, 0x1B, 0x00, 0x00, 0xFF, 0xFF,
        ];
        let text = "Sockeye swims both ways in one stream. ".repeat(3)
            + "A channel is an ordered log and every transport is a reader with a cursor; a gap is told.";
        let inflated = inflate(&compressed, b"").expect("deflate");
        assert_eq!(String::from_utf8_lossy(&inflated.bytes), text);
        // What is not whole is not taken for whole.
        assert_eq!(inflate(&compressed[..50], b""), None);
    }
}
