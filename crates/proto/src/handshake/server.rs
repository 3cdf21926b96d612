//! The server's half: read the request, check it, accept or refuse.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
        UPGRADE,
    },
    uri::Authority,
};

use super::{
    Extension, accept_digest, encode_response,
    fields::{list, list_has, single, text},
    head::{HeadLimits, HeadReader, MalformedHead, encode_field, encode_fields},
    is_token,
    request_head::{FieldName, Fields, RequestHead},
};
use crate::deflate::{DeflateAgreement, DeflateConfig};

/// Reads the request that opens a WebSocket.
#[derive(Debug, Default)]
pub struct ServerHandshake {
    reader: HeadReader,
}

impl ServerHandshake {
    /// Begins to read a request's head.
    pub fn new(limits: HeadLimits) -> Self {
        Self { reader: HeadReader::new(limits) }
    }

    /// The request, once its head is complete; it is not checked yet, apart from being HTTP/1.
    ///
    /// Call it again after appending more bytes. A refusal is final: send it, close the transport.
    pub fn poll_request(&mut self, input: &mut BytesMut) -> Result<Option<Request<()>>, Refusal> {
        Ok(self.poll_head(input)?.as_ref().map(RequestHead::to_request))
    }

    /// The same without a map of its fields, which takes less time: for [`Offer::from_head`].
    pub fn poll_head(&mut self, input: &mut BytesMut) -> Result<Option<RequestHead>, Refusal> {
        Ok(self.reader.poll_request(input)?)
    }
}

/// What a client offers: a request that was checked and may be accepted.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The `Sec-WebSocket-Accept` of the answer, not encoded yet; `None` for extended CONNECT without a
    /// key.
    accept: Option<[u8; 20]>,
    /// Whether the answer is 101: it is 200 to extended CONNECT.
    switches_protocols: bool,
    subprotocols: Vec<String>,
    extensions: Vec<Extension>,
    /// The answer to one of the extensions.
    deflate: Option<String>,
}

