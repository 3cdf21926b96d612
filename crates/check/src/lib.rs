//! Is that WebSocket server, or client, correct? Every rule of RFC 6455 and RFC 7692 that can be seen
//! from outside, as cases that are tried one by one: what is sent, what is expected, what comes.
//!
//! - [`check_server`] checks a server that a [`Target`] reaches, [`check_client`] a client that connects.
//! - [`Report`] has what was found, for people ([`Report::to_text`], [`Report::to_html`]) and for
//!   programs ([`Report::to_json`], [`Report::to_junit`]). [`Baseline`] has what is known already.
//! - [`chapters`] has the cases, a file for each chapter.
//!
//! Frames and heads are made by `sockeye-wire`, compressed messages are inflated by code of this crate:
//! nothing of the libraries that may be under test.
//!
//! # The sources
//!
//! | folder or file | |
//! |---|---|
//! | `case`, `chapters` | what is sent and what has to come, case by case; a file for each chapter |
//! | `target`, `link`, `trace` | how the peer is reached; a connection to it, byte by byte, and what went over it |
//! | `head`, `request`, `http2` | the opening handshake: heads of HTTP/1.1, mistakes of a client's request, requests over HTTP/2 |
//! | `deflate` | permessage-deflate of this crate's own |
//! | `probe` | what a peer does, found out before it is judged |
//! | `judge`, `verdict` | what came, against what has to come |
//! | `run` | all cases, side by side, each fault tried twice |
//! | `report` | the findings as text, HTML, JSON and JUnit's XML; the baseline |

#![forbid(unsafe_code)]

mod case;
pub mod chapters;
mod deflate;
mod head;
mod http2;
mod judge;
mod link;
mod probe;
mod report;
mod request;
mod run;
mod target;
mod trace;
mod verdict;

pub use case::{Case, Change, CloseRule, Edit, Expect, Level, Look, Message, Need, Opening, Step};
pub use sockeye_wire::Role;

pub use link::{Duplex, Stream};
pub use probe::Abilities;
pub use report::{Baseline, Counts, Outcome, Report};
pub use run::{
    Accepted, CheckError, Connections, OnProgress, Options, Progress, check_client, check_server,
};
pub use target::{Dial, Dialing, Target};
pub use trace::Trace;
pub use verdict::Verdict;
