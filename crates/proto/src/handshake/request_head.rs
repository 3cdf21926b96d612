//! The head of a request, read once: its fields are places in one copy of its bytes, and a map is made of them only where
//! one is asked for.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use super::head::MalformedHead;

/// The most fields that a [`HeaderMap`] can be made for.
const MAX_FIELDS: usize = 24_576;
/// The most fields that one can be made for whatever their names: one that has its full size, 32,768 places, wants to
/// grow where many names want the same place and a fifth of all are taken.
pub(super) const ALWAYS_FIT: usize = 6_553;
/// The longest name of a field that there can be in `http`.
const MAX_NAME: usize = u16::MAX as usize;
/// The longest target for which no parser is asked, well below what a [`Uri`] can have.
const MAX_PLAIN_TARGET: usize = 32 << 10;

/// The head of a request of HTTP/1, as [`ServerHandshake::poll_head`](super::ServerHandshake::poll_head) reads it.
///
/// Its syntax was checked; what it asks for was not. Most servers look at the path and a field or two: for them no
/// [`HeaderMap`] is made. [`to_request`](Self::to_request) makes one.
#[derive(Debug, Clone)]
pub struct RequestHead {
    bytes: Bytes,
    parts: Parts,
}

/// What is where in a head.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    method: Method,
    version: Version,
    target: Range<usize>,
    /// The target, unless it is a plain path.
    uri: Option<Box<Uri>>,
    fields: Vec<Field>,
}

/// Where a field is in the head.
#[derive(Debug, Clone)]
struct Field {
    known: FieldName,
    name: Range<usize>,
    value: Range<usize>,
}

impl Parts {
    /// Of what `httparse` has found in `head`. `limit` is how many fields it may have.
    pub(super) fn new(
        head: &[u8],
        found: &httparse::Request<'_, '_>,
        version: Version,
        limit: usize,
    ) -> Result<Self, MalformedHead> {
        let method = Method::from_bytes(found.method.unwrap_or_default().as_bytes())
            .map_err(|_| MalformedHead::Syntax("the method is not a token"))?;
        let target = found.path.unwrap_or_default();
        let uri = match is_plain_path(target) {
            true => None,
            false => Some(Box::new(parse_target(target)?)),
        };
        if found.headers.len() > MAX_FIELDS {
            return Err(MalformedHead::Fields(limit));
        }
        let mut fields = Vec::with_capacity(found.headers.len());
        for field in &*found.headers {
            if field.name.len() > MAX_NAME {
                return Err(MalformedHead::Syntax("a header field's name is malformed"));
            }
            fields.push(Field {
                known: FieldName::of(field.name.as_bytes()),
                name: range_in(head, field.name.as_bytes()),
                value: range_in(head, field.value),
            });
        }
        Ok(Self { method, version, target: range_in(head, target.as_bytes()), uri, fields })
    }
}

impl RequestHead {
    /// Of its bytes, and what is where in them.
    pub(super) fn new(bytes: Bytes, parts: Parts) -> Self {
        Self { bytes, parts }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// HTTP/1.1 or HTTP/1.0.
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// The path that is asked for, without the query; still percent-encoded.
    pub fn path(&self) -> &str {
        match &self.parts.uri {
            Some(uri) => uri.path(),
            None => self.target().split_once('?').map_or(self.target(), |(path, _)| path),
        }
    }

    /// The query, without the `?`; still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        match &self.parts.uri {
            Some(uri) => uri.query(),
            None => self.target().split_once('?').map(|(_, query)| query),
        }
    }

    /// The host and port of an absolute target, which overrule `Host` (RFC 9112 §3.2.2).
    pub fn authority(&self) -> Option<&str> {
        Some(self.parts.uri.as_ref()?.authority()?.as_str())
    }

    /// The values of the fields of this name, in their order.
    pub fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_str().as_bytes();
        let has_name =
            move |field: &&Field| self.bytes[field.name.clone()].eq_ignore_ascii_case(name);
        self.parts.fields.iter().filter(has_name).map(|field| &self.bytes[field.value.clone()])
    }

    /// The request with all that is in its head. The values share the bytes of the head.
    pub fn to_request(&self) -> Request<()> {
        const CHECKED: &str = "the head was checked when it was read";
        let mut headers = HeaderMap::with_capacity(self.parts.fields.len());
        for field in &self.parts.fields {
            let name = HeaderName::from_bytes(&self.bytes[field.name.clone()]).expect(CHECKED);
            let value = HeaderValue::from_maybe_shared(self.bytes.slice(field.value.clone()));
            headers.append(name, value.expect(CHECKED));
        }
        let mut request = Request::new(());
        *request.method_mut() = self.parts.method.clone();
        *request.version_mut() = self.parts.version;
        *request.uri_mut() = match &self.parts.uri {
            Some(uri) => Uri::clone(uri),
            None => Uri::try_from(self.target()).expect(CHECKED),
        };
        *request.headers_mut() = headers;
        request
    }

    /// Whether the target is a path, or has one.
    pub(super) fn has_path(&self) -> bool {
        self.parts.uri.as_ref().is_none_or(|uri| uri.path().starts_with('/'))
    }

    fn target(&self) -> &str {
        core::str::from_utf8(&self.bytes[self.parts.target.clone()]).unwrap_or_default()
    }
}

