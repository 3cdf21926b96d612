//! Payloads by themselves: masked bytes, and text.

use sockeye_proto::{Utf8Validator, internals::apply_mask};

use crate::KEY;

/// Where a payload begins in its buffer. Off the wire it lies behind a header, and behind other
/// frames: at any address.
const ODD: usize = 7;

/// Bytes at an odd address.
pub struct Payload {
    buffer: Vec<u8>,
    copy: Vec<u8>,
}

impl Payload {
    /// A payload of `size` bytes.
    pub fn new(size: usize) -> Self {
        let buffer: Vec<u8> = (0..ODD + size).map(|i| i as u8).collect();
        Self { copy: buffer.clone(), buffer }
    }

    /// Masks it in place.
    pub fn mask(&mut self) {
        apply_mask(&mut self.buffer[ODD..], KEY, 0);
    }

    /// Copies it, for comparison.
    pub fn copy(&mut self) {
        self.copy[ODD..].copy_from_slice(&self.buffer[ODD..]);
    }
}

/// A text to be checked.
pub struct Text(String);

impl Text {
    /// `size` bytes of ASCII.
    pub fn ascii(size: usize) -> Self {
        Self::of("The sockeye goes up the river. ", size)
    }

    /// `size` bytes of Latin, Greek, Chinese and emoji.
    pub fn mixed(size: usize) -> Self {
        Self::of("Saumon rouge à l’été, σολομός, 红大马哈鱼, 🐟. ", size)
    }

    fn of(sentence: &str, size: usize) -> Self {
        let mut text = String::new();
        let characters = sentence.chars().cycle();
        text.extend(characters.scan(0, |length, character| {
            *length += character.len_utf8();
            (*length <= size).then_some(character)
        }));
        // What a last character was too long for.
        text.extend(std::iter::repeat_n('.', size - text.len()));
        Self(text)
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Checks it as a connection does; whether it is UTF-8.
    pub fn check(&self) -> bool {
        let mut validator = Utf8Validator::default();
        validator.update(self.bytes()).is_ok() && validator.is_complete()
    }
}
