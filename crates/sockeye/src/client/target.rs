//! The target of a client: a URL in any form, or a request.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri,
    header::{
        CONNECTION, HOST, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};

use super::{Address, AddressError};

/// The headers that the handshake sets itself.
const OWN: [HeaderName; 7] = [
    CONNECTION,
    HOST,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    UPGRADE,
];

/// What a [`Client`](crate::Client) asks for: made from a URL (`&str`, `String`, [`Uri`], [`Address`]) or
/// from a [`Request`] with headers.
///
/// Of a request the URL (which must be absolute), the headers and the offered subprotocols are used; the
/// method and the body are not. The headers of the handshake itself are replaced, so that a request made
/// for another library can be passed unchanged.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) address: Address,
    pub(crate) headers: HeaderMap,
    pub(crate) subprotocols: Vec<String>,
}

impl TryFrom<&str> for Target {
    type Error = AddressError;

    fn try_from(url: &str) -> Result<Self, AddressError> {
        Self::try_from(url.parse::<Address>()?)
    }
}

impl TryFrom<Address> for Target {
    type Error = AddressError;

    /// Never an error.
    fn try_from(address: Address) -> Result<Self, AddressError> {
        Ok(Self { address, headers: HeaderMap::new(), subprotocols: Vec::new() })
    }
}

impl<B> TryFrom<Request<B>> for Target {
    type Error = AddressError;

    fn try_from(request: Request<B>) -> Result<Self, AddressError> {
        let (mut head, _) = request.into_parts();
        let mut target = Self::try_from(&head.uri)?;
        let lists = head.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
        target.subprotocols = names.map(|name| name.trim().to_owned()).collect();
        for own in OWN {
            head.headers.remove(own);
        }
        target.headers = head.headers;
        Ok(target)
    }
}

/// The other types are parsed from their text.
macro_rules! try_from_text {
    ($($type:ty: $text:expr),*) => {$(
        impl TryFrom<$type> for Target {
            type Error = AddressError;

            fn try_from(url: $type) -> Result<Self, AddressError> {
                let text: fn(&$type) -> String = $text;
                Self::try_from(text(&url).as_str())
            }
        }
    )*};
}

try_from_text! {
    String: |url| url.clone(),
    &String: |url| (*url).clone(),
    Uri: Uri::to_string,
    &Uri: |url| url.to_string()
}

/// The value of `Authorization` for a bearer token (RFC 6750 §2.1).
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, http::Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}