impl Offer {
    /// Checks a request (RFC 6455 §4.2.1). The first defect decides the answer.
    pub fn from_request<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let has_path = request.uri().path().starts_with('/');
        check_request_line(request.method(), request.version(), has_path)?;
        Self::from_fields(request.headers())
    }

    /// The same for a request of which only the head was read.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use sockeye_proto::handshake::{Offer, ServerHandshake};
    ///
    /// let mut input = BytesMut::from(
    ///     "GET /chat HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    ///      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    /// );
    /// let head = ServerHandshake::default().poll_head(&mut input).unwrap().unwrap();
    /// assert_eq!(head.path(), "/chat");
    /// let offer = Offer::from_head(&head).unwrap();
    /// let answer = offer.accept_encoded(None, Default::default()).unwrap();
    /// assert!(answer.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    /// ```
    pub fn from_head(head: &RequestHead) -> Result<Self, Refusal> {
        check_request_line(head.method(), head.version(), head.has_path())?;
        Self::from_fields(head)
    }

    fn from_fields(fields: &impl Fields) -> Result<Self, Refusal> {
        check_host(fields)?;
        check_upgrade(fields)?;
        check_no_body(fields)?;
        let key = single(fields.values_of(FieldName::SecWebSocketKey)).ok().flatten();
        let key = key.filter(|key| is_key(key));
        let Some(key) = key else {
            return Err(bad_request("Sec-WebSocket-Key must be one key: 16 bytes in base64"));
        };
        check_version(fields)?;
        Ok(Self {
            accept: Some(accept_digest(key)),
            switches_protocols: true,
            extensions: parse_extensions(fields)?,
            subprotocols: parse_subprotocols(fields)?,
            deflate: None,
        })
    }

    /// Checks a request of HTTP/2 or HTTP/3: an extended CONNECT (RFC 8441 §5, RFC 9220), whose
    /// `:protocol` is `protocol`. It has no `Upgrade` and needs no key, and is accepted with 200. Where
    /// it has a key (a proxy passes on that of HTTP/1.1), the answer has a `Sec-WebSocket-Accept`.
    ///
    /// ```
    /// use http::{Request, Version};
    /// use sockeye_proto::handshake::Offer;
    ///
    /// let request = Request::connect("https://example.org/chat")
    ///     .version(Version::HTTP_2)
    ///     .header("sec-websocket-version", "13")
    ///     .body(())?;
    /// let offer = Offer::from_extended_connect(&request, "websocket").unwrap();
    /// assert_eq!(offer.accept(None, Default::default()).unwrap().status(), 200);
    /// # Ok::<(), http::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The answer to give instead: 501 for another protocol, 405 for another method, 400 for what is
    /// malformed.
    pub fn from_extended_connect<B>(request: &Request<B>, protocol: &str) -> Result<Self, Refusal> {
        Self::check_extended_connect(request, protocol).map_err(Refusal::without_upgrade)
    }

    fn check_extended_connect<B>(request: &Request<B>, protocol: &str) -> Result<Self, Refusal> {
        if request.method() != Method::CONNECT {
            return Err(connect_required());
        }
        if protocol != "websocket" {
            let text = "the only :protocol spoken here is websocket";
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
        }
        if !request.uri().path().starts_with('/') {
            return Err(bad_request(":path must be a path"));
        }
        let headers = request.headers();
        if headers.contains_key(CONNECTION) || headers.contains_key(UPGRADE) {
            return Err(bad_request("Connection and Upgrade have no place in HTTP/2 and HTTP/3"));
        }
        check_no_body(headers)?;
        check_version(headers)?;
        let extensions = parse_extensions(headers)?;
        // The key is not processed (RFC 8441 §5): one that is malformed is not there.
        let key = single(headers.values_of(FieldName::SecWebSocketKey)).ok().flatten();
        let key = key.filter(|key| is_key(key));
        Ok(Self {
            accept: key.map(accept_digest),
            switches_protocols: false,
            subprotocols: parse_subprotocols(headers)?,
            extensions,
            deflate: None,
        })
    }

    /// The subprotocols offered, the preferred one first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(String::as_str)
    }

    /// The extensions offered, the preferred one first.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// Agrees to permessage-deflate, if the client offers it in a way that fits `config`: to the first
    /// such offer (RFC 7692 §5). [`accept`](Self::accept) will then say so, and the agreement is for
    /// [`Connection::with_deflate`](crate::Connection::with_deflate). Without an offer that fits there
    /// is no compression; that is not an error.
    pub fn agree_deflate(&mut self, config: &DeflateConfig) -> Option<DeflateAgreement> {
        let agreement = DeflateAgreement::accept(&self.extensions, config);
        self.deflate = agreement.as_ref().map(ToString::to_string);
        agreement
    }

    /// The answer that opens the WebSocket, with the subprotocol chosen and additional headers.
    ///
    /// # Errors
    ///
    /// If the subprotocol was not offered, or a header is one that the handshake itself sets.
    pub fn accept(
        &self,
        subprotocol: Option<&str>,
        headers: HeaderMap,
    ) -> Result<Response<()>, AnswerError> {
        self.check_answer(subprotocol, &headers)?;
        let mut response = Response::new(());
        *response.headers_mut() = headers;
        if self.switches_protocols {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let fields = response.headers_mut();
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        let fields = response.headers_mut();
        if let Some(accept) = &self.accept {
            let accept = HeaderValue::try_from(STANDARD.encode(accept));
            fields.insert(SEC_WEBSOCKET_ACCEPT, accept.map_err(|_| AnswerError::NotOffered)?);
        }
        if let Some(chosen) = subprotocol {
            let value = HeaderValue::from_str(chosen);
            fields.insert(SEC_WEBSOCKET_PROTOCOL, value.map_err(|_| AnswerError::NotOffered)?);
        }
        if let Some(deflate) = &self.deflate {
            let value = HeaderValue::from_str(deflate);
            fields.insert(SEC_WEBSOCKET_EXTENSIONS, value.map_err(|_| AnswerError::NotOffered)?);
        }
        Ok(response)
    }

    /// The same as bytes of HTTP/1.1, without a map: what [`encode_response`] makes of it.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    pub fn accept_encoded(
        &self,
        subprotocol: Option<&str>,
        headers: HeaderMap,
    ) -> Result<Bytes, AnswerError> {
        if !self.switches_protocols {
            return Ok(encode_response(&self.accept(subprotocol, headers)?.map(|()| "")));
        }
        self.check_answer(subprotocol, &headers)?;
        let mut out = BytesMut::with_capacity(256);
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        encode_fields(&headers, &mut out);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        if let Some(accept) = &self.accept {
            let mut encoded = [0; 28];
            let length = STANDARD.encode_slice(accept, &mut encoded);
            let length = length.expect("20 bytes are 28 in base64");
            encode_field("Sec-WebSocket-Accept", &encoded[..length], &mut out);
        }
        if let Some(chosen) = subprotocol {
            encode_field("Sec-WebSocket-Protocol", chosen.as_bytes(), &mut out);
        }
        if let Some(deflate) = &self.deflate {
            encode_field("Sec-WebSocket-Extensions", deflate.as_bytes(), &mut out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(out.freeze())
    }

    fn check_answer(
        &self,
        subprotocol: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), AnswerError> {
        if let Some(name) = headers.keys().find(|name| is_reserved(name)) {
            return Err(AnswerError::ReservedHeader(name.clone()));
        }
        match subprotocol {
            Some(chosen) if !self.subprotocols().any(|offered| offered == chosen) => {
                Err(AnswerError::NotOffered)
            }
            _ => Ok(()),
        }
    }
}

/// The answer that the application asked for would not be a valid handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The subprotocol is not one of those that the client offered.
    #[error("the subprotocol was not offered by the client")]
    NotOffered,
    /// The handshake sets this header itself.
    #[error("the header {0} is set by the handshake itself")]
    ReservedHeader(HeaderName),
}

