//! HTTP/1.1 from the client's side, as far as the load needs it: requests as text, of answers the
//! status, the length and the position.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, TRANSFER_ENCODING};
use httparse::{EMPTY_HEADER, Status};

/// The longest head, the longest line of a chunk and how many fields are taken.
const MAX_HEAD: usize = 16 * 1024;
const MAX_LINE: usize = 1024;
const MAX_FIELDS: usize = 64;

/// Where requests go, and what they all say.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Resource {
    /// Path and query.
    pub(in crate::bench) target: String,
    /// The fields of every request, each with its line's end.
    pub(in crate::bench) fields: String,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) is_events: bool,
    pub(super) is_lines: bool,
    /// The entity tag, without its quotes.
    pub(super) etag: Option<String>,
    pub(super) body: Body,
}

/// What is still to come of a body (RFC 9112 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// That many bytes.
    Length(usize),
    /// Chunks; that many bytes are left of the present one, with the two that end it.
    Chunks(usize),
    /// All until the connection ends.
    Endless,
    /// Nothing.
    Done,
}

impl Resource {
    /// The head of a request without a body; `query` is added to the target.
    pub(super) fn request(&self, method: &str, query: &str, fields: &str) -> String {
        let Self { target, fields: always } = self;
        let mark = match query {
            "" => "",
            _ if target.contains('?') => "&",
            _ => "?",
        };
        format!("{method} {target}{mark}{query} HTTP/1.1\r\n{always}{fields}\r\n")
    }
}

/// The head of the next answer, once it is there, taken from the front of `input`.
pub(super) fn head(input: &mut BytesMut) -> anyhow::Result<Option<Head>> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let Status::Complete(length) = response.parse(input).context("the answer is not HTTP/1.1")?
    else {
        if input.len() > MAX_HEAD {
            bail!("the answer has a head of more than {MAX_HEAD} bytes");
        }
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let (is_events, is_lines) = (false, false);
    let mut head = Head { status, is_events, is_lines, etag: None, body: Body::Endless };
    for field in response.headers.iter() {
        let value = str::from_utf8(field.value).unwrap_or_default().trim();
        let is = |name: &http::HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
        if is(&CONTENT_LENGTH) && head.body == Body::Endless {
            head.body = Body::Length(value.parse().context("the answer's length is not a number")?);
        } else if is(&TRANSFER_ENCODING) && value.eq_ignore_ascii_case("chunked") {
            head.body = Body::Chunks(0);
        } else if is(&CONTENT_TYPE) {
            head.is_events = value.starts_with("text/event-stream");
            head.is_lines = value.starts_with("application/x-ndjson");
        } else if is(&ETAG) {
            head.etag = Some(value.trim_start_matches("W/").trim_matches('"').to_owned());
        }
    }
    if matches!(status, 204 | 304) || head.body == Body::Length(0) {
        head.body = Body::Done;
    }
    input.advance(length);
    Ok(Some(head))
}

impl Body {
    /// Moves what has come of the body from the front of `input` to `output`.
    pub(super) fn take(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> anyhow::Result<()> {
        loop {
            match self {
                Self::Done => return Ok(()),
                Self::Endless => {
                    output.extend_from_slice(input);
                    input.clear();
                    return Ok(());
                }
                Self::Length(left) => {
                    let here = input.len().min(*left);
                    output.extend_from_slice(&input[..here]);
                    input.advance(here);
                    *left -= here;
                    if *left > 0 {
                        return Ok(());
                    }
                    *self = Self::Done;
                }
                Self::Chunks(0) => match chunk(input)? {
                    None => return Ok(()),
                    Some(0) => *self = Self::Done,
                    Some(length) => *self = Self::Chunks(length + 2),
                },
                Self::Chunks(left) => {
                    let here = input.len().min(*left);
                    // The line's end after the chunk is none of its data.
                    let data = here.min(left.saturating_sub(2));
                    output.extend_from_slice(&input[..data]);
                    input.advance(here);
                    *left -= here;
                    if *left > 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The length of the next chunk, once its line is there; the last one is taken whole. Trailers are
/// not for the load (RFC 9112 §7.1).
fn chunk(input: &mut BytesMut) -> anyhow::Result<Option<usize>> {
    let Some(end) = input.windows(2).position(|window| window == b"\r\n") else {
        if input.len() > MAX_LINE {
            bail!("a chunk of the answer has no length");
        }
        return Ok(None);
    };
    let line = str::from_utf8(&input[..end]).unwrap_or_default();
    let digits = line.split(';').next().unwrap_or_default().trim();
    let length = usize::from_str_radix(digits, 16).context("a chunk's length is not a number")?;
    let head = end + 2;
    if length > 0 {
        input.advance(head);
        return Ok(Some(length));
    }
    let Some(trailers) = input[end..].windows(4).position(|window| window == b"\r\n\r\n") else {
        if input.len() > MAX_HEAD {
            bail!("the answer has trailers of more than {MAX_HEAD} bytes");
        }
        return Ok(None);
    };
    input.advance(end + trailers + 4);
    Ok(Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bodies of answers, read as they come in pieces of this size.
    fn bodies(bytes: &[u8], size: usize) -> Vec<String> {
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let (mut bodies, mut body) = (Vec::new(), None);
        for piece in bytes.chunks(size) {
            input.extend_from_slice(piece);
            loop {
                if body.is_none() {
                    body = head(&mut input).unwrap().map(|head| head.body);
                }
                let Some(open) = &mut body else { break };
                open.take(&mut input, &mut output).unwrap();
                if *open != Body::Done {
                    break;
                }
                bodies.push(String::from_utf8(output.split().to_vec()).unwrap());
                body = None;
            }
        }
        assert!(input.is_empty(), "{input:?}");
        bodies
    }

    #[test]
    fn answers_are_told_apart_however_they_come() {
        let answers = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n\
            HTTP/1.1 304 Not Modified\r\nETag: \"k.1\"\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: 1\r\n\r\n";
        for size in 1..answers.len() {
            assert_eq!(bodies(answers, size), ["hello", "abc0123456789", "", ""], "{size}");
        }
    }

    #[test]
    fn the_position_and_the_kind_are_in_the_head() {
        let answer =
            "HTTP/1.1 200 OK\r\nETag: W/\"k3f9.1187\"\r\nContent-Type: text/event-stream\r\n\r\n";
        let head = head(&mut BytesMut::from(answer)).unwrap().unwrap();
        assert_eq!(head.etag.as_deref(), Some("k3f9.1187"));
        assert!(head.is_events && head.status == 200 && head.body == Body::Endless);
    }

    #[test]
    fn a_request_goes_where_the_url_says() {
        let resource = |target: &str| Resource {
            target: target.to_owned(),
            fields: "Host: example.org\r\n".to_owned(),
        };
        assert_eq!(
            resource("/c/a").request("GET", "after=k.1", ""),
            "GET /c/a?after=k.1 HTTP/1.1\r\nHost: example.org\r\n\r\n"
        );
        assert_eq!(
            resource("/c/a?as=ann").request("GET", "after=k.1", "Accept: a/b\r\n"),
            "GET /c/a?as=ann&after=k.1 HTTP/1.1\r\nHost: example.org\r\nAccept: a/b\r\n\r\n"
        );
    }
}
