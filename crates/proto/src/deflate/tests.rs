//! What compression holds in memory and how far back it refers, seen from inside. What it does is
//! shown in `tests/deflate`.

use proptest::prelude::*;

use super::{
    compress::{Blocks, Setting},
    params::{Direction, WindowBits},
    *,
};

/// How far back a DEFLATE stream refers at most, by a decoder as plain as RFC 1951; with what it
/// inflates to.
mod plain_inflate {
    struct Bits<'a> {
        bytes: &'a [u8],
        at: usize,
    }

    impl Bits<'_> {
        fn take(&mut self, count: usize) -> usize {
            let bit = |at: usize| usize::from(self.bytes[at / 8] >> (at % 8) & 1);
            let value = (0..count).map(|i| bit(self.at + i) << i).sum();
            self.at += count;
            value
        }

        fn symbol(&mut self, lengths: &[u8]) -> usize {
            let (mut code, mut first) = (0, 0);
            for length in 1..=15 {
                code |= self.take(1);
                let of_length = || lengths.iter().enumerate().filter(|(_, l)| **l == length);
                let count = of_length().count();
                if code < first + count {
                    return of_length().nth(code - first).unwrap().0;
                }
                first = (first + count) << 1;
                code <<= 1;
            }
            panic!("no such code")
        }
    }

    pub(super) fn inflate(bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut bits = Bits { bytes, at: 0 };
        let (mut output, mut furthest) = (Vec::new(), 0);
        while bits.at.div_ceil(8) < bytes.len() {
            let last = bits.take(1) == 1;
            match bits.take(2) {
                0 => {
                    bits.at = bits.at.next_multiple_of(8);
                    let length = bits.take(16);
                    assert_eq!(bits.take(16), !length & 0xffff);
                    output.extend((0..length).map(|_| bits.take(8) as u8));
                }
                kind => {
                    let (literals, distances) =
                        if kind == 1 { fixed_codes() } else { dynamic_codes(&mut bits) };
                    block(&mut bits, &literals, &distances, &mut output, &mut furthest);
                }
            }
            assert!(!last, "messages do not end in a last block");
        }
        (output, furthest)
    }

    fn fixed_codes() -> (Vec<u8>, Vec<u8>) {
        let runs = [(8, 144), (9, 112), (7, 24), (8, 8)];
        (runs.iter().flat_map(|&(length, count)| vec![length; count]).collect(), vec![5; 30])
    }

    fn dynamic_codes(bits: &mut Bits<'_>) -> (Vec<u8>, Vec<u8>) {
        let (literals, distances, codes) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
        let mut meta = [0; 19];
        let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        order[..codes].iter().for_each(|&i| meta[i] = bits.take(3) as u8);
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (value, count) = match bits.symbol(&meta) {
                16 => (*lengths.last().unwrap(), 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                18 => (0, 11 + bits.take(7)),
                length => (length as u8, 1),
            };
            lengths.extend(vec![value; count]);
        }
        let distances = lengths.split_off(literals);
        (lengths, distances)
    }

    fn block(
        bits: &mut Bits<'_>,
        literals: &[u8],
        distances: &[u8],
        output: &mut Vec<u8>,
        furthest: &mut usize,
    ) {
        loop {
            let length = match bits.symbol(literals) {
                literal @ ..256 => {
                    output.push(literal as u8);
                    continue;
                }
                256 => return,
                285 => 258,
                symbol @ ..265 => symbol - 254,
                symbol => {
                    let extra = (symbol - 261) / 4;
                    3 + ((4 + (symbol - 261) % 4) << extra) + bits.take(extra)
                }
            };
            let distance = match bits.symbol(distances) {
                symbol @ ..4 => symbol + 1,
                symbol => {
                    let extra = symbol / 2 - 1;
                    1 + ((2 + symbol % 2) << extra) + bits.take(extra)
                }
            };
            *furthest = distance.max(*furthest);
            (0..length).for_each(|_| output.push(output[output.len() - distance]));
        }
    }
}

