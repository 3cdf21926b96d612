//! A request that asks a server for a WebSocket, before it is answered: what [`Server`](crate::Server) and
//! [`Upgrade`](crate::Upgrade) do with it alike.

mod error;
mod headers;
pub(crate) mod origin;
mod refuse;

use sockeye_proto::handshake::Offer;

pub use self::error::AcceptError;
pub(crate) use self::headers::Headers;
pub(crate) use self::refuse::{log_refusal, retry_later};

/// The first of a server's subprotocols that a client offers.
pub(crate) fn first_offered<'a>(
    offer: &Offer,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let mut names = names.into_iter();
    names.find(|name| offer.subprotocols().any(|offered| offered == *name)).map(str::to_owned)
}

/// The value of a header field, if it is visible ASCII, spaces and tabs.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    if value.iter().all(is_text) { str::from_utf8(value).ok() } else { None }
}
