//! The client's half over HTTP/2 and HTTP/3: extended CONNECT (RFC 8441, RFC 9220).

use http::{
    HeaderValue, Method, Request, Response, Uri, Version,
    header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION},
    uri::Scheme,
};

use super::client::{Accepted, ClientRequest, InvalidRequest, Offered, ResponseError};

/// Asks for a WebSocket on a stream of an HTTP/2 connection, and checks the answer.
///
/// ```
/// use http::{Response, Version};
/// use sockeye_proto::handshake::{ClientRequest, ExtendedConnect};
///
/// let request = ClientRequest::new("example.org".parse()?, "/chat".parse()?);
/// let handshake = ExtendedConnect::new(request, true)?;
/// assert_eq!(handshake.request().uri(), "https://example.org/chat");
///
/// let response = Response::builder().version(Version::HTTP_2).body(())?;
/// assert!(handshake.check(response).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ExtendedConnect {
    request: Request<()>,
    offered: Offered,
}

impl ExtendedConnect {
    /// Prepares the request; `secure` if the connection is encrypted.
    ///
    /// # Errors
    ///
    /// When it would not be a valid handshake.
    pub fn new(request: ClientRequest, secure: bool) -> Result<Self, InvalidRequest> {
        request.check()?;
        let ClientRequest { host, target, subprotocols, headers, deflate, .. } = request;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(host);
        parts.path_and_query = Some(target);
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and path are there");
        *request.headers_mut() = headers;
        let fields = request.headers_mut();
        fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if !subprotocols.is_empty() {
            fields.insert(SEC_WEBSOCKET_PROTOCOL, visible(&subprotocols.join(", ")));
        }
        if let Some(deflate) = &deflate {
            let offers: Vec<_> = deflate.to_offers().iter().map(ToString::to_string).collect();
            fields.insert(SEC_WEBSOCKET_EXTENSIONS, visible(&offers.join(", ")));
        }
        Ok(Self { request, offered: Offered { subprotocols, deflate } })
    }

    /// The request, to be sent with the pseudo-header `:protocol` = `websocket`, and only to a server
    /// that has set `SETTINGS_ENABLE_CONNECT_PROTOCOL` to 1 (RFC 8441 §3).
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// Checks the response: any status 2xx opens the WebSocket (RFC 8441 §5).
    ///
    /// # Errors
    ///
    /// When the server refuses, or chooses what was not offered: reset the stream.
    pub fn check(&self, response: Response<()>) -> Result<Accepted, ResponseError> {
        if !response.status().is_success() {
            return Err(ResponseError::status(response));
        }
        self.offered.accepted(response)
    }
}

/// Tokens and what stands between them in a list.
fn visible(list: &str) -> HeaderValue {
    HeaderValue::from_str(list).expect("tokens are visible ASCII")
}
