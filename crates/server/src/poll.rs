//! Polling and long polling: `GET /c/{channel}` as JSON; `HEAD` for the position alone.
//!
//! A poll is answered at once. A long poll (RFC 7240 `Prefer: wait`, RFC 6202) is parked while
//! nothing is there; all it holds meanwhile is a cursor. Both answers are complete, with their
//! length, so they pass through proxies that buffer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONNECTION, CONTENT_TYPE, ETAG, RETRY_AFTER, VARY};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use sockeye_hub::{Budget, ChannelName, Page, Position, Reader, Run, Start};
use tokio::time::sleep;

use crate::aside::Aside;
use crate::auth::{self, Caller};
use crate::http2::Share;
use crate::known::Known;
use crate::listen::{VARY_ON, content_type};
use crate::metrics::{End, Transport};
use crate::peer::Peer;
use crate::problem::Problem;
use crate::promise::promise;
use crate::router::App;
use crate::segments::Segments;
use crate::{message, presence, query};

/// The most bytes of messages in one answer, however many are asked for; but for a message that is
/// longer by itself. A client that does not read its answer keeps so much in memory.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// `GET`: the messages after `after`, oldest first, and where to go on.
pub(crate) fn messages(
    app: &App,
    channel: &ChannelName,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let limit = query::limit(request.uri())?;
    let budget = Budget { entries: limit, bytes: MAX_BYTES };
    let start = query::start(&request)?;
    let known = Known::by(request.headers());
    let wait = query::wait(&request)?;
    // Reading history is not listening.
    if wait.is_some() || query::has_presence(request.uri())? {
        presence::stay(app, channel, &request, wait.unwrap_or_default());
    }
    let share = Share::of(&request);
    let Some(wait) = wait else {
        let (hub, metrics, channel) = (app.hub.clone(), Arc::clone(&app.metrics), channel.clone());
        let read = move || {
            let page = match start {
                Some(start) => hub.read_within(&channel, start, budget),
                None => hub.read_newest(&channel, budget),
            };
            let start = start.unwrap_or(Start::Last(limit as u64));
            let response = answer(&page, &known);
            metrics.polled(start, &page, length(&response));
            response
        };
        return Ok(match share.is_limited() {
            true => promise(async move { share.make(read, length).await }),
            false => read(),
        });
    };
    let (peer, aside) = (app.limits.stay(Peer::of(&request))?, Aside::of(&request));
    // It refers to what the connection has read; a parked poll does not keep that.
    drop(request);
    let start = start.or_else(|| known.position().map(Start::After)).unwrap_or(Start::Now);
    let mut reader = app.hub.subscribe(channel, start);
    let mut visit = app.visits.begin(Transport::LongPoll, &caller, peer);
    let reading = visit.reads(&reader, start);
    let guest = app.drain.admit();
    let lag = reader.lag();
    if lag.entries == 0 && lag.gap.is_none() {
        aside.ask();
    }
    let left = aside.left();
    drop(aside);
    Ok(promise(async move {
        let mut response = tokio::select! {
            biased;
            () = caller.expired() => {
                visit.ends(End::Expired);
                return auth::expired().into_response();
            }
            (page, response) = share.next_page(
                &mut reader,
                budget,
                |page| answer(page, &known),
                |_, response| length(response),
            ) => {
                reading.delivered(&page, length(&response));
                response
            }
            () = guest.turn_to_leave() => {
                visit.ends(End::Drain);
                come_back(answer(&nothing(&reader), &known), guest.retry())
            }
            () = sleep(wait) => answer(&nothing(&reader), &known),
            () = left.told() => answer(&nothing(&reader), &known),
        };
        let applied = format!("wait={}", wait.as_secs());
        insert(&mut response, PREFERENCE_APPLIED, &applied);
        response
    }))
}

/// `HEAD`: the position to subscribe after, as `ETag`.
pub(crate) fn position(
    app: &App,
    channel: &ChannelName,
    request: &Request,
) -> Result<Response, Problem> {
    let at = app.hub.position(channel);
    let form = content_type(request)?.to_owned();
    if Known::by(request.headers()).includes(&etag(at)) {
        return Ok(not_modified(at));
    }
    // A body of no known length: `Content-Length` would have to be that of `GET` (RFC 9110 §8.6).
    let body = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    let headers = [(CONTENT_TYPE, form), (ETAG, etag(at)), (VARY, VARY_ON.to_owned())];
    Ok((headers, body).into_response())
}

/// A position as an entity tag.
pub(crate) fn etag(position: Position) -> String {
    format!("\"{position}\"")
}

/// The page, unless the client says that it knows it. A gap is told each time: the client that has
/// not seen it does not know what it has missed.
fn answer(page: &Page, known: &Known) -> Response {
    if page.gap.is_none() && known.includes(&etag(page.at)) {
        return not_modified(page.at);
    }
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, etag(page.at)),
        (VARY, VARY_ON.to_owned()),
    ];
    (headers, Body::new(json(page))).into_response()
}

/// `{"at":…,"messages":[…],"gap":…}`, the messages shared with everybody who reads them.
fn json(page: &Page) -> Segments {
    let mut body = Segments::default();
    body.push(format!("{{\"at\":\"{}\",\"messages\":[", page.at));
    for (index, entry) in page.entries.iter().enumerate() {
        if index > 0 {
            body.push(",");
        }
        body.push(message::json(entry));
    }
    match &page.gap {
        Some(gap) => body.push(format!("],\"gap\":{}}}", message::gap_json(gap))),
        None => body.push("]}"),
    }
    body
}

/// How many bytes the body has.
fn length(response: &Response) -> usize {
    response.body().size_hint().exact().unwrap_or(0) as usize
}

/// What a poll gets for which nothing came: the place to go on from.
fn nothing(reader: &Reader) -> Page {
    Page { gap: None, entries: Run::default(), at: reader.position() }
}

/// The last answer on this connection: the server stops, and each client is told its own time to
/// ask again.
fn come_back(mut response: Response, retry: Duration) -> Response {
    let seconds = retry.as_secs_f64().ceil().to_string();
    insert(&mut response, RETRY_AFTER, &seconds);
    insert(&mut response, CONNECTION, "close");
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    // Digits and words of ours are always a header's value.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn not_modified(at: Position) -> Response {
    let headers = [(ETAG, etag(at)), (VARY, VARY_ON.to_owned())];
    (StatusCode::NOT_MODIFIED, headers).into_response()
}