/// How far back the messages refer at most, compressed one after another.
fn furthest(messages: &[Vec<u8>], window: WindowBits, level: u8, takeover: bool) -> usize {
    let mut outbound = Outbound::new(Direction { takeover, window }, level);
    let mut streams = vec![(Vec::new(), Vec::new())];
    for message in messages {
        let mut stream = Vec::new();
        if outbound.message(message, |compressed| stream = [compressed, &TAIL].concat()) {
            streams.push((stream, message.clone()));
        }
    }
    if takeover {
        let (compressed, messages): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
        streams = vec![(compressed.concat(), messages.concat())];
    }
    let furthest = streams.iter().map(|(stream, message)| {
        let (inflated, furthest) = plain_inflate::inflate(stream);
        assert_eq!(&inflated, message);
        furthest
    });
    furthest.max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Rules: D13, D14, D15.
    #[test]
    fn no_window_is_ever_exceeded(
        words in proptest::collection::vec(0u8..40, 100..600),
        bits in 8u8..=15,
        level in 1u8..=9,
        takeover: bool,
    ) {
        // Words try again from near and far: there is always something to refer back to.
        let text: Vec<u8> = words.iter().flat_map(|n| format!("salmon-{n},").into_bytes()).collect();
        let messages: Vec<_> = text.chunks(700).map(<[u8]>::to_vec).collect();
        let window = WindowBits::try_from(bits).unwrap();
        prop_assert!(furthest(&messages, window, level, takeover) <= window.bytes());
    }
}

/// Rule: D15.
#[test]
fn a_window_of_256_bytes_is_used_and_kept_to() {
    // Every 250 bytes and every 257 bytes the same: only the first may be referred to.
    for (distance, refers) in [(200, true), (250, true), (257, false), (300, false), (500, false)] {
        let word: Vec<u8> =
            (0..distance as u32).map(|i| ((i * i * 31) >> 3) as u8 ^ i as u8).collect();
        for level in 1..=9 {
            let far = furthest(&[word.repeat(3)], WindowBits::MIN, level, true);
            assert!(far <= 256);
            assert_eq!(far == distance, refers, "level {level}, {distance}");
        }
    }
}

#[test]
fn between_messages_nothing_is_held_without_takeover() {
    let direction = Direction { takeover: false, window: WindowBits::MAX };
    let (mut inbound, mut outbound) = (Inbound::new(direction), Outbound::new(direction, 5));
    for i in 0..10 {
        outbound.message(&vec![i; 10_000], |_| ());
        inbound.remember(&vec![i; 10_000]);
    }
    assert_eq!((inbound.memory(), outbound.is_holding()), (0, false));
    // Neither is anything when fragments are done.
    outbound.fragment(b"a", false, |_| ());
    assert!(outbound.is_holding());
    outbound.fragment(b"a", true, |_| ());
    assert!(!outbound.is_holding());
}

#[test]
fn with_takeover_what_was_received_is_held_as_far_as_the_window() {
    for bits in 8..=15 {
        let window = WindowBits::try_from(bits).unwrap();
        let mut inbound = Inbound::new(Direction { takeover: true, window });
        assert_eq!(inbound.memory(), 0);
        for length in [10, 100, 1000, 1, 10_000, 100_000, 0, 300] {
            inbound.remember(&vec![1; length]);
            assert!(inbound.memory() <= window.bytes());
        }
    }
}

#[test]
fn with_takeover_the_compressor_is_made_on_first_use_and_can_be_given_up() {
    let direction = Direction { takeover: true, window: WindowBits::MAX };
    let mut outbound = Outbound::new(direction, 5);
    assert!(!outbound.is_holding());
    outbound.message(b"a", |_| ());
    assert!(outbound.is_holding());
    outbound.release();
    assert!(!outbound.is_holding());
}

#[test]
fn the_pool_keeps_few_and_gives_them_out_empty() {
    let setting = Setting { window: WindowBits::MAX, level: 5, blocks: Blocks::Long };
    let mut first = Vec::new();
    let lent: Vec<_> = (0..20).map(|_| pool::compressor(setting)).collect();
    lent.into_iter().for_each(pool::keep_compressor);
    for _ in 0..20 {
        let mut output = Vec::new();
        let length = compress::compress_alone(setting, b"again and again and again", &mut output);
        output.truncate(length);
        if first.is_empty() {
            first.clone_from(&output);
        }
        assert_eq!(output, first);
    }
    assert!(pool::kept() <= 3 * 4);
}
