//! `GET /c/{channel}`: one log, in the form that the URL or `Accept` asks for. JSON is polled
//! ([`poll`](crate::poll)), Server-Sent Events and JSON lines stream ([`stream`](crate::stream)).

use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};
use sockeye_hub::ChannelName;

use crate::auth::{Caller, Right};
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::stream::Form;
use crate::{accept, poll, query, stream};

/// What the answer depends on beside the URL, for caches: the headers that choose the form and
/// the wait.
pub(crate) const VARY_ON: &str = "Accept, Prefer, Last-Event-ID, Cache-Control";

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

/// `GET`: the messages after `after`, now or as they come.
pub(crate) fn messages(
    app: &App,
    channel: &ChannelName,
    request: Request,
) -> Result<Response, Problem> {
    let caller = Caller::of(&request);
    caller.may(Right::Read, channel)?;
    match form(&request)? {
        Some(EVENTS) if query::has_meta(request.uri())? => {
            stream::open(app, channel, caller, &request, Form::MetaEvents)
        }
        Some(EVENTS) => stream::open(app, channel, caller, &request, Form::Events),
        Some(LINES) => stream::open(app, channel, caller, &request, Form::Lines),
        Some(_) => poll::messages(app, channel, caller, request),
        None => {
            let detail = format_args!("Accept {JSON}, {EVENTS} or {LINES}.");
            Err(Problem::new(Code::NotAcceptable, detail))
        }
    }
}

/// Whether `GET` would give Server-Sent Events.
pub(crate) fn is_for_events(request: &Request) -> bool {
    form(request).is_ok_and(|form| form == Some(EVENTS))
}

/// The form that `GET` would give, for the head that `HEAD` gives.
pub(crate) fn content_type(request: &Request) -> Result<&'static str, Problem> {
    Ok(form(request)?.unwrap_or(JSON))
}

/// What `?stream=` asks for, and without it what `Accept` does: many clients cannot set headers.
fn form(request: &Request) -> Result<Option<&'static str>, Problem> {
    match query::parameter(request.uri(), "stream")?.as_deref() {
        None => Ok(accept::preferred(request.headers(), &[JSON, EVENTS, LINES])),
        Some("sse") => Ok(Some(EVENTS)),
        Some("ndjson") => Ok(Some(LINES)),
        Some("ws") => Err(upgrade_required()),
        Some(_) => {
            let detail = "`stream` is sse, ndjson or ws.";
            Err(Problem::new(Code::BadRequest, detail))
        }
    }
}

/// `426`: a WebSocket was asked for without its handshake (RFC 9110 §15.5.22).
fn upgrade_required() -> Problem {
    let detail =
        "A WebSocket is opened by its handshake: connect to this URL with ws:// or wss://.";
    let websocket = HeaderValue::from_static("websocket");
    Problem::new(Code::UpgradeRequired, detail)
        .with_header(UPGRADE, websocket)
        .with_header(CONNECTION, HeaderValue::from_static("upgrade"))
}
