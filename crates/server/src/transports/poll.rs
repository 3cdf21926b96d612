//! Polling and long polling: `GET /c/{channel}` as JSON; `HEAD` for the position alone.
//!
//! A poll is answered at once. A long poll (RFC 7240 `Prefer: wait`, RFC 6202) waits while there are no
//! messages; all it holds meanwhile is a cursor. Both responses are complete, with their length, so
//! they pass through proxies that buffer.

use std::convert::Infallible;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use sockeye_hub::{Budget, ChannelName, Hub, Loaded, Page, Position, Reader, Start};
use tokio::time::sleep;

use crate::app::App;
use crate::auth::Caller;
use crate::conn::answer::Answer;
use crate::conn::http2::StreamBudget;
use crate::http::body::Segments;
use crate::http::conditional::{Known, etag, position_headers};
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::representation::{Representation, VARY_ON};
use crate::limits::peer::Peer;
use crate::metrics::End;
use crate::transport::Transport;
use crate::transports::encode;
use crate::transports::presence;
use crate::transports::unread::counted;

/// The most bytes of messages in one response, however many are asked for, unless one message alone is
/// longer. A client that does not read its response keeps that much in memory.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// `GET`: the messages after `after`, oldest first, and the position to continue after.
pub(crate) fn messages(
    app: &App,
    channel: &ChannelName,
    caller: Caller,
    request: Request,
    loaded: Option<Loaded>,
) -> Result<Answer, Problem> {
    let limit = query::limit(request.uri())?;
    let budget = Budget::entries(limit).bytes(MAX_BYTES);
    let start = query::start(&request)?;
    let known = Known::by(request.headers());
    let wait = query::wait(&request)?;
    // Reading history does not make a client present.
    if wait.is_some() || query::has_presence(request.uri())? {
        presence::stay(app, channel, &request, wait.unwrap_or_default());
    }
    let stream_budget = StreamBudget::of(&request);
    let Some(wait) = wait else {
        return Ok(now(app, channel, (start, limit), known, (stream_budget, loaded)));
    };
    let peer = app.limits.stay(Peer::of(&request), &caller)?;
    // The request refers to what the connection has read; a waiting long poll does not keep that.
    drop(request);
    let start = start.or_else(|| known.position().map(Start::After)).unwrap_or(Start::Now);
    let (hub, channel) = (app.hub.clone(), channel.clone());
    let mut reader = hub.subscribe(&channel, start);
    let record = app.register.begin(Transport::LongPoll, caller.id(), peer);
    let channel_read = record.reads(&reader, start);
    let (guard, disconnected) = (app.drain.guard(), record.disconnected());
    Ok(Answer::defer(async move |left| {
        let mut response = tokio::select! {
            biased;
            ended = caller.ends(slice::from_ref(&channel)) => {
                record.ends(End::Expired);
                return ended.problem().into_response();
            }
            () = disconnected => {
                record.ends(End::Disconnected);
                close(nothing(&reader, &hub, &known))
            }
            (page, response) = stream_budget.next_page(
                &mut reader,
                budget,
                |page| answer(page, &known, |other| hub.is_same_place(&channel, page.at, other)),
                |_, response| length(response),
            ) => {
                channel_read.delivered(&page, length(&response));
                response
            }
            () = guard.close_at() => {
                record.ends(End::Drain);
                come_back(nothing(&reader, &hub, &known), guard.retry())
            }
            () = sleep(wait) => nothing(&reader, &hub, &known),
            () = left.told() => nothing(&reader, &hub, &known),
        };
        prefer_applied(&mut response, wait);
        counted(response, record.metrics())
    }))
}

