//! The grammar of header fields that both sides read: lists spread over several lines, single values.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A header field is not what its grammar allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The values of a field of a map, in their order.
pub(super) fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// The elements of a comma-separated list over all lines of the field, those of a line that is not text
/// apart. Empty elements are passed over, as RFC 9110 §5.6.1 wants.
pub(super) fn list<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Result<&'a [u8], Malformed>> {
    values.flat_map(|value| {
        let (line, error) = match is_text(value) {
            true => (value, None),
            false => (&b""[..], Some(Err(Malformed))),
        };
        elements(line).map(Ok).chain(error)
    })
}

/// Whether the list has `token`, in any case of letters, in a line that is text.
pub(super) fn list_has<'a>(mut values: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    let is_token = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
    // Mostly it is the only one.
    values.any(|value| is_token(value) || (elements(value).any(is_token) && is_text(value)))
}

/// The value of a field that may stand once, text or not; `None` if it is not there.
pub(super) fn single<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a [u8]>, Malformed> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() { Err(Malformed) } else { Ok(Some(value.trim_ascii())) }
}

/// A value that is visible ASCII, spaces and tabs, as text.
pub(super) fn text(value: &[u8]) -> Result<&str, Malformed> {
    let text = if is_text(value) { core::str::from_utf8(value).ok() } else { None };
    text.ok_or(Malformed)
}

fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty())
}

fn is_text(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}
