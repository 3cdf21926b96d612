//! Headers that an application adds to the answer of a handshake.

use bytes::Bytes;
#[cfg(any(feature = "upgrade", all(feature = "http2", feature = "tls")))]
use http::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use sockeye_proto::handshake::Offer;

use super::AcceptError;
use crate::header::parse_header;

/// The headers, and what is wrong with the first of them that is invalid.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    map: HeaderMap,
    wrong: Option<String>,
}

impl Headers {
    /// Adds a header. An invalid one is an error when the answer is made.
    pub(crate) fn append<N, V>(&mut self, name: N, value: V)
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        match parse_header(name, value) {
            Ok((name, value)) => _ = self.map.append(name, value),
            Err(wrong) => _ = self.wrong.get_or_insert(wrong),
        }
    }

    /// The answer to a request, with these headers.
    #[cfg(any(feature = "upgrade", all(feature = "http2", feature = "tls")))]
    pub(crate) fn accept(
        self,
        offer: &Offer,
        subprotocol: Option<&str>,
    ) -> Result<Response<()>, AcceptError> {
        match self.wrong {
            Some(wrong) => Err(AcceptError::Header(wrong)),
            None => Ok(offer.accept(subprotocol, self.map)?),
        }
    }

    /// The same as bytes of HTTP/1.1.
    pub(crate) fn accept_encoded(
        self,
        offer: &Offer,
        subprotocol: Option<&str>,
    ) -> Result<Bytes, AcceptError> {
        match self.wrong {
            Some(wrong) => Err(AcceptError::Header(wrong)),
            None => Ok(offer.accept_encoded(subprotocol, self.map)?),
        }
    }
}
