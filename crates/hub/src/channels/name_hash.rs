//! The hash of a channel's name: peers choose names, and must not be able to choose where they fall.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// SipHash-1-3 with a key that nothing outside the process knows, as the standard library has it, of a text that is there
/// as a whole: without the state that takes in one piece after the other, which is half of the time for a short name.
#[derive(Clone, Copy)]
pub(crate) struct NameHasher([u64; 4]);

impl NameHasher {
    /// One with a key of its own.
    pub(crate) fn random() -> Self {
        let random = RandomState::new();
        Self::with_key(random.hash_one(0), random.hash_one(1))
    }

    fn with_key(low: u64, high: u64) -> Self {
        Self([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ])
    }

    /// The hash.
    #[inline]
    pub(crate) fn hash(&self, name: &str) -> u64 {
        let bytes = name.as_bytes();
        let mut state = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            take(&mut state, u64::from_le_bytes(*word));
        }
        take(&mut state, (bytes.len() as u64) << 56 | last_word(rest));
        state[2] ^= 0xff;
        (0..3).for_each(|_| round(&mut state));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

impl fmt::Debug for NameHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameHasher").finish_non_exhaustive()
    }
}

fn take(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

/// Up to seven bytes, the first of them lowest.
fn last_word(rest: &[u8]) -> u64 {
    let count = rest.len();
    match (rest.first_chunk(), rest.last_chunk()) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
            first | last << (8 * (count - 4))
        }
        // Where there are fewer than three, some are looked at twice.
        _ if count > 0 => [0, count / 2, count - 1]
            .into_iter()
            .fold(0, |word, index| word | u64::from(rest[index]) << (8 * index)),
        _ => 0,
    }
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *c = c.wrapping_add(*d);
    *b = b.rotate_left(13) ^ *a;
    *d = d.rotate_left(16) ^ *c;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*b);
    *a = a.wrapping_add(*d);
    *b = b.rotate_left(17) ^ *c;
    *d = d.rotate_left(21) ^ *a;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};

    use super::*;
    use crate::ChannelName;

    #[test]
    fn a_name_has_the_hash_that_the_standard_library_gives_its_bytes() {
        let text: String = ('!'..='~').cycle().take(ChannelName::MAX_LEN).collect();
        for name in (0..=text.len()).map(|len| &text[..len]) {
            // Without a key, as that of the standard library is made.
            let mut hasher = DefaultHasher::new();
            hasher.write(name.as_bytes());
            assert_eq!(NameHasher::with_key(0, 0).hash(name), hasher.finish(), "{name:?}");
        }
    }

    #[test]
    fn the_key_counts() {
        let [low, high] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        // The first of the test vectors of SipHash-1-3.
        assert_eq!(NameHasher::with_key(low, high).hash(""), 0xabac_0158_050f_c4dc);
        let hashes: Vec<_> = (0..9).map(|_| NameHasher::random().hash("news")).collect();
        assert!(hashes.windows(2).all(|two| two[0] != two[1]), "{hashes:?}");
    }
}
