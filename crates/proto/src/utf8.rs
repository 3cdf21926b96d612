//! UTF-8 checked while it arrives: the first byte that cannot belong to valid text is an error,
//! though its character or its frame is not complete (RFC 6455 §8.1, RFC 3629).

use crate::text::InvalidUtf8;

/// Checks a text that arrives in pieces cut anywhere, such as one that is to be
/// [sent in fragments](crate::Connection::send_fragment).
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Validator {
    /// The beginning of a character whose rest is still to come; at most three bytes are held
    /// between calls.
    partial: [u8; 4],
    held: u8,
}

impl Utf8Validator {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    ///
    /// When it cannot be UTF-8 whatever comes. The check is of no more use then.
    pub fn update(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while self.held > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.complete_character(byte)?;
        }
        let Err(error) = simdutf8::compat::from_utf8(piece) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(InvalidUtf8);
        }
        // The piece ends inside a character that is right so far.
        let tail = &piece[error.valid_up_to()..];
        self.partial[..tail.len()].copy_from_slice(tail);
        self.held = tail.len() as u8;
        Ok(())
    }

    /// Whether the text may end here: not inside a character.
    pub fn is_complete(&self) -> bool {
        self.held == 0
    }

    /// Adds one byte to the character begun.
    fn complete_character(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let held = usize::from(self.held);
        self.partial[held] = byte;
        match core::str::from_utf8(&self.partial[..=held]) {
            Ok(_) => self.held = 0,
            Err(error) if error.error_len().is_none() && error.valid_up_to() == 0 => self.held += 1,
            Err(_) => return Err(InvalidUtf8),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The index of the byte at which the validator, fed byte by byte, gives up.
    fn fails_at(bytes: &[u8]) -> Option<usize> {
        let mut validator = Utf8Validator::default();
        bytes.iter().position(|&byte| validator.update(&[byte]).is_err())
    }

    /// Rule: W87.
    #[test]
    fn text_fails_at_its_first_impossible_byte() {
        assert_eq!(fails_at("κόσμε".as_bytes()), None);
        assert_eq!(fails_at(b"ok\xff"), Some(2));
        // Overlong forms, surrogates and code points past U+10FFFF are known by the second byte.
        assert_eq!(fails_at(b"\xc0\xaf"), Some(0));
        assert_eq!(fails_at(b"\xe0\x80\xaf"), Some(1));
        assert_eq!(fails_at(b"\xed\xa0\x80"), Some(1));
        assert_eq!(fails_at(b"\xf4\x90\x80\x80"), Some(1));
        // A character that breaks off in its last byte.
        assert_eq!(fails_at(b"\xf0\x9f\x92\x41"), Some(3));
    }

    /// Rule: W87.
    #[test]
    fn text_that_stops_inside_a_character_is_not_complete() {
        let mut validator = Utf8Validator::default();
        validator.update(b"\xf0\x9f\x92").unwrap();
        assert!(!validator.is_complete());
        validator.update(b"\xa9").unwrap();
        assert!(validator.is_complete());
    }

    proptest! {
        /// Rule: W87.
        #[test]
        fn pieces_are_judged_as_the_whole_is(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..64),
            ],
            size in 1usize..9,
        ) {
            let mut validator = Utf8Validator::default();
            let accepted = bytes.chunks(size).all(|piece| validator.update(piece).is_ok());
            prop_assert_eq!(accepted && validator.is_complete(), core::str::from_utf8(&bytes).is_ok());
        }
    }
}