fn check_request_line(method: &Method, version: Version, has_path: bool) -> Result<(), Refusal> {
    if matches!(version, Version::HTTP_2 | Version::HTTP_3) {
        return Err(match *method {
            Method::CONNECT => Refusal::new(StatusCode::NOT_IMPLEMENTED, "this is not a proxy"),
            _ => connect_required(),
        }
        .without_upgrade());
    }
    if version != Version::HTTP_11 {
        let text = "a WebSocket is opened with HTTP of version 1.1";
        return Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, text));
    }
    if method != Method::GET {
        let text = "a WebSocket is opened with GET";
        let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text)
            .header(ALLOW, HeaderValue::from_static("GET"));
        refusal.to_head = method == Method::HEAD;
        return Err(refusal);
    }
    if !has_path {
        return Err(bad_request("the target must be a path or an absolute URI"));
    }
    Ok(())
}

fn check_host(fields: &impl Fields) -> Result<(), Refusal> {
    let host = single(fields.values_of(FieldName::Host)).ok().flatten().unwrap_or_default();
    if is_plain_host(host) {
        return Ok(());
    }
    let host = text(host).unwrap_or_default();
    if host.contains('@') || host.parse::<Authority>().is_err() {
        return Err(bad_request("there must be one Host header with a host"));
    }
    Ok(())
}

/// Whether it is a host as most are, without a port, for which no parser has to be asked.
fn is_plain_host(host: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty() && host.iter().all(is_plain)
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    STANDARD.decode_slice(key, &mut [0; 18]) == Ok(16)
}

fn check_upgrade(fields: &impl Fields) -> Result<(), Refusal> {
    if !list_has(fields.values_of(FieldName::Upgrade), "websocket") {
        return Err(upgrade_required("this address speaks WebSocket: send Upgrade: websocket"));
    }
    if !list_has(fields.values_of(FieldName::Connection), "upgrade") {
        return Err(bad_request("the Connection header must have Upgrade"));
    }
    Ok(())
}

/// A body behind an upgrade would be taken for frames by one side and not by the other.
fn check_no_body(fields: &impl Fields) -> Result<(), Refusal> {
    let length = single(fields.values_of(FieldName::ContentLength));
    if fields.has(FieldName::TransferEncoding) || !matches!(length, Ok(None | Some(b"0"))) {
        return Err(bad_request("a request that opens a WebSocket has no body"));
    }
    Ok(())
}

fn check_version(fields: &impl Fields) -> Result<(), Refusal> {
    match single(fields.values_of(FieldName::SecWebSocketVersion)) {
        Ok(Some(b"13")) => Ok(()),
        Ok(Some(other)) if text(other).is_ok() => {
            Err(upgrade_required("the WebSocket version must be 13"))
        }
        Ok(_) | Err(_) => Err(bad_request("there must be one Sec-WebSocket-Version header, 13")
            .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))),
    }
}

