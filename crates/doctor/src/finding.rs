//! What a check has found.

use serde_json::{Map, Value, json};

/// A check, by its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Which proxy is used.
    Proxy,
    /// The addresses of the name.
    Resolve,
    /// A connection to each address, or through the proxy.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The server's certificate and those that it sends with it.
    Certificate,
    /// Which versions of TLS the server has.
    TlsVersions,
    /// A plain request.
    Http,
    /// The server's clock beside this machine's.
    Clock,
    /// A WebSocket over HTTP/1.1.
    WebSocket,
    /// Whether the WebSocket outlives its opening.
    StaysOpen,
    /// permessage-deflate.
    Compression,
    /// A WebSocket over HTTP/2.
    Http2,
    /// What pages of an origin may do.
    Origin,
    /// `sockeye.v1`.
    V1,
    /// Server-Sent Events.
    Events,
    /// JSON lines.
    Lines,
    /// How long a WebSocket lives on which nothing is said.
    WebSocketIdle,
    /// The same for Server-Sent Events.
    EventsIdle,
    /// How long a long poll is held.
    LongPoll,
    /// Whether anything live is there at all.
    Live,
}

impl Check {
    /// Its name in reports, which does not change.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::TlsVersions => "tls-versions",
            Self::Http => "http",
            Self::Clock => "clock",
            Self::WebSocket => "websocket",
            Self::StaysOpen => "stays-open",
            Self::Compression => "compression",
            Self::Http2 => "http2",
            Self::Origin => "origin",
            Self::V1 => "v1",
            Self::Events => "sse",
            Self::Lines => "ndjson",
            Self::WebSocketIdle => "websocket-idle",
            Self::EventsIdle => "sse-idle",
            Self::LongPoll => "longpoll",
            Self::Live => "live",
        }
    }
}

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Ok,
    /// It works, and something about it will not always, or not for every client.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be tried, or is not there and need not be.
    Skip,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// What a check has found: a verdict, what was seen, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// Its verdict.
    pub verdict: Verdict,
    /// What was seen, with its figures.
    pub figure: String,
    /// What to do, if there is something.
    pub advice: Option<String>,
    /// The figures for programs.
    pub values: Map<String, Value>,
}

impl Finding {
    fn new(check: Check, verdict: Verdict, figure: impl Into<String>) -> Self {
        let figure = in_one_line(&figure.into());
        Self { check, verdict, figure, advice: None, values: Map::new() }
    }

    pub(crate) fn ok(check: Check, figure: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, figure)
    }

    pub(crate) fn warn(check: Check, figure: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, figure)
    }

    pub(crate) fn fail(check: Check, figure: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, figure)
    }

    pub(crate) fn skip(check: Check, figure: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skip, figure)
    }

    /// Adds what to do.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(in_one_line(&advice.into()));
        self
    }

    /// Adds a figure for programs.
    pub(crate) fn value(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "check": self.check.name(),
            "verdict": self.verdict.name(),
            "figure": self.figure,
            "advice": self.advice,
            "values": self.values,
        })
    }
}

/// The longest text of a finding. Peers have chosen parts of it.
const MAX_TEXT: usize = 600;

/// Text without what would begin another line.
fn in_one_line(text: &str) -> String {
    let line = text.chars().take(MAX_TEXT);
    line.map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_stays_in_its_line_and_is_not_long() {
        let long = "x".repeat(2 * MAX_TEXT);
        let finding = Finding::fail(Check::Http, format!("a\nok    http\u{1b}[2J{long}"));
        assert!(finding.figure.starts_with("a ok    http [2Jxxx"), "{}", finding.figure);
        assert_eq!(finding.figure.len(), MAX_TEXT);
    }
}
