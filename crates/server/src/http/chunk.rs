//! Chunks of a body of HTTP/1.1 (RFC 9112 §7.1).

use bytes::Bytes;

/// What follows the data of a chunk.
pub(crate) const AFTER: &str = "\r\n";

/// What follows the last chunk: one without data, which ends the body.
pub(crate) const END: &str = "0\r\n\r\n";

/// What stands before that many bytes of data. No data would be the end of the body.
pub(crate) fn before(length: usize) -> String {
    format!("{length:X}\r\n")
}

/// The data as a chunk.
pub(crate) fn of(data: &[u8]) -> Bytes {
    let before = before(data.len());
    [before.as_bytes(), data, AFTER.as_bytes()].concat().into()
}

/// How many bytes of data a chunk has that was made here.
pub(crate) fn data_length(chunk: &[u8]) -> usize {
    let digits = chunk.iter().position(|byte| *byte == b'\r').unwrap_or_default();
    chunk.len().saturating_sub(digits + 2 * AFTER.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_chunk_has_the_length_of_its_data(data in prop::collection::vec(any::<u8>(), 1..5000)) {
            let chunk = of(&data);
            prop_assert_eq!(data_length(&chunk), data.len());
            let before = format!("{:X}\r\n", data.len());
            prop_assert_eq!(&chunk[..before.len()], before.as_bytes());
            prop_assert_eq!(&chunk[before.len()..chunk.len() - 2], &data[..]);
        }
    }
}
