//! Tokens, the words of HTTP's header fields.

/// Whether `text` is a token (RFC 9110 §5.6.2): the form of subprotocols and of names of extensions.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Which bytes tokens are made of: all that can be seen in ASCII, except delimiters.
const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        token[byte as usize] = true;
        byte += 1;
    }
    let delimiters = b"()<>@,;:\\\"/[]?={}";
    let mut index = 0;
    while index < delimiters.len() {
        token[delimiters[index] as usize] = false;
        index += 1;
    }
    token
};
