//! The opening handshake (RFC 6455 §4), without I/O.
//!
//! A server feeds [`ServerHandshake`] until it has the request, checks it with [`Offer::from_request`]
//! and answers with [`Offer::accept`] or a [`Refusal`]. A server that already speaks HTTP begins at
//! `Offer::from_request`. A client sends [`ClientHandshake::request`] and feeds the answer to
//! [`ClientHandshake::poll_response`]. What follows the head in the input buffer is left there: it
//! belongs to the connection.
//!
//! Over HTTP/2 and HTTP/3 the server begins at [`Offer::from_extended_connect`] and the client at
//! [`ExtendedConnect`]; the frames then are the same.

#[cfg(feature = "std")]
mod client;
#[cfg(feature = "std")]
mod extended_connect;
#[cfg(feature = "std")]
mod fields;
#[cfg(feature = "std")]
mod head;
#[cfg(feature = "std")]
mod request_head;
#[cfg(feature = "std")]
mod server;

use alloc::string::String;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

#[cfg(feature = "std")]
pub(crate) use self::head::HeadReader;
#[cfg(feature = "std")]
pub use self::{
    client::{Accepted, ClientHandshake, ClientRequest, InvalidRequest, ResponseError},
    extended_connect::ExtendedConnect,
    head::{HeadLimits, MAX_INTERIM, MalformedHead, encode_response},
    request_head::RequestHead,
    server::{AnswerError, Offer, Refusal, ServerHandshake},
};
pub use crate::{
    extensions::{Extension, InvalidExtensions},
    token::is_token,
};

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
///
/// ```
/// use sockeye_proto::handshake::accept_key;
///
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(accept_digest(key))
}

/// The same before it is encoded.
fn accept_digest(key: impl AsRef<[u8]>) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    hash.finalize().into()
}
