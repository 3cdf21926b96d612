//! The client's half: write the request, check the response.

use core::fmt::{self, Write as _};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, Response, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
        UPGRADE,
    },
    uri::{Authority, PathAndQuery},
};

use super::{
    Extension, accept_key,
    fields::{list_has, single, text, values},
    head::{HeadLimits, HeadReader, MalformedHead, encode_fields},
    is_token,
};
use crate::deflate::{DeflateAgreement, DeflateConfig};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    /// The server's host, with the port if it is not the scheme's default: the `Host` header.
    pub host: Authority,
    /// The path and query.
    pub target: PathAndQuery,
    /// The subprotocols to offer, the preferred one first.
    pub subprotocols: Vec<String>,
    /// Additional headers, such as `Origin`, `Authorization` or `Cookie`.
    pub headers: HeaderMap,
    /// How large the response's head may be.
    pub limits: HeadLimits,
    /// Whether to offer permessage-deflate, and how. Default not.
    pub deflate: Option<DeflateConfig>,
}

impl ClientRequest {
    /// A request without subprotocols and further headers.
    pub fn new(host: Authority, target: PathAndQuery) -> Self {
        Self {
            host,
            target,
            subprotocols: Vec::new(),
            headers: HeaderMap::new(),
            limits: HeadLimits::default(),
            deflate: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidRequest> {
        if let Some(name) = self.headers.keys().find(|name| is_reserved(name)) {
            return Err(InvalidRequest::ReservedHeader(name.clone()));
        }
        if self.host.as_str().contains('@') {
            return Err(InvalidRequest::Credentials);
        }
        for (i, subprotocol) in self.subprotocols.iter().enumerate() {
            if !is_token(subprotocol) {
                return Err(InvalidRequest::Subprotocol(subprotocol.clone()));
            }
            if self.subprotocols[..i].contains(subprotocol) {
                return Err(InvalidRequest::RepeatedSubprotocol(subprotocol.clone()));
            }
        }
        Ok(())
    }

    fn encode(&self, key: &str) -> Bytes {
        let mut out = BytesMut::with_capacity(512);
        out.put_slice(b"GET ");
        // Not `as_str`, which has no slash before a query without a path.
        out.put_slice(self.target.to_string().as_bytes());
        out.put_slice(b" HTTP/1.1\r\nHost: ");
        out.put_slice(self.host.as_str().as_bytes());
        out.put_slice(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
        out.put_slice(key.as_bytes());
        out.put_slice(b"\r\nSec-WebSocket-Version: 13\r\n");
        if !self.subprotocols.is_empty() {
            out.put_slice(b"Sec-WebSocket-Protocol: ");
            out.put_slice(self.subprotocols.join(", ").as_bytes());
            out.put_slice(b"\r\n");
        }
        if let Some(deflate) = &self.deflate {
            let offers: Vec<_> = deflate.to_offers().iter().map(ToString::to_string).collect();
            out.put_slice(b"Sec-WebSocket-Extensions: ");
            out.put_slice(offers.join(", ").as_bytes());
            out.put_slice(b"\r\n");
        }
        encode_fields(&self.headers, &mut out);
        out.put_slice(b"\r\n");
        out.freeze()
    }
}

fn is_reserved(name: &HeaderName) -> bool {
    [HOST, UPGRADE, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
        || [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_ACCEPT].contains(name)
        || [SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_EXTENSIONS].contains(name)
}

/// The application asked for a request that would not be a valid handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// A host with a name or password before it, which have no place in `Host` (RFC 9110 §7.2).
    #[error("the host has credentials: send them as a header of their own")]
    Credentials,
    /// A subprotocol that is offered twice (RFC 6455 §4.1).
    #[error("the subprotocol {0:?} is offered twice")]
    RepeatedSubprotocol(String),
    /// The handshake sets this header itself.
    #[error("the header {0} is set by the handshake itself")]
    ReservedHeader(HeaderName),
    /// A subprotocol that is not a token (RFC 6455 §4.1).
    #[error("the subprotocol {0:?} is not a token: it needs visible ASCII without separators")]
    Subprotocol(String),
}

/// Opens a WebSocket from the client's side.
#[derive(Debug)]
pub struct ClientHandshake {
    request: Bytes,
    accept: String,
    offered: Offered,
    reader: HeadReader,
}

/// The server agreed: the WebSocket is open.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The response as it came.
    pub response: Response<()>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// The compression agreed on, for [`Connection::with_deflate`](crate::Connection::with_deflate).
    pub deflate: Option<DeflateAgreement>,
}

impl ClientHandshake {
    /// Prepares the request. The nonce must be random and fresh (RFC 6455 §4.1).
    pub fn new(request: ClientRequest, nonce: [u8; 16]) -> Result<Self, InvalidRequest> {
        request.check()?;
        let key = STANDARD.encode(nonce);
        Ok(Self {
            request: request.encode(&key),
            accept: accept_key(&key),
            reader: HeadReader::new(request.limits),
            offered: Offered { subprotocols: request.subprotocols, deflate: request.deflate },
        })
    }

    /// The request, to be sent as it is. Nothing may follow it before the response (RFC 6455 §4.1).
    pub fn request(&self) -> &Bytes {
        &self.request
    }

    /// Checks the response, once its head is complete (RFC 6455 §4.1, RFC 6455 §4.2.2). Interim
    /// responses before it, such as 100 and 103, are skipped: 16 at most (RFC 9110 §15.2).
    ///
    /// Call it again after appending more bytes. An error is final: close the transport.
    pub fn poll_response(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<Accepted>, ResponseError> {
        let Some(response) = self.reader.poll_final_response(input)? else { return Ok(None) };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ResponseError::status(response));
        }
        if response.version() != Version::HTTP_11 {
            return Err(MalformedHead::Version.into());
        }
        let headers = response.headers();
        let upgrade = single(values(headers, &UPGRADE)).ok().flatten().unwrap_or_default();
        if !upgrade.eq_ignore_ascii_case(b"websocket") {
            return Err(ResponseError::Upgrade);
        }
        if !list_has(values(headers, &CONNECTION), "upgrade") {
            return Err(ResponseError::Connection);
        }
        if single(values(headers, &SEC_WEBSOCKET_ACCEPT)) != Ok(Some(self.accept.as_bytes())) {
            return Err(ResponseError::Accept);
        }
        self.offered.accepted(response).map(Some)
    }
}

/// What the client offered, and the server may choose of.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    pub(super) subprotocols: Vec<String>,
    pub(super) deflate: Option<DeflateConfig>,
}

