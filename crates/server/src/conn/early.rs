//! Responses that are written without hyper, to connections that end before a request reaches the
//! routes.

use http::StatusCode;
use httparse::{EMPTY_HEADER, Header, Request};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::conn::protocol::MAX_HEADERS;
use crate::net::write_deadline::WriteDeadline;

/// A response after which the connection ends.
macro_rules! answer {
    ($status:literal, $reason:literal, $headers:literal, $code:literal, $title:literal, $detail:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            " ",
            $reason,
            "\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n",
            $headers,
            "connection: close\r\n\r\n{\"code\":\"",
            $code,
            "\",\"title\":\"",
            $title,
            "\",\"status\":",
            $status,
            ",\"detail\":\"",
            $detail,
            "\"}"
        )
        .as_bytes()
    };
}

/// There are no file descriptors.
pub(crate) const NO_DESCRIPTORS: &[u8] = answer!(
    "503",
    "Service Unavailable",
    "retry-after: 5\r\n",
    "unavailable",
    "Service unavailable",
    "The server has no file descriptors left: try again later."
);

/// The limit of connections is reached, or the connection was evicted for another.
pub(crate) const NO_PLACE: &[u8] = answer!(
    "503",
    "Service Unavailable",
    "retry-after: 5\r\n",
    "unavailable",
    "Service unavailable",
    "The server has reached its connection limit: try again later."
);

const TWO_LENGTHS: &[u8] = answer!(
    "400",
    "Bad Request",
    "",
    "bad_request",
    "Bad request",
    "A request has Content-Length or Transfer-Encoding, not both."
);

const BARE_LF: &[u8] = answer!(
    "400",
    "Bad Request",
    "",
    "bad_request",
    "Bad request",
    "A line of a request's head ends with CR and LF."
);

const CODINGS: &[u8] = answer!(
    "400",
    "Bad Request",
    "",
    "bad_request",
    "Bad request",
    "The only Transfer-Encoding here is chunked, once."
);

const TOO_LONG: &[u8] = answer!(
    "413",
    "Payload Too Large",
    "",
    "too_large",
    "Message too large",
    "No message is as long as Content-Length says."
);

/// The response to a first request whose head is ambiguous, or gives a length that no body has.
///
/// hyper takes a request with `Content-Length` and `Transfer-Encoding` by the latter, and closes the
/// connection after it. That is allowed (RFC 9112 §6.1), but such a request is meant for two servers
/// that read it differently (request smuggling). In later requests the [guard](crate::net::head_guard)
/// refuses the same, without a body. A length near 2^64 does not fit hyper's parser.
pub(crate) fn refusal(head: &[u8]) -> Option<(StatusCode, &'static [u8])> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(head) else { return None };
    if has_bare_lf(&head[..length]) {
        return Some((StatusCode::BAD_REQUEST, BARE_LF));
    }
    let is = |header: &&Header<'_>, name: &str| header.name.eq_ignore_ascii_case(name);
    let mut lengths =
        request.headers.iter().filter(|header| is(header, "content-length")).peekable();
    let mut codings = request.headers.iter().filter(|header| is(header, "transfer-encoding"));
    if let Some(coding) = codings.next() {
        let is_chunked = coding.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return match (lengths.peek(), is_chunked && codings.next().is_none()) {
            (Some(_), _) => Some((StatusCode::BAD_REQUEST, TWO_LENGTHS)),
            (None, true) => None,
            (None, false) => Some((StatusCode::BAD_REQUEST, CODINGS)),
        };
    }
    let is_huge = |value: &[u8]| {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(value).ok().and_then(|value| value.parse::<u64>().ok());
        is_number && number.is_none_or(|length| length > u64::MAX / 2)
    };
    lengths.any(|header| is_huge(header.value)).then_some((StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG))
}

fn has_bare_lf(head: &[u8]) -> bool {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    !lines.all(|line| line.ends_with(b"\r\n"))
}

/// Writes such a response, and closes the connection when the client has it.
pub(crate) async fn send<S>(mut io: WriteDeadline<S>, answer: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    io.shared().linger(true);
    // A client that does not read it goes without.
    if io.write_all(answer).await.is_ok() {
        let _ = io.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(fields: &str) -> Option<u16> {
        let head = format!("POST /c/chat HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        refusal(head.as_bytes()).map(|(status, answer)| {
            let line = format!("HTTP/1.1 {} ", status.as_u16());
            assert!(answer.starts_with(line.as_bytes()));
            status.as_u16()
        })
    }

    #[test]
    fn a_body_has_one_length() {
        let (length, chunked) = ("Content-Length: 5\r\n", "transfer-encoding: chunked\r\n");
        for fields in ["", length, chunked] {
            assert_eq!(status(fields), None, "{fields}");
        }
        assert_eq!(status(&[length, chunked].concat()), Some(400));
        assert_eq!(status(&[chunked, length].concat()), Some(400));
        assert_eq!(status(&[chunked, chunked].concat()), Some(400));
        assert_eq!(status("Transfer-Encoding: chunked, chunked\r\n"), Some(400));
        assert_eq!(status("Transfer-Encoding: gzip, chunked\r\n"), Some(400));
    }

    #[test]
    fn a_line_ends_with_both_of_its_ends() {
        assert_eq!(status("X: y\n"), Some(400));
        assert!(refusal(b"GET / HTTP/1.1\nHost: a\r\n\r\n").is_some());
        assert!(refusal(b"GET / HTTP/1.1\r\nHost: a\r\n\n").is_some());
        assert!(refusal(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\n\n").is_none(), "the body's");
    }

    #[test]
    fn a_length_that_no_message_has_is_too_large() {
        for (length, expected) in [
            ("65537", None),
            ("9223372036854775807", None),
            ("9223372036854775808", Some(413)),
            ("18446744073709551615", Some(413)),
            ("99999999999999999999999", Some(413)),
            // hyper refuses what is not a number.
            ("-1", None),
            ("1e30", None),
            ("", None),
        ] {
            assert_eq!(status(&format!("Content-Length: {length}\r\n")), expected, "{length}");
        }
    }
}
