//! Answers that are written without hyper: to connections that end before a request of theirs comes to
//! the routes.

use http::StatusCode;
use httparse::{EMPTY_HEADER, Header, Request};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::beginning::MAX_HEADERS;
use crate::impatient::Impatient;

/// An answer, after which the connection ends.
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

/// While there are no file descriptors.
pub(crate) const NO_DESCRIPTORS: &[u8] = answer!(
    "503",
    "Service Unavailable",
    "retry-after: 5\r\n",
    "unavailable",
    "Unavailable",
    "The server has no file descriptors left: come again later."
);

/// Where another connection has got the place.
pub(crate) const NO_PLACE: &[u8] = answer!(
    "503",
    "Service Unavailable",
    "retry-after: 5\r\n",
    "unavailable",
    "Unavailable",
    "The server has as many connections as it takes: come again later."
);

const TWO_LENGTHS: &[u8] = answer!(
    "400",
    "Bad Request",
    "",
    "bad_request",
    "Bad request",
    "A request has Content-Length or Transfer-Encoding, not both."
);

const TOO_LONG: &[u8] = answer!(
    "413",
    "Payload Too Large",
    "",
    "too_large",
    "Message too large",
    "No message is as long as Content-Length says."
);

/// The answer to a first request whose head says in a wrong way how long its body is.
///
/// hyper takes a request with `Content-Length` and `Transfer-Encoding` by the latter, and ends the
/// connection after it. That is allowed (RFC 9112 §6.1), and whoever sends both still means to have two
/// servers read two different requests. A length near 2^64 is too long for hyper's head.
pub(crate) fn refusal(head: &[u8]) -> Option<(StatusCode, &'static [u8])> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    request.parse(head).ok().filter(|parsed| parsed.is_complete())?;
    let is = |header: &Header<'_>, name: &str| header.name.eq_ignore_ascii_case(name);
    let mut lengths =
        request.headers.iter().filter(|header| is(header, "content-length")).peekable();
    lengths.peek()?;
    if request.headers.iter().any(|header| is(header, "transfer-encoding")) {
        return Some((StatusCode::BAD_REQUEST, TWO_LENGTHS));
    }
    let is_huge = |value: &[u8]| {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(value).ok().and_then(|value| value.parse::<u64>().ok());
        is_number && number.is_none_or(|length| length > u64::MAX / 2)
    };
    lengths.any(|header| is_huge(header.value)).then_some((StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG))
}

/// Writes such an answer, and ends the connection when the client has it.
pub(crate) async fn tell<S>(mut io: Impatient<S>, answer: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    io.shared().linger(true);
    // A client that does not take it does without.
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
    }

    #[test]
    fn a_length_that_no_message_has_is_too_large() {
        for (length, expected) in [
            ("65537", None),
            ("9223372036854775807", None),
            ("9223372036854775808", Some(413)),
            ("18446744073709551615", Some(413)),
            ("99999999999999999999999", Some(413)),
            // What is not a number hyper refuses.
            ("-1", None),
            ("1e30", None),
            ("", None),
        ] {
            assert_eq!(status(&format!("Content-Length: {length}\r\n")), expected, "{length}");
        }
    }
}
