//! Tokens, the words of HTTP's header fields.

/// Whether `text` is a token (RFC 9110 §5.6.2): the form of subprotocols and of names of extensions.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}
