//! What requests and responses say, whatever the route.
//!
//! - [`accept`], [`representation`], [`media`], [`prefer`], [`headers`], [`query`]: reading requests.
//! - [`conditional`]: entity tags and `If-None-Match`.
//! - [`origin`]: which pages may use the server.
//! - [`upgrade`]: whether a request is a WebSocket handshake.
//! - [`body`], [`chunk`]: a response body of shared pieces, and how HTTP/1.1 frames it.
//! - [`problem`]: errors as clients see them.

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod chunk;
pub(crate) mod composite;
pub(crate) mod conditional;
pub(crate) mod headers;
pub(crate) mod media;
pub(crate) mod origin;
pub(crate) mod prefer;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod representation;
pub(crate) mod upgrade;
