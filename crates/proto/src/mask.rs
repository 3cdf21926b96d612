//! Masking and unmasking of payloads (RFC 6455 §5.3): XOR with a 4-byte key, in place.

/// From this length on it pays to reach an aligned address before the wide loop.
const WORTH_ALIGNING: usize = 256;
/// A cache line: the widest step, and the alignment that the wide loop wants.
const LINE: usize = 64;

/// XORs `payload` with `key`, the first byte with `key[offset % 4]`.
///
/// Masking and unmasking are the same operation. `offset` is how many bytes of the frame's payload
/// came before, so that a frame can be unmasked piece by piece as it arrives.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let key = u32::from_ne_bytes(key);
    if payload.len() < LINE {
        return mask_short(payload, rotate(key, offset));
    }
    mask_long(payload, key, offset);
}

/// The same from a line on.
fn mask_long(payload: &mut [u8], key: u32, offset: usize) {
    // Rotate the key so that it begins with the byte for payload[0].
    let mut key = rotate(key, offset);
    let mut rest = payload;
    if rest.len() >= WORTH_ALIGNING {
        let lead = rest.as_ptr().align_offset(LINE).min(rest.len());
        let (head, tail) = rest.split_at_mut(lead);
        mask_words(head, key);
        key = rotate(key, lead);
        rest = tail;
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: this processor has AVX2.
            #[expect(unsafe_code, reason = "compiled for AVX2, which was detected just now")]
            return unsafe { mask_words_avx2(rest, key) };
        }
    }
    mask_words(rest, key);
}

/// Turns a native-endian key by `n` bytes in memory order.
fn rotate(key: u32, n: usize) -> u32 {
    let bits = 8 * (n % 4) as u32;
    if cfg!(target_endian = "little") { key.rotate_right(bits) } else { key.rotate_left(bits) }
}

/// The same loop in registers of 32 bytes: without them, a store for each 16 bytes is the limit.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
fn mask_words_avx2(payload: &mut [u8], key: u32) {
    mask_words(payload, key);
}

/// The loop that the compiler turns into vector instructions: whole lines, then words, then bytes.
#[inline(always)]
fn mask_words(payload: &mut [u8], key: u32) {
    let wide = u64::from(key) << 32 | u64::from(key);
    let (lines, rest) = payload.as_chunks_mut::<LINE>();
    for line in lines {
        let (words, _) = line.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    mask_short(rest, key);
}

/// Less than a line: words, then bytes.
#[inline(always)]
fn mask_short(payload: &mut [u8], key: u32) {
    let wide = u64::from(key) << 32 | u64::from(key);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    // Up to seven bytes: one step for each bit of their number.
    let (word, rest) = rest.as_chunks_mut::<4>();
    if let [word] = word {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_by_one(payload: &mut [u8], key: [u8; 4], offset: usize) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[(i + offset) % 4];
        }
    }

    #[test]
    fn every_length_is_masked_alike_at_every_address_and_offset() {
        let key = [0x12, 0x34, 0x56, 0x78];
        let longest = WORTH_ALIGNING + 2 * LINE;
        let zeroes = vec![0; LINE + longest];
        // Miri takes hours for all of them. 29 shares no factor with any width.
        let step = if cfg!(miri) { 29 } else { 1 };
        for offset in 0..4 {
            let mut definition = vec![0; longest];
            one_by_one(&mut definition, key, offset);
            for start in (0..LINE).step_by(step) {
                for length in (0..=longest).step_by(step) {
                    let mut payload = zeroes.clone();
                    apply_mask(&mut payload[start..start + length], key, offset);
                    let (before, rest) = payload.split_at(start);
                    let (masked, after) = rest.split_at(length);
                    assert_eq!(masked, &definition[..length], "{length} at {start}, {offset}");
                    assert_eq!((before, after), (&zeroes[..start], &zeroes[start + length..]));
                }
            }
        }
    }

    #[test]
    fn the_loop_does_the_same_in_registers_of_any_width() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for length in (0..4 * LINE).step_by(if cfg!(miri) { 7 } else { 1 }) {
            let mut definition = vec![7; length];
            one_by_one(&mut definition, key, 0);
            let mut payload = vec![7; length];
            mask_words(&mut payload, u32::from_ne_bytes(key));
            assert_eq!(payload, definition);
        }
    }

    proptest! {
        /// Rule: W95.
        #[test]
        fn masking_equals_its_definition_at_every_length_offset_and_address(
            bytes in proptest::collection::vec(any::<u8>(), 0..2048),
            key: [u8; 4],
            offset in 0usize..9,
            start in 0usize..70,
        ) {
            let start = start.min(bytes.len());
            let mut fast = bytes.clone();
            let mut slow = bytes;
            apply_mask(&mut fast[start..], key, offset);
            one_by_one(&mut slow[start..], key, offset);
            prop_assert_eq!(fast, slow);
        }

        /// Rule: W101.
        #[test]
        fn unmasking_in_pieces_gives_the_payload_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..1024),
            key: [u8; 4],
            cut in 0usize..1024,
        ) {
            let cut = cut.min(bytes.len());
            let mut masked = bytes.clone();
            apply_mask(&mut masked, key, 0);
            let (first, second) = masked.split_at_mut(cut);
            apply_mask(first, key, 0);
            apply_mask(second, key, cut);
            prop_assert_eq!(masked, bytes);
        }
    }
}
