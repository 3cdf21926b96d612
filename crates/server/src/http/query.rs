//! The query parameters of a channel's URL.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::Request;
use http::Uri;
use sockeye_hub::{Position, Start};
use url::form_urlencoded;

use crate::http::composite::Composite;
use crate::http::headers::LAST_EVENT_ID;
use crate::http::prefer;
use crate::http::problem::{Code, Problem};

/// Messages in one poll without `limit`.
const DEFAULT_LIMIT: usize = 100;
/// Messages in one poll at most.
pub(crate) const MAX_LIMIT: usize = 1000;
/// The longest wait of a long poll, in seconds: proxies in front time out soon after.
const MAX_WAIT: u64 = 60;
/// Bytes of padding at most.
pub(crate) const MAX_PAD: usize = 64 * 1024;

/// Where reading starts. `Last-Event-ID` comes first: a browser that reconnects sends it with the URL
/// it began with. Then the names under which polyfills of `EventSource` put the same into the URL, and
/// then `after`. Empty values are ignored.
pub(crate) fn start(request: &Request) -> Result<Option<Start>, Problem> {
    if let Some(line) = request.headers().get(LAST_EVENT_ID).filter(|line| !line.is_empty()) {
        return Ok(Some(last_event_id(line.to_str().unwrap_or_default())));
    }
    for alias in ["lastEventId", "last_event_id"] {
        if let Some(text) = parameter(request.uri(), alias)?.filter(|text| !text.is_empty()) {
            return Ok(Some(last_event_id(&text)));
        }
    }
    after(request.uri())
}

/// Where reading starts after the last event that a client has seen. An id of another form comes from
/// another server behind the same URL. To refuse it would end an `EventSource` for ever, so it counts
/// as a position that is unknown here: a gap `reset`.
fn last_event_id(text: &str) -> Start {
    text.parse().unwrap_or(Start::Foreign)
}

/// The same for several channels: a composite position, or what is not a position for all of them.
pub(crate) fn starts(request: &Request, channels: usize) -> Result<Option<Vec<Start>>, Problem> {
    let foreign = || vec![Start::Foreign; channels];
    let told = |text: &str| Composite::starts(text, channels).unwrap_or_else(foreign);
    if let Some(line) = request.headers().get(LAST_EVENT_ID).filter(|line| !line.is_empty()) {
        return Ok(Some(told(line.to_str().unwrap_or_default())));
    }
    for alias in ["lastEventId", "last_event_id"] {
        if let Some(text) = parameter(request.uri(), alias)?.filter(|text| !text.is_empty()) {
            return Ok(Some(told(&text)));
        }
    }
    let after = parameter(request.uri(), "after")?.filter(|text| !text.is_empty());
    let starts = after.map(|text| Composite::starts(&text, channels).ok_or_else(no_composite));
    starts.transpose()
}

fn no_composite() -> Problem {
    Problem::new(
        Code::BadPosition,
        "`after` takes a position with an offset for each channel in the order of the URL, such as \
         k3f9.1187.42, or `earliest`, `now`, `-50` or `10m` for all.",
    )
}

/// `?after=`: where reading starts. An empty one is ignored.
pub(crate) fn after(uri: &Uri) -> Result<Option<Start>, Problem> {
    position_of(parameter(uri, "after")?.as_deref())
}

/// `after` as it was written, if it is there.
pub(crate) fn position_of(text: Option<&str>) -> Result<Option<Start>, Problem> {
    text.filter(|text| !text.is_empty()).map(position).transpose()
}

fn position(text: &str) -> Result<Start, Problem> {
    text.parse().map_err(|_| {
        Problem::new(
            Code::BadPosition,
            "`after` takes a position such as k3f9.1187, `earliest`, `now`, `-50` (the last \
             fifty) or `10m` (the last ten minutes).",
        )
    })
}

/// The number in a parameter.
pub(crate) fn number(uri: &Uri, name: &str) -> Result<Option<usize>, Problem> {
    let Some(text) = parameter(uri, name)? else { return Ok(None) };
    let number = parsed(&text);
    number.map(Some).ok_or_else(|| bad_request(format_args!("`{name}` is a number.")))
}

/// `?limit=`: messages in one response, 1 to 1000.
pub(crate) fn limit(uri: &Uri) -> Result<usize, Problem> {
    limit_of(parameter(uri, "limit")?.as_deref())
}

/// `limit` as it was written, if it is there.
pub(crate) fn limit_of(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
    parsed(text)
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| bad_request(format_args!("`limit` is a number from 1 to {MAX_LIMIT}.")))
}

/// `?wait=`, or else `Prefer: wait=`: how long to wait while there are no messages, at most a minute.
/// `None` is a poll that does not wait.
pub(crate) fn wait(request: &Request) -> Result<Option<Duration>, Problem> {
    let seconds = match parameter(request.uri(), "wait")? {
        Some(text) => Some(parsed(&text).ok_or_else(|| {
            bad_request(format_args!("`wait` is a number of seconds, at most {MAX_WAIT}."))
        })?),
        None => prefer::wait(request.headers()),
    };
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.min(MAX_WAIT))))
}

/// `?pad=`: how many bytes of padding a stream begins with, to fill the buffer of a proxy that would
/// hold back what comes after.
pub(crate) fn pad(uri: &Uri) -> Result<usize, Problem> {
    let Some(text) = parameter(uri, "pad")? else { return Ok(0) };
    parsed(&text)
        .filter(|pad| *pad <= MAX_PAD)
        .ok_or_else(|| bad_request(format_args!("`pad` is a number of bytes up to {MAX_PAD}.")))
}

/// `?meta=1`: events with the whole message rather than the payload alone.
pub(crate) fn has_meta(uri: &Uri) -> Result<bool, Problem> {
    flag(uri, "meta")
}

/// `?presence=1`: a poll that does not wait counts as present.
pub(crate) fn has_presence(uri: &Uri) -> Result<bool, Problem> {
    flag(uri, "presence")
}

/// `?close=1`: a `POST` ends the channel.
pub(crate) fn has_close(uri: &Uri) -> Result<bool, Problem> {
    flag(uri, "close")
}

/// Whether one message is asked for.
pub(crate) fn has_at(uri: &Uri) -> bool {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).any(|(key, _)| key == "at")
}

/// `?at=`: the position of one message.
pub(crate) fn at(uri: &Uri) -> Result<Position, Problem> {
    parameter(uri, "at")?.unwrap_or_default().parse().map_err(|_| {
        Problem::new(Code::BadPosition, "`at` takes the position of a message, such as k3f9.1187.")
    })
}

/// 1 or 0, and 0 if it is not there.
fn flag(uri: &Uri, name: &str) -> Result<bool, Problem> {
    match parameter(uri, name)?.as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(bad_request(format_args!("`{name}` is 1 or 0."))),
    }
}

/// The parameter's value, decoded. A parameter given twice is refused as ambiguous.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Result<Option<String>, Problem> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut values = pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(bad_request(format_args!("Give `{name}` once."))),
    }
}

/// A number in digits only; `+5`, which `parse` accepts, is not one.
fn parsed<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn bad_request(detail: impl Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