/// The response that does not wait for messages: at once, or when the other streams of the connection leave
/// room for it.
fn now(
    app: &App,
    channel: &ChannelName,
    (start, limit): (Option<Start>, usize),
    known: Known,
    (stream_budget, loaded): (StreamBudget, Option<Loaded>),
) -> Answer {
    let budget = Budget::entries(limit).bytes(MAX_BYTES);
    let (hub, metrics, channel) = (app.hub.clone(), Arc::clone(&app.metrics), channel.clone());
    let read = move || {
        // Until it has been read, the hub does not let go of it.
        let _loaded = &loaded;
        let page = match start {
            Some(start) => hub.read_within(&channel, start, budget),
            None => hub.read_newest(&channel, budget),
        };
        let start = start.unwrap_or(Start::Last(limit as u64));
        let response = answer(&page, &known, |other| hub.is_same_place(&channel, page.at, other));
        metrics.polled(start, &page, length(&response));
        counted(response, &metrics)
    };
    match stream_budget.is_limited() {
        true => Answer::defer(async move |_| stream_budget.make(read, length).await),
        false => read().into(),
    }
}

/// `HEAD`: the position to subscribe after, as `ETag`.
pub(crate) fn position(
    app: &App,
    channel: &ChannelName,
    request: &Request,
) -> Result<Answer, Problem> {
    let at = app.hub.position(channel);
    let form = Representation::of(request)?.unwrap_or(Representation::Json).media_type().to_owned();
    let known = Known::by(request.headers());
    let is_same = |other| app.hub.is_same_place(channel, at, other);
    if known.includes(&etag(at)) || known.position().is_some_and(is_same) {
        return Ok(not_modified(at).into());
    }
    // A body of no known length: `Content-Length` would have to be that of `GET` (RFC 9110 §8.6).
    let body = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    let headers = [(CONTENT_TYPE, form), (VARY, VARY_ON.to_owned())];
    Ok((position_headers(at), headers, body).into())
}

/// The page, unless the client has it already. A gap is told each time: a client that has not seen it
/// does not know what it has missed. So is the end of the channel.
///
/// Another position is as good as the page's if nothing lies between them, as `is_same` says.
fn answer(page: &Page, known: &Known, is_same: impl FnOnce(Position) -> bool) -> Response {
    let is_known = known.includes(&etag(page.at)) || known.position().is_some_and(is_same);
    if page.gap.is_none() && !page.end && is_known {
        return not_modified(page.at);
    }
    let headers = [(CONTENT_TYPE, "application/json"), (VARY, VARY_ON)];
    (position_headers(page.at), headers, Body::new(json(page))).into_response()
}

/// `{"at":…,"messages":[…],"gap":…,"end":true}`, with the messages shared by all readers.
fn json(page: &Page) -> Segments {
    let mut body = Segments::default();
    body.push(format!("{{\"at\":\"{}\",\"messages\":[", page.at));
    for (index, entry) in page.entries.iter().enumerate() {
        if index > 0 {
            body.push(",");
        }
        body.push(encode::json(entry));
    }
    body.push("]");
    if let Some(gap) = &page.gap {
        body.push(format!(",\"gap\":{}", encode::gap_json(gap)));
    }
    body.push(if page.end { encode::END_MEMBER } else { "" });
    body.push("}");
    body
}

/// How many bytes the body has.
pub(crate) fn length(response: &Response) -> usize {
    response.body().size_hint().exact().unwrap_or(0) as usize
}

/// The response to a poll for which nothing came: the position to continue after.
fn nothing(reader: &Reader, hub: &Hub, known: &Known) -> Response {
    let at = reader.position();
    let page = Page::empty(at);
    answer(&page, known, |other| hub.is_same_place(reader.channel(), at, other))
}

/// The last response on this connection: the server drains, and each client gets its own time to poll
/// again.
pub(crate) fn come_back(mut response: Response, retry: Duration) -> Response {
    let seconds = retry.as_secs_f64().ceil().to_string();
    insert(&mut response, RETRY_AFTER, &seconds);
    close(response)
}

/// The last response on this connection.
pub(crate) fn close(mut response: Response) -> Response {
    insert(&mut response, CONNECTION, "close");
    response
}

/// How long the request was held at most.
pub(crate) fn prefer_applied(response: &mut Response, wait: Duration) {
    insert(response, PREFERENCE_APPLIED, &format!("wait={}", wait.as_secs()));
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    // Digits and our own words are always valid in a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn not_modified(at: Position) -> Response {
    (StatusCode::NOT_MODIFIED, position_headers(at), [(VARY, VARY_ON)]).into_response()
}
