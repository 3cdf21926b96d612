//! Bytes in hexadecimal.

use std::fmt::Write as _;

/// The bytes, two digits for each.
pub(super) fn format(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Bytes that are written with two digits each, with blanks between them or not.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|char| !char.is_whitespace()).collect();
    let digit = |char: char| {
        let digit = char.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or_else(|| {
            format!("{char:?} is not a hexadecimal digit: write bytes as 00ff or 00 ff")
        })
    };
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Ok(digit(*high)? << 4 | digit(*low)?),
        _ => Err("a byte has two digits: write bytes as 00ff or 00 ff".to_owned()),
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_and_read() {
        assert_eq!(format(&[0, 0x0f, 0xff]), "000fff");
        assert_eq!(parse("000F ff"), Ok(vec![0, 0x0f, 0xff]));
        assert_eq!(parse(" "), Ok(Vec::new()));
        assert!(parse("0").is_err() && parse("0g").is_err() && parse("é0").is_err());
    }
}
