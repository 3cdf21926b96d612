//! Headers that a request may have once at most (RFC 9110 §5.3).

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::problem::{Code, Problem};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const SOCKEYE_EVENT: HeaderName = HeaderName::from_static("sockeye-event");
/// The position that a response has, as its `ETag` has it, without quotes.
pub(crate) const SOCKEYE_POSITION: HeaderName = HeaderName::from_static("sockeye-position");

/// Headers that the server acts on. Of two, a proxy in front may have looked at the other.
const SINGLE: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    HOST,
    IDEMPOTENCY_KEY,
    LAST_EVENT_ID,
    ORIGIN,
    SOCKEYE_EVENT,
];

/// Refuses a request with two headers of such a name.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    // Most have none twice.
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    SINGLE.into_iter().try_for_each(|name| single(headers, name).map(|_| ()))
}

/// The header's one value. Two are refused: another program would read the other.
pub(crate) fn single(
    headers: &HeaderMap,
    name: HeaderName,
) -> Result<Option<&HeaderValue>, Problem> {
    let mut values = headers.get_all(&name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => {
            Err(Problem::new(Code::BadRequest, format_args!("Send one {name} header.")).and_close())
        }
    }
}
