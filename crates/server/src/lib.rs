//! The channel server: channels over HTTP, where a channel is a URL.
//!
//! [`Server`] has listeners of its own; [`Channels`] is the same as an axum router, for a program that
//! already serves. Both have the same interface: `POST /c/{channel}` publishes, `GET` polls, streams or
//! opens a WebSocket, `/connect` is a WebSocket for many channels, `/` is the console.
//!
//! # Features
//!
//! On by default:
//!
//! - `console`: the console at `/`, and the browser client at `/sockeye.js`.
//! - `fjall`: channels on disk (`ServerOptions::data`).
//! - `prometheus`: `/metrics` on the address for operators.
//!
//! Not by default:
//!
//! - `traces`: spans of publications for OpenTelemetry (`ChannelOptions::tracer`).
//!
//! # Inside
//!
//! Each module imports only from those below it in this list; `cargo xtask test format` checks that.
//!
//! - [`server`]: the listeners of a [`Server`], and its start and end.
//! - [`channels`]: [`Channels`], which builds everything below from the options.
//! - [`routes`]: the table of paths, the middleware around them, and a file for each resource.
//! - [`transports`]: how messages reach a reader: polls, streams, WebSockets, `sockeye.v1`.
//! - [`conn`]: connections of HTTP/1.1 and HTTP/2, from the first byte to the last.
//! - [`app`]: what the routes share, and the one way to publish.
//! - [`fanout`]: groups of readers that are written to together.
//! - [`metrics`]: counters, gauges, the latency histogram and the register of connections.
//! - [`tap`]: what passes on a channel or a connection, for operators that look on.
//! - [`trace`]: spans of publications.
//! - [`lifecycle`]: draining, and which connections are in use.
//! - [`limits`]: connections, requests and invalid tokens for each address; rates of publishers.
//! - [`options`]: [`ServerOptions`], with the [`ChannelOptions`] in them, and their defaults.
//! - [`events`]: who comes to channels and goes, as a program of one's own is told.
//! - [`auth`]: tokens, tickets, and what their bearer may do.
//! - [`http`]: headers, queries, origins, bodies and problems, whatever the route.
//! - [`net`]: listeners, addresses, write deadlines, and what proxies say of a client.
//! - [`transport`]: the words for transports.
//! - [`json`]: pieces of JSON text.
//! - [`option_names`]: how options are named to operators and clients.
//! - [`log`]: log lines that a client can cause, at a limited rate.
//! - [`channel_rule`]: what holds for some channels only.
//! - [`rate`]: the one rate limit, of which those of requests, publishers and log lines are made.

#![forbid(unsafe_code)]
// What only these features use; a build with all of them finds what nothing uses.
#![cfg_attr(
    not(all(feature = "console", feature = "fjall", feature = "prometheus")),
    allow(dead_code)
)]

mod app;
mod auth;
mod background;
mod channel_rule;
mod channels;
mod conn;
#[cfg(test)]
mod documented;
mod events;
mod fanout;
mod http;
mod json;
mod lifecycle;
mod limits;
mod log;
mod metrics;
mod net;
mod option_names;
mod options;
mod rate;
mod routes;
mod server;
mod tap;
mod trace;
mod transport;
mod transports;

pub use crate::auth::{
    Algorithm, AnyAuthorizer, Audience, AuthKey, AuthorizeError, Authorizer, BadRight, Claims,
    Decision, Grants, Identified, KeyError, KeySet, KeySetError, NumericDate, Revocation,
    RevokeError, Right, Rights, SignError, SigningKey, TokenError,
};
pub use crate::channel_rule::ChannelRule;
pub use crate::channels::{BuildError, Channels, ChannelsBuilder};
pub use crate::events::{
    AnyEventSink, Event, EventBatch, EventError, EventId, EventKind, EventSink,
};
pub use crate::limits::client_addresses::{ClientAddress, ClientAddresses};
pub use crate::net::io::{Io, UnknownIo, UringError};
pub use crate::net::listener::{BindError, Listen, LocalAddress};
pub use crate::net::trusted_proxy::{BadCidr, Cidr, TrustedProxy};
pub use crate::option_names::OptionNames;
pub use crate::options::{ChannelOptions, ServerOptions};
pub use crate::server::Server;
#[cfg(feature = "traces")]
pub use crate::trace::PublicationTracer;
pub use crate::transport::{Transport, UnknownTransport};
#[doc(no_inline)]
pub use sockeye::{BadOrigin, DeflateConfig, Listener, OriginPattern, tls::ServerTls};
#[doc(no_inline)]
pub use sockeye_hub::backplane::{Backplane, NodeId};
#[doc(no_inline)]
pub use sockeye_hub::store::OpenError;
#[doc(no_inline)]
pub use sockeye_hub::{BadPattern, ChannelName, Hub, Pattern, Policy, PolicyRule, Publication};

/// Internal parsers, for the fuzz targets; not a public interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::conn::protocol::{Protocol, ProtocolDetector};
    pub use crate::net::forwarded::{Element, Node};
    pub use crate::net::proxy_protocol::read as read_proxy_header;
    pub use crate::transports::v1::{Command, Mistake};
}
