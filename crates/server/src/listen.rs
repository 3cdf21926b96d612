//! `GET /c/{channel}`: one log, in the form the client prefers. JSON is polled
//! ([`poll`](crate::poll)), Server-Sent Events and JSON lines stream ([`stream`](crate::stream)).

use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use sockeye_hub::ChannelName;

use crate::auth::{Caller, Right};
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::stream::Form;
use crate::{accept, poll, query, stream};

/// What the answer depends on beside the URL, for caches: the headers that choose the form and
/// the wait.
pub(crate) const VARY_ON: &str = "Accept, Prefer, Last-Event-ID";

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
    match preferred(request.headers()) {
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
pub(crate) fn is_for_events(headers: &HeaderMap) -> bool {
    preferred(headers) == Some(EVENTS)
}

/// The form that `GET` would give, for the head that `HEAD` gives.
pub(crate) fn content_type(headers: &HeaderMap) -> &'static str {
    preferred(headers).unwrap_or(JSON)
}

fn preferred(headers: &HeaderMap) -> Option<&'static str> {
    accept::preferred(headers, &[JSON, EVENTS, LINES])
}
