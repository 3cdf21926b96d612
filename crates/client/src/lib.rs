//! Channels of a [Sockeye](https://docs.rs/sockeye) server from Rust: read and written over the best transport that works.
//!
//! ```toml
//! [dependencies]
//! sockeye-client = "0.1" # not on crates.io yet: { git = "<the URL of the repository>" }
//! futures-util = "0.3"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use sockeye_client::{Client, Item};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sockeye_client::Error> {
//! let client = Client::new("http://127.0.0.1:8080/")?;
//! let mut chat = client.subscribe("chat").after("-50");
//! client.publish("chat", "hello").await?;
//! while let Some(item) = chat.next().await {
//!     if let Item::Message(message) = item? {
//!         println!("{}: {:?}", message.position(), message.text());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A channel is a log, and a position in it means the same on every transport. So a client goes from a WebSocket to
//! Server-Sent Events, to long polls, to polls and back, and no message is lost or repeated; where the server has
//! not kept some, a [`Gap`] says so.
//!
//! # What it does by itself
//!
//! * It takes the first of the [transports](ClientBuilder::transports) that delivers. One that is cut within five seconds, or brings
//!   nothing, gives way to the next; better ones are tried again later, beside the one that works, and take over once
//!   they have delivered.
//! * It connects again after a random time up to 0.5 s, then up to 1 s, and so on up to 30 s; and not before the server wants
//!   it back.
//! * It carries up to 128 channels on a WebSocket. Over HTTP each channel has a request of its own (HTTP/1.1), the first 64 of
//!   them held by the server, the others in an [interval](ClientBuilder::poll_interval).
//! * It asks for a fresh [token](ClientBuilder::token_with) before one expires.
//! * It repeats a publication under the same key until it is acknowledged, six times at most.
//!
//! # What a server can make it hold
//!
//! It need not trust its server: messages, pages, heads, positions and silences are bounded, and what waits for the application
//! is, too ([`Subscription::buffer`]). What passes a bound counts as a connection that broke.
//!
//! # In WebAssembly
//!
//! It compiles for `wasm32-unknown-unknown` and runs in pages and workers, on the browser's own WebSocket and `fetch`. There is no
//! `connect_with` and no module `sockeye` there, and no error says that a server is unreachable: the browser does not tell.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `tls` | yes | `https://` and `wss://`, with rustls |
//!
//! # The sources
//!
//! Each imports only from those in lines below it, or none of its own line.
//!
//! | folder, file | |
//! |---|---|
//! | `client` | what applications use: the client, its settings, subscriptions, publications |
//! | `connection`, `name` | where each channel was read to, and the attempts to read on: which transport, when again; names of channels |
//! | `queue`, `token`, `status` | what waits for the application; tokens; what is told of connections |
//! | `feed` | one channel over one transport, without a policy |
//! | `frame`, `publication` | frames of `sockeye.v1`; what is published |
//! | `http`, `websocket`, `endpoint` | requests; the WebSocket; a URL with what they have in common |
//! | `error`, `failure`, `message`, `presence`, `position`, `transport`, `random` | the words of all of it |
//! | `platform` | time, tasks and addresses: of tokio and the system, or of a browser |

#![forbid(unsafe_code)]
#![cfg_attr(
    target_family = "wasm",
    allow(
        clippy::arc_with_non_send_sync,
        clippy::future_not_send,
        reason = "a page has one thread"
    )
)]

mod client;
mod connection;
#[cfg(test)]
mod documented;
mod endpoint;
mod error;
mod failure;
mod feed;
mod frame;
mod http;
mod message;
mod name;
mod platform;
mod position;
mod presence;
mod publication;
mod queue;
mod random;
mod status;
mod token;
mod transport;
mod websocket;

#[cfg(not(target_family = "wasm"))]
pub use sockeye;

pub use self::{
    client::{Client, ClientBuilder, Page, Publish, Subscription},
    error::Error,
    failure::Problem,
    message::{Data, End, Gap, Item, Message},
    position::{InvalidPosition, Position},
    presence::{Change, Member, Members},
    publication::{Payload, Publication},
    status::Status,
    transport::{Transport, UnknownTransport},
};

/// Parts that the program `sockeye` shares; not part of the public API.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        endpoint::Endpoint,
        failure::{Ended, Failure, ProblemDetails, is_final, nonsense},
        feed::{FeedEvent, Sink, ndjson, poll, sse},
        frame::{Bye, Done, Frame, Hello, Refusal},
        http::{Body, Http, MAX_ANSWER, Question},
        platform::{MaybeSend, MaybeSync},
        position::MAX_POSITION,
    };
    #[cfg(not(target_family = "wasm"))]
    pub use crate::{failure::refusal, feed::v1};
}
