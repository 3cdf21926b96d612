//! The channel server: channels over HTTP, where a channel is a URL.
//!
//! [`Server`] listens by itself; [`Channels`] gives the same as an axum router, for a program
//! that already serves. Both speak what the project's interface describes: `POST /c/{channel}`
//! publishes, `GET` polls, streams or opens a WebSocket, `/connect` is a WebSocket for many
//! channels, `/` is the console.
//!
//! Inside, a request passes [`access`] (origin rules, CORS), comes by the [`router`] to
//! [`channel`], and from there to [`publish`], [`websocket`] or [`listen`], which answers by
//! [`poll`] or [`stream`]; [`message`] is what a message looks like. Whatever goes wrong is a
//! [`problem`]. Under that are the connections, of [`http1`] and [`http2`]: what takes long on the
//! former is set [`aside`].

mod accept;
mod access;
mod addresses;
mod admin;
mod aside;
mod auth;
mod beginning;
mod carry;
mod channel;
mod console;
mod crowd;
mod drain;
mod early;
mod forwarded;
mod headers;
mod http1;
mod http2;
mod impatient;
mod known;
mod limits;
mod listen;
mod listener;
mod log;
mod media;
mod message;
mod metrics;
#[cfg(test)]
mod numbers;
mod on_call;
mod opening;
mod options;
mod origin;
mod pace;
mod peer;
mod poll;
mod prefer;
mod preflight;
mod presence;
mod problem;
mod promise;
mod proxy;
mod proxy_protocol;
mod publish;
mod query;
mod router;
mod segments;
mod server;
mod stream;
mod throttle;
mod v1;
mod visit;
mod websocket;

pub use crate::addresses::ClientAddresses;
pub use crate::auth::{
    Algorithm, Audience, AuthKey, BadRight, Claims, Grants, KeyError, NumericDate, Right, Rights,
    SignError, SigningKey, TokenError,
};
pub use crate::listener::{BindError, LocalAddress};
pub use crate::options::{Listen, ServerOptions};
pub use crate::proxy::{BadCidr, Cidr, TrustedProxy};
pub use crate::router::{BuildError, Channels};
pub use crate::server::Server;
#[doc(no_inline)]
pub use sockeye::{BadOrigin, OriginPattern};
#[doc(no_inline)]
pub use sockeye_hub::{BadPattern, Pattern, Policy, PolicyRule};

/// Parts that are no interface, for the fuzz targets.
#[doc(hidden)]
pub mod internals {
    pub use crate::beginning::{Beginning, Protocol};
    pub use crate::forwarded::{Element, Node};
    pub use crate::proxy_protocol::read as read_proxy_header;
    pub use crate::v1::{Command, Mistake};
}
