//! HTTP/1.1 heads: found within limits, parsed once, written.

use core::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use memchr::memchr;

use super::request_head::{ALWAYS_FIT, Parts as RequestParts, RequestHead};

/// How many interim responses, such as 103, are skipped before a final one (RFC 9110 §15.2).
pub const MAX_INTERIM: u8 = 16;

/// The number of header fields that fit without an allocation.
const USUAL_FIELDS: usize = 100;

/// Room for a header field.
type Field<'h> = MaybeUninit<httparse::Header<'h>>;

/// How large the head of a request or response may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadLimits {
    /// The whole head, in bytes. Default 16 KiB.
    pub bytes: usize,
    /// The first line, in bytes. Default 8 KiB.
    pub line: usize,
    /// The number of header fields. Default 100.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 16 << 10, line: 8 << 10, fields: USUAL_FIELDS }
    }
}

impl HeadLimits {
    /// Sets [`bytes`](Self::bytes).
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`line`](Self::line), in bytes.
    pub fn line(mut self, bytes: usize) -> Self {
        self.line = bytes;
        self
    }

    /// Sets [`fields`](Self::fields).
    pub fn fields(mut self, fields: usize) -> Self {
        self.fields = fields;
        self
    }
}

/// The input is not an HTTP/1.1 head, or passes a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedHead {
    /// More header fields than allowed.
    #[error("the head has more than {0} header fields")]
    Fields(usize),
    /// A first line longer than allowed.
    #[error("the first line has more than {0} bytes")]
    Line(usize),
    /// A head longer than allowed.
    #[error("the head has more than {0} bytes")]
    Size(usize),
    /// Not HTTP.
    #[error("it is not HTTP: {0}")]
    Syntax(&'static str),
    /// A record of TLS: one end encrypts, the other does not.
    #[error("it speaks TLS, not plain HTTP")]
    Tls,
    /// Another version than HTTP/1.x.
    #[error("its HTTP version is not supported")]
    Version,
}

/// Waits for the empty line that ends a head. Each byte is looked at once, however they come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeadReader {
    limits: HeadLimits,
    /// Where the line that is being received begins.
    line: usize,
    /// How much of the input has been searched for the end of that line.
    scanned: usize,
    first_line_done: bool,
    /// Interim responses that were skipped.
    interim: u8,
}