/// Where a part of the head stands in it.
fn range_in(bytes: &[u8], part: &[u8]) -> Range<usize> {
    // What is empty may be anywhere.
    if part.is_empty() {
        return 0..0;
    }
    let begin = part.as_ptr().addr() - bytes.as_ptr().addr();
    begin..begin + part.len()
}

fn parse_target(target: &str) -> Result<Uri, MalformedHead> {
    if target.contains('#') {
        return Err(MalformedHead::Syntax("the target has a fragment"));
    }
    Uri::try_from(target).map_err(|_| MalformedHead::Syntax("the target is not a URI"))
}

/// Whether it is a path, with a query or not, as most are, for which no parser has to be asked.
fn is_plain_path(target: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'?' | b'=' | b'&' | b'-' | b'.' | b'_' | b'~' | b'%' | b':')
    };
    target.starts_with('/') && target.len() <= MAX_PLAIN_TARGET && target.bytes().all(is_plain)
}

/// The fields that a handshake looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldName {
    Connection,
    ContentLength,
    Host,
    SecWebSocketExtensions,
    SecWebSocketKey,
    SecWebSocketProtocol,
    SecWebSocketVersion,
    TransferEncoding,
    Upgrade,
    /// Any other.
    Other,
}

impl FieldName {
    /// Which one it is, in any case of letters. No two of those of one length have to be compared but once.
    fn of(name: &[u8]) -> Self {
        let (text, known) = match name.len() {
            4 => ("host", Self::Host),
            7 => ("upgrade", Self::Upgrade),
            10 => ("connection", Self::Connection),
            14 => ("content-length", Self::ContentLength),
            17 if matches!(name[0], b't' | b'T') => ("transfer-encoding", Self::TransferEncoding),
            17 => ("sec-websocket-key", Self::SecWebSocketKey),
            21 => ("sec-websocket-version", Self::SecWebSocketVersion),
            22 => ("sec-websocket-protocol", Self::SecWebSocketProtocol),
            24 => ("sec-websocket-extensions", Self::SecWebSocketExtensions),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(text.as_bytes()) { known } else { Self::Other }
    }

    /// `None` for [`Other`](Self::Other).
    fn header(self) -> Option<HeaderName> {
        Some(match self {
            Self::Connection => header::CONNECTION,
            Self::ContentLength => header::CONTENT_LENGTH,
            Self::Host => header::HOST,
            Self::SecWebSocketExtensions => header::SEC_WEBSOCKET_EXTENSIONS,
            Self::SecWebSocketKey => header::SEC_WEBSOCKET_KEY,
            Self::SecWebSocketProtocol => header::SEC_WEBSOCKET_PROTOCOL,
            Self::SecWebSocketVersion => header::SEC_WEBSOCKET_VERSION,
            Self::TransferEncoding => header::TRANSFER_ENCODING,
            Self::Upgrade => header::UPGRADE,
            Self::Other => return None,
        })
    }
}

/// The fields of a request, in a map or as they were read.
pub(super) trait Fields {
    /// The values of a field, in their order.
    fn values_of(&self, name: FieldName) -> impl Iterator<Item = &[u8]>;

    /// Whether the field is there.
    fn has(&self, name: FieldName) -> bool {
        self.values_of(name).next().is_some()
    }
}

impl Fields for HeaderMap {
    fn values_of(&self, name: FieldName) -> impl Iterator<Item = &[u8]> {
        let values = name.header().map(|name| self.get_all(name));
        values.into_iter().flatten().map(HeaderValue::as_bytes)
    }
}

impl Fields for RequestHead {
    fn values_of(&self, name: FieldName) -> impl Iterator<Item = &[u8]> {
        let fields = self.parts.fields.iter().filter(move |field| field.known == name);
        fields.map(|field| &self.bytes[field.value.clone()])
    }
}
