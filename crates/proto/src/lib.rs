//! The WebSocket protocol ([RFC 6455]) as a state machine: bytes in, events out.
//!
//! Nothing here touches a socket, a clock or a source of randomness. The driver that moves the bytes
//! (tokio, a thread, a test) appends what was received to a buffer, asks for events, writes what is to be
//! transmitted, and passes in the time and the masking keys. So every rule can be tested without a
//! network, and every transport behaves alike.
//!
//! * [`Connection`] is an open WebSocket: its documentation is the contract in four kinds of methods.
//! * [`handshake`] opens one, on either side, as data: heads in, heads or refusals out.
//! * [`DeflateConfig`] configures compressed messages ([RFC 7692]); [`Connection::with_deflate`] uses them.
//! * The feature `json` (off by default) makes messages of serde's types: [`Message`] has `from_json`
//!   and `parse_json` then.
//! * Without the feature `std` (on by default) it needs only `alloc`. Missing are then the
//!   handshake as HTTP (the crate `http` needs std; [`handshake`] keeps `accept_key` and `Extension`),
//!   proxies, `Prepared`, and what the connections of a thread share: buffers and compressors.
//! * [`Config`] has the limits and deadlines, all with defaults that are safe in public.
//!
//! ```
//! use std::time::Duration;
//! use bytes::{Buf, BytesMut};
//! use sockeye_proto::{Config, Connection, Event, Message};
//!
//! let now = Duration::ZERO;
//! let mut server = Connection::server(Config::default(), now);
//! let mut client = Connection::client(Config::default(), Box::new(|| [7, 1, 8, 2]), now);
//!
//! client.send(Message::from("hello"))?;
//! let mut received = BytesMut::new();
//! while client.transmit().has_remaining() {
//!     let outbox = client.transmit();
//!     received.extend_from_slice(outbox.chunk());
//!     let written = outbox.chunk().len();
//!     outbox.advance(written);
//! }
//!
//! let event = server.poll_event(&mut received, now);
//! assert_eq!(event, Some(Event::Message(Message::from("hello"))));
//! # Ok::<(), sockeye_proto::Misuse>(())
//! ```
//!
//! # The sources
//!
//! | folder or file | |
//! |---|---|
//! | `handshake` | requests and responses, on both sides; extended CONNECT (RFC 8441) |
//! | `extensions`, `token` | the syntax of `Sec-WebSocket-Extensions`, and of tokens |
//! | `proxy` | the dialogues with HTTP and SOCKS5 proxies |
//! | `connection` | the state machine of an open WebSocket: receiver, send, outbox, closing, deadlines |
//! | `deflate` | permessage-deflate: negotiation, compressors and inflaters, prepared messages, budget |
//! | `frame`, `mask`, `utf8` | the header of a frame; masking; UTF-8 checked while it arrives |
//! | `message`, `text`, `close`, `closed`, `error`, `config` | the types of the API |
//!
//! `cargo xtask test format` checks which of them imports which.
//!
//! [RFC 7692]: https://www.rfc-editor.org/rfc/rfc7692
//! [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

extern crate alloc;

mod close;
mod closed;
mod config;
mod connection;
mod deflate;
mod error;
mod extensions;
mod frame;
pub mod handshake;
mod mask;
mod message;
#[cfg(feature = "std")]
pub mod proxy;
mod text;
mod token;
mod utf8;

pub use close::{CloseCode, CloseFrame, InvalidCloseCode, ReasonTooLong};
pub use closed::{CloseSignal, Closed, Peer};
pub use config::{Config, Keepalive};
pub use connection::{Connection, Event, MaskSource, Outbox, State, TransportState};
#[cfg(feature = "std")]
pub use deflate::Prepared;
pub use deflate::{
    ClientWindow, DeflateAgreement, DeflateBudget, DeflateConfig, DeflateOffer, InvalidWindowBits,
    WindowBits,
};
pub use error::{Deadline, Failure, Limit, Misuse, Violation};
pub use message::{Compression, Fragment, Message, MessageKind, Part};
pub use text::{InvalidUtf8, Text};
pub use utf8::Utf8Validator;

/// The protocol's pieces, reachable for fuzz targets and benchmarks; not part of the public API.
#[doc(hidden)]
pub mod internals {
    pub use crate::frame::{Header, Opcode, Rules};
    pub use crate::mask::apply_mask;
}