fn parse_extensions(fields: &impl Fields) -> Result<Vec<Extension>, Refusal> {
    Extension::parse_list(fields.values_of(FieldName::SecWebSocketExtensions))
        .map_err(|_| bad_request("Sec-WebSocket-Extensions is not a list of extensions"))
}

fn parse_subprotocols(fields: &impl Fields) -> Result<Vec<String>, Refusal> {
    let mut subprotocols: Vec<String> = Vec::new();
    for subprotocol in list(fields.values_of(FieldName::SecWebSocketProtocol)) {
        match subprotocol.and_then(text) {
            Ok(name) if is_token(name) && !subprotocols.iter().any(|known| known == name) => {
                subprotocols.push(name.to_owned());
            }
            _ => return Err(bad_request("Sec-WebSocket-Protocol must be a list of unique tokens")),
        }
    }
    Ok(subprotocols)
}

fn is_reserved(name: &HeaderName) -> bool {
    [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL]
        .contains(name)
        || [CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

/// An HTTP answer instead of a WebSocket. Once it is sent the transport is to be closed, as it says
/// in `Connection: close`: what follows the request must not be taken for another one.
#[derive(Debug, Clone)]
pub struct Refusal {
    response: Box<Response<String>>,
    /// Whether the request was a HEAD: what it says is then not sent (RFC 9110 §9.3.2).
    to_head: bool,
}

impl Refusal {
    /// An answer with a line of plain text. A status that is not an error (not 3xx, 4xx or 5xx) becomes
    /// 500: it would look as if the WebSocket had been opened.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let refuses =
            status.is_redirection() || status.is_client_error() || status.is_server_error();
        let status = if refuses { status } else { StatusCode::INTERNAL_SERVER_ERROR };
        let text = text.into() + "\n";
        let mut response = Response::new(text);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self { response: Box::new(response), to_head: false }
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// For HTTP/2 and HTTP/3, whose streams end by themselves and have no upgrade (RFC 9113 §8.2.2).
    fn without_upgrade(mut self) -> Self {
        let headers = self.response.headers_mut();
        headers.remove(CONNECTION);
        if headers.remove(UPGRADE).is_some() {
            *self.response.status_mut() = StatusCode::BAD_REQUEST;
        }
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The header fields, apart from `Content-Length`.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// What it says.
    pub fn text(&self) -> &str {
        self.response.body().trim_end()
    }

    /// The answer as bytes of HTTP/1.1.
    pub fn encode(&self) -> Bytes {
        let mut response = (*self.response).clone();
        let length = response.body().len();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        if self.to_head {
            response.body_mut().clear();
        }
        encode_response(&response)
    }
}

impl From<Refusal> for Response<String> {
    fn from(refusal: Refusal) -> Self {
        *refusal.response
    }
}

impl From<MalformedHead> for Refusal {
    fn from(error: MalformedHead) -> Self {
        let status = match error {
            MalformedHead::Fields(_) | MalformedHead::Size(_) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            MalformedHead::Line(_) => StatusCode::URI_TOO_LONG,
            MalformedHead::Syntax(_) | MalformedHead::Tls => StatusCode::BAD_REQUEST,
            MalformedHead::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        };
        Self::new(status, format!("bad request: {error}"))
    }
}

fn bad_request(text: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, text)
}

fn connect_required() -> Refusal {
    let text = "over HTTP/2 and HTTP/3 a WebSocket is opened with an extended CONNECT (RFC 8441)";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text)
        .header(ALLOW, HeaderValue::from_static("CONNECT"))
}

/// RFC 9110 §15.5.22: a 426 names what to upgrade to, and the `Upgrade` has to be a connection
/// option.
fn upgrade_required(text: &str) -> Refusal {
    Refusal::new(StatusCode::UPGRADE_REQUIRED, text)
        .header(CONNECTION, HeaderValue::from_static("Upgrade, close"))
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_needs_no_parser_is_one_for_the_parser() {
        for character in '\0'..='\u{ff}' {
            for host in
                [format!("{character}"), format!("a{character}"), format!("{character}.b-1")]
            {
                assert!(
                    !is_plain_host(host.as_bytes()) || host.parse::<Authority>().is_ok(),
                    "{host:?}"
                );
            }
        }
        assert!(
            is_plain_host(b"www.example-1.org") && !is_plain_host(b"") && !is_plain_host(b"a:1")
        );
    }
}
