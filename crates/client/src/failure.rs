//! Why nothing more comes, and what an answer that refuses says.

use std::{convert::Infallible, fmt, time::Duration};

#[cfg(not(target_family = "wasm"))]
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
#[cfg(not(target_family = "wasm"))]
use http::{Response, header::LOCATION};
use serde::Deserialize;

use crate::platform::ConnectError;

/// What a server says when something is wrong (RFC 9457).
#[derive(Debug, Deserialize)]
pub struct ProblemDetails {
    /// The stable word for it.
    pub code: String,
    /// What is wrong, for people.
    pub detail: String,
}

impl ProblemDetails {
    /// The problem in a body, if it is one of Sockeye's.
    pub fn in_body(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// What is wrong: what the server has answered, or why nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// The server's stable word for it, such as `forbidden`.
    pub code: Option<String>,
    /// What is wrong, for people.
    pub message: String,
    /// Whether the same request may be taken another time.
    pub retry: bool,
}

impl Problem {
    pub(crate) fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), ..Self::default() }
    }

    pub(crate) fn coded(code: String, message: &str, retry: bool) -> Self {
        let status = (code == "unauthorized").then_some(StatusCode::UNAUTHORIZED);
        Self { status, message: format!("{code}: {message}"), code: Some(code), retry }
    }

    /// Whether another token may help.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status == Some(StatusCode::UNAUTHORIZED)
    }

    /// Whether it is the server that says so: a 401 without its word for it is of something in between, which another
    /// transport may get past.
    pub(crate) fn is_of_the_server(&self) -> bool {
        self.code.is_some()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// Why nothing more comes.
#[derive(Debug)]
pub enum Failure {
    /// There is no way to the server.
    Unreachable(Box<ConnectError>),
    /// The server will not, and asking again changes nothing.
    Refused(Problem),
    /// It does not work like this, or does not any more.
    Broken {
        /// What is wrong.
        problem: Problem,
        /// How long to leave the server alone.
        retry: Duration,
        /// Whether the server has said so to end it: then it is not the transport that does not work.
        is_on_purpose: bool,
        /// The error of connecting, if it was that.
        cause: Option<Box<ConnectError>>,
    },
    /// Nothing more is wanted.
    Enough,
}

/// What a feed comes to: it goes on until something ends it.
pub type Ended = Result<Infallible, Failure>;

impl Failure {
    /// There is no way to the server.
    pub fn unreachable(error: ConnectError) -> Self {
        Self::Unreachable(Box::new(error))
    }

    /// It does not work, and may be tried again.
    pub fn broken(why: impl ToString) -> Self {
        Self::later(Problem::new(why), Duration::ZERO)
    }

    /// The server will not.
    pub fn refused(why: impl ToString) -> Self {
        Self::Refused(Problem::new(why))
    }

    /// It may be tried again after this time.
    pub fn later(problem: Problem, retry: Duration) -> Self {
        let is_on_purpose = !retry.is_zero();
        Self::Broken { problem, retry, is_on_purpose, cause: None }
    }

    /// It was cut; on any such end the server wants to be left alone for this time.
    pub fn cut(problem: Problem, retry: Duration) -> Self {
        Self::Broken { problem, retry, is_on_purpose: false, cause: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => error.fmt(out),
            Self::Refused(problem) | Self::Broken { problem, .. } => problem.fmt(out),
            Self::Enough => out.write_str("nothing more is wanted"),
        }
    }
}

/// What a server that opens no WebSocket has answered: its own words, if there are any.
#[cfg(not(target_family = "wasm"))]
pub fn refusal(response: &Response<Bytes>) -> String {
    let status = response.status();
    let body: &[u8] = response.body();
    if let Some(ProblemDetails { code, detail }) = ProblemDetails::in_body(body) {
        return format!("the server answers {status}: {code}: {detail}");
    }
    if let Some(to) = response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        let to = String::from_utf8_lossy(to.as_bytes());
        return format!("the server answers {status}, and sends to {to}");
    }
    match std::str::from_utf8(body).map(str::trim) {
        Ok(text) if (1..200).contains(&text.len()) && !text.contains(['<', '\n']) => {
            format!("the server answers {status}: {text}")
        }
        _ => format!("the server answers {status}"),
    }
}

/// Whether the status says that the request is wrong, and not the moment.
pub fn is_final(status: StatusCode) -> bool {
    let is_for_now = matches!(
        status,
        StatusCode::NOT_ACCEPTABLE | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    );
    let is_never =
        matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    is_never || status.is_redirection() || status.is_client_error() && !is_for_now
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}

/// What was answered is not what was asked for.
pub fn nonsense(error: impl fmt::Display) -> Failure {
    Failure::broken(format!("this is not a channel of sockeye's: {error}"))
}
