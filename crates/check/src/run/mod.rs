//! All cases against one peer: what it does first, then the cases side by side, then what they found
//! once more.

mod client;
mod findings;
mod options;
mod server;
mod watched;

use std::fmt;

use tokio::time::{Instant, sleep_until};

pub use self::{
    client::{Accepted, Connections, check_client},
    options::Options,
    server::check_server,
};
use crate::{
    case::{Case, Need},
    link::{MOST_BYTES, MOST_FRAMES},
    probe::{Abilities, Unfit},
};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Cases that are judged.
    pub done: usize,
    /// All cases.
    pub all: usize,
}

/// Told how far a run is.
pub type OnProgress<'f> = &'f (dyn Fn(Progress) + Sync);

/// Why a peer cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckError {
    /// The server is not reached, with the reason.
    Unreachable(String),
    /// A server is reached that opens no WebSocket at this URL: what it answers to a right request, and
    /// what to do about it.
    NoWebSocket(String),
    /// The peer sends more than is read of a connection, and nothing has asked for it: its answers cannot be told
    /// from that.
    Floods(String),
    /// No client has connected, or not for long enough.
    NoClient,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::NoWebSocket(why) | Self::Floods(why) => f.write_str(why),
            Self::NoClient => f.write_str("no client has connected"),
        }
    }
}

impl std::error::Error for CheckError {}

impl From<Unfit> for CheckError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Unreachable(why) => Self::Unreachable(why),
            Unfit::NoWebSocket(why) => Self::NoWebSocket(why),
            Unfit::Floods(why) => Self::Floods(format!(
                "{why}: more than {MOST_FRAMES} frames or {} MiB that nothing has asked for; no answer can be told \
                 from that",
                MOST_BYTES >> 20
            )),
        }
    }
}

/// Why a case was not judged when the run was ended early.
const INTERRUPTED: &str = "interrupted before it was tried";
/// The same when the run has taken too long.
const OVER: &str = "the time of the check was over before it was tried";
/// The same when the client has gone.
const GONE: &str = "the client does not connect any more";

/// Runs until it is through, until `stop` is ready or until it has taken too long. Why cases are left, if it is
/// not through.
async fn bounded(
    running: impl Future<Output = ()>,
    stop: impl Future<Output = ()>,
    began: Instant,
    options: &Options,
) -> Option<&'static str> {
    tokio::select! {
        () = running => None,
        () = stop => Some(INTERRUPTED),
        () = sleep_until(began + options.max_time) => Some(OVER),
    }
}

impl Abilities {
    /// Why a case cannot be judged on this peer.
    pub(crate) fn missing(&self, case: &Case) -> Option<&'static str> {
        let lacks = case.needs.iter().find_map(|need| match need {
            Need::Echo if !self.echoes => Some("needs a peer that echoes"),
            Need::Deflate if !self.deflates => Some("needs a peer that compresses"),
            Need::Http2 if !self.has_http2 => Some("needs a peer with WebSockets over HTTP/2"),
            Need::Takeover if !self.deflates => Some("needs a peer that compresses"),
            Need::Echo | Need::Deflate | Need::Http2 | Need::Takeover => None,
        });
        lacks.or_else(|| match case.messages() {
            (true, _) if !self.takes_text => Some("needs a peer that takes any text"),
            (_, true) if !self.takes_binary => Some("needs a peer that takes any binary message"),
            _ => None,
        })
    }
}
