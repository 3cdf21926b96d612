//! Plain polling: `GET /c/{channel}` for messages, `HEAD` for the position alone.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use sockeye_hub::{ChannelName, Page, Position, Start};

use crate::auth::{Caller, Right};
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::segments::Segments;
use crate::{accept, message, query};

/// The forms in which a channel's messages can be had.
const JSON: &str = "application/json";

/// `GET`: the messages after `after`, oldest first, and where to go on.
pub(crate) fn messages(
    app: &App,
    channel: &ChannelName,
    request: &Request,
) -> Result<Response, Problem> {
    Caller::of(request).may(Right::Read, channel)?;
    accept::preferred(request.headers(), &[JSON])
        .ok_or_else(|| not_acceptable("Accept application/json."))?;
    if query::parameter(request.uri(), "wait")?.is_some() {
        return Err(not_acceptable("This server does not long-poll yet: leave out `wait`."));
    }
    let limit = query::limit(request.uri())?;
    let start = query::after(request.uri())?.unwrap_or(Start::Last(limit as u64));

    let page = app.hub.read(channel, start, limit);
    // A gap is told each time: the client that has not seen it does not know what it has missed.
    if page.gap.is_none() && is_known(request.headers(), page.at) {
        return Ok(not_modified(page.at));
    }
    let headers = [
        (CONTENT_TYPE, JSON.to_owned()),
        (ETAG, etag(page.at)),
        (VARY, ACCEPT.as_str().to_owned()),
    ];
    Ok((headers, Body::new(json(&page))).into_response())
}

/// `HEAD`: the position to subscribe after, as `ETag`.
pub(crate) fn position(
    app: &App,
    channel: &ChannelName,
    request: &Request,
) -> Result<Response, Problem> {
    Caller::of(request).may(Right::Read, channel)?;
    let at = app.hub.position(channel);
    if is_known(request.headers(), at) {
        return Ok(not_modified(at));
    }
    // A body of no known length: `Content-Length` would have to be that of `GET` (RFC 9110 §8.6).
    let body = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    Ok(([(CONTENT_TYPE, JSON.to_owned()), (ETAG, etag(at))], body).into_response())
}

/// A position as an entity tag.
pub(crate) fn etag(position: Position) -> String {
    format!("\"{position}\"")
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

/// Whether `If-None-Match` names this position (RFC 9110 §13.1.2: weak comparison).
fn is_known(headers: &HeaderMap, at: Position) -> bool {
    let etag = etag(at);
    let lines = headers.get_all(IF_NONE_MATCH).iter().flat_map(|line| line.to_str());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn not_modified(at: Position) -> Response {
    (StatusCode::NOT_MODIFIED, [(ETAG, etag(at))]).into_response()
}

fn not_acceptable(detail: &str) -> Problem {
    Problem::new(Code::NotAcceptable, detail)
}