impl HeadReader {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { limits, line: 0, scanned: 0, first_line_done: false, interim: 0 }
    }

    /// The request at the front of `input`, once it is complete.
    pub(super) fn poll_request(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<RequestHead>, MalformedHead> {
        self.poll(input, Self::parse_request)
    }

    /// The same for a response that is not interim, or exceeds the number of interim ones (RFC 9110
    /// §15.2). 101 is final: what follows is not HTTP.
    pub(crate) fn poll_final_response(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<Response<()>>, MalformedHead> {
        while let Some(response) = self.poll(input, Self::parse_response)? {
            let status = response.status();
            let is_interim = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
            if !is_interim || self.interim == MAX_INTERIM {
                return Ok(Some(response));
            }
            self.interim += 1;
        }
        Ok(None)
    }

    fn poll<T>(
        &mut self,
        input: &mut BytesMut,
        parse: impl FnOnce(&Self, Bytes) -> Result<T, MalformedHead>,
    ) -> Result<Option<T>, MalformedHead> {
        let Some(length) = self.find_end(input)? else { return Ok(None) };
        // One copy for all fields: they are not to keep the buffer alive that it was read into.
        let parsed = parse(self, Bytes::copy_from_slice(&input[..length]));
        input.advance(length);
        parsed.map(Some)
    }

    /// Where the head ends, once it is complete.
    fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, MalformedHead> {
        // A handshake record, or an alert (RFC 8446 §5.1): no line end may ever follow.
        if let [0x15 | 0x16, 0x03, ..] = input {
            return Err(MalformedHead::Tls);
        }
        while let Some(length) = memchr(b'\n', &input[self.scanned..]) {
            let end = self.scanned + length + 1;
            self.check_size(end)?;
            // A bare LF ends a line for some parsers and not for others: nothing good comes of it.
            if !input[self.line..end].ends_with(b"\r\n") {
                return Err(MalformedHead::Syntax("a line ends without CR"));
            }
            let empty_line = end - self.line == 2;
            if empty_line && self.first_line_done {
                (self.line, self.scanned, self.first_line_done) = (0, 0, false);
                return Ok(Some(end));
            }
            self.first_line_done |= !empty_line;
            (self.line, self.scanned) = (end, end);
        }
        self.scanned = input.len();
        // No further line yet: an incomplete one must not grow past the limits either.
        self.check_size(input.len())?;
        Ok(None)
    }

    fn check_size(&self, size: usize) -> Result<(), MalformedHead> {
        let line = self.limits.line.min(self.limits.bytes);
        if !self.first_line_done && size > line {
            return Err(MalformedHead::Line(line));
        }
        if size > self.limits.bytes {
            return Err(MalformedHead::Size(self.limits.bytes));
        }
        Ok(())
    }

    fn parse_request(&self, head: Bytes) -> Result<RequestHead, MalformedHead> {
        let (mut usual, mut more) = ([const { Field::uninit() }; USUAL_FIELDS], Vec::new());
        let mut parsed = httparse::Request::new(&mut []);
        let result = httparse::ParserConfig::default().parse_request_with_uninit_headers(
            &mut parsed,
            &head,
            self.room(&mut usual, &mut more),
        );
        // A target with a space in it looks like another version.
        if result == Err(httparse::Error::Version) && !names_version(&head) {
            return Err(MalformedHead::Syntax("its first line is malformed"));
        }
        self.require_complete(result)?;
        let parts = RequestParts::new(&head, &parsed, version(parsed.version), self.limits.fields)?;
        if parsed.headers.len() > ALWAYS_FIT {
            // Their names decide whether the map can be made that a handler may ask for.
            self.header_map(&head, parsed.headers)?;
        }
        Ok(RequestHead::new(head, parts))
    }

    fn parse_response(&self, head: Bytes) -> Result<Response<()>, MalformedHead> {
        let (mut usual, mut more) = ([const { Field::uninit() }; USUAL_FIELDS], Vec::new());
        let mut parsed = httparse::Response::new(&mut []);
        let result = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            &head,
            self.room(&mut usual, &mut more),
        );
        self.require_complete(result)?;
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|_| MalformedHead::Syntax("the status is not a status code"))?;
        *response.version_mut() = version(parsed.version);
        *response.headers_mut() = self.header_map(&head, parsed.headers)?;
        Ok(response)
    }

    /// Room for as many fields as are allowed.
    fn room<'a, 'h>(
        &self,
        usual: &'a mut [Field<'h>; USUAL_FIELDS],
        more: &'a mut Vec<Field<'h>>,
    ) -> &'a mut [Field<'h>] {
        if let Some(room) = usual.get_mut(..self.limits.fields) {
            return room;
        }
        more.resize_with(self.limits.fields, Field::uninit);
        more
    }

    fn require_complete(&self, result: httparse::Result<usize>) -> Result<(), MalformedHead> {
        match result {
            Ok(httparse::Status::Complete(_)) => Ok(()),
            Ok(httparse::Status::Partial) => Err(MalformedHead::Syntax("the head breaks off")),
            Err(httparse::Error::TooManyHeaders) => Err(MalformedHead::Fields(self.limits.fields)),
            Err(httparse::Error::Version) => Err(MalformedHead::Version),
            Err(httparse::Error::HeaderName) => {
                Err(MalformedHead::Syntax("a header field's name is malformed"))
            }
            Err(httparse::Error::HeaderValue) => {
                Err(MalformedHead::Syntax("a header field's value is malformed"))
            }
            Err(_) => Err(MalformedHead::Syntax("its first line is malformed")),
        }
    }

    /// The fields of a head, whose values are slices of it.
    fn header_map(
        &self,
        head: &Bytes,
        fields: &[httparse::Header<'_>],
    ) -> Result<HeaderMap, MalformedHead> {
        // A map has room for 32,768 fields, whatever the limit allows.
        let too_many = |_| MalformedHead::Fields(self.limits.fields);
        let mut headers = HeaderMap::try_with_capacity(fields.len()).map_err(too_many)?;
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| MalformedHead::Syntax("a header field's name is malformed"))?;
            let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
                .map_err(|_| MalformedHead::Syntax("a header field's value is malformed"))?;
            headers.try_append(name, value).map_err(too_many)?;
        }
        Ok(headers)
    }
}

/// Whether the first line has three words of which the last is a version of HTTP.
fn names_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').find(|line| !line.trim_ascii().is_empty());
    let mut words = line.unwrap_or_default().trim_ascii_start().split(|&byte| byte == b' ').skip(2);
    words.next().is_some_and(|word| word.starts_with(b"HTTP/")) && words.next().is_none()
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 }
}

/// Writes a response's head, and its body behind it if there is one.
pub fn encode_response<B: AsRef<[u8]>>(response: &Response<B>) -> Bytes {
    let status = response.status();
    let mut out = BytesMut::with_capacity(256);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
    out.extend_from_slice(b"\r\n");
    encode_fields(response.headers(), &mut out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(response.body().as_ref());
    out.freeze()
}

/// Writes header fields, a line each, with their names the way that the RFCs write them.
pub(super) fn encode_fields(headers: &HeaderMap, out: &mut BytesMut) {
    for (name, value) in headers {
        let begin = out.len();
        out.extend_from_slice(name.as_str().as_bytes());
        for word in out[begin..].split_mut(|&byte| byte == b'-') {
            match word {
                word if word == b"websocket" => word.copy_from_slice(b"WebSocket"),
                [first, ..] => first.make_ascii_uppercase(),
                [] => {}
            }
        }
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes one header field, a line, its name as it is.
pub(super) fn encode_field(name: &str, value: &[u8], out: &mut BytesMut) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests;