impl Offered {
    /// Checks what a response that opens the WebSocket has chosen.
    pub(super) fn accepted(&self, response: Response<()>) -> Result<Accepted, ResponseError> {
        let deflate = self.check_extensions(response.headers())?;
        let subprotocol = self.check_subprotocol(response.headers())?;
        Ok(Accepted { response, subprotocol, deflate })
    }

    fn check_extensions(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<DeflateAgreement>, ResponseError> {
        let extensions = Extension::of_headers(headers).map_err(|_| {
            ResponseError::Extension("something that is not an extension".to_owned())
        })?;
        let mut agreed = None;
        for extension in extensions {
            // Two would share RSV1 (RFC 7692 §5): there can be one at most.
            let config = self.deflate.as_ref().filter(|_| agreed.is_none());
            agreed = config.and_then(|config| DeflateAgreement::check(&extension, config));
            if agreed.is_none() {
                return Err(ResponseError::Extension(match config {
                    Some(_) => extension.to_string(),
                    None => extension.name,
                }));
            }
        }
        Ok(agreed)
    }

    fn check_subprotocol(&self, headers: &HeaderMap) -> Result<Option<String>, ResponseError> {
        let chosen = single(values(headers, &SEC_WEBSOCKET_PROTOCOL));
        let Ok(chosen) = chosen.and_then(|chosen| chosen.map(text).transpose()) else {
            return Err(ResponseError::Subprotocol("several".to_owned()));
        };
        match chosen {
            Some(name) if !self.subprotocols.iter().any(|offered| offered == name) => {
                Err(ResponseError::Subprotocol(name.to_owned()))
            }
            _ => Ok(chosen.map(str::to_owned)),
        }
    }
}

/// The response does not open a WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// `Sec-WebSocket-Accept` is missing or does not match the key: not a WebSocket server, or a cache.
    #[error("its Sec-WebSocket-Accept does not match the key")]
    Accept,
    /// `Connection` has no `Upgrade`.
    #[error("its Connection header has no Upgrade")]
    Connection,
    /// An extension that was not offered, or not with these parameters, or an invalid list.
    #[error("it agrees to {0:?}, which was not offered")]
    Extension(String),
    /// Not HTTP, or too long.
    #[error(transparent)]
    Head(#[from] MalformedHead),
    /// Another status than 101, or over HTTP/2 than 2xx. The response's body follows in the input; a caller that
    /// reads the beginning of it puts it here, to be shown.
    #[error(
        "its status is {}, not {}{}",
        .0.status(), expected_status(.0.version()), Shown(.0.body())
    )]
    Status(Box<Response<Bytes>>),
    /// A subprotocol that was not offered, or several.
    #[error("it chooses {0:?} as subprotocol, which was not offered")]
    Subprotocol(String),
    /// `Upgrade` is not `websocket`.
    #[error("its Upgrade header is not websocket")]
    Upgrade,
}

impl ResponseError {
    pub(super) fn status(response: Response<()>) -> Self {
        Self::Status(Box::new(response.map(|()| Bytes::new())))
    }
}

/// A body as a part of an error: text, without what a terminal would obey.
struct Shown<'a>(&'a Bytes);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        f.write_str(": ")?;
        for character in text.chars() {
            match character {
                '\n' | '\t' => f.write_char(character)?,
                '\r' => {}
                _ if character.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

fn expected_status(version: Version) -> u16 {
    if version == Version::HTTP_2 { 200 } else { 101 }
}
