//! The grammar of header fields that both sides read: lists spread over several lines, single values.

use http::{HeaderMap, header::HeaderName};

/// A header field is not what its grammar allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The elements of a comma-separated list over all lines of the field. Empty elements are passed
/// over, as RFC 9110 §5.6.1 wants.
pub(super) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Result<&'a str, Malformed>> {
    headers.get_all(name).into_iter().flat_map(|value| {
        let (line, error) = match value.to_str() {
            Ok(line) => (line, None),
            Err(_) => ("", Some(Err(Malformed))),
        };
        let elements = line.split(',').map(str::trim_ascii).filter(|element| !element.is_empty());
        elements.map(Ok).chain(error)
    })
}

/// Whether the list has `token`, in any case of letters.
pub(super) fn list_has(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name)
        .any(|element| element.is_ok_and(|element| element.eq_ignore_ascii_case(token)))
}

/// The value of a field that may stand once; `None` if it is not there.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Malformed> {
    let mut values = headers.get_all(name).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed);
    }
    value.to_str().map(|value| Some(value.trim_ascii())).map_err(|_| Malformed)
}
