//! `GET /c/{channel}/presence`: who is listening, on any transport.
//!
//! A transport that keeps a connection holds the lease that `hub.join(channel, caller.id())`
//! gives, from before its answer goes out until it ends. One that answers and forgets calls
//! [`stay`] with each answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, StatusCode};
use sockeye_hub::{ChannelName, Hub, Member, Presence};

use crate::auth::{Caller, Right};
use crate::channel;
use crate::http2::Share;
use crate::message::quoted;
use crate::peer::Peer;
use crate::problem::{Code, Problem};
use crate::query;
use crate::router::App;

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Bytes of JSON in one page at most, but for a member that is larger by itself.
pub(crate) const PAGE_BYTES: usize = 64 << 10;

/// For how long one who polls is there at least.
const STAY_AT_LEAST: Duration = Duration::from_mins(1);

/// Answers any request for a channel's presence.
pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let channel = channel::named_in(path)?;
    match *request.method() {
        Method::GET | Method::HEAD => {
            Caller::of(&request).may(Right::Presence, &channel)?;
            let limit = query::limit(request.uri())?;
            let after = query::parameter(request.uri(), "after")?;
            let share = Share::of(&request);
            let page = || page(&app.hub, &channel, after.as_deref(), limit);
            let length = |page: &Result<String, _>| page.as_ref().map_or(0, String::len);
            let page = share.make(page, length).await?;
            let headers = [(CONTENT_TYPE, "application/json")];
            Ok((headers, format!("{{{page}}}")).into_response())
        }
        Method::OPTIONS => Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response()),
        _ => Err(Problem::method_not_allowed(METHODS)),
    }
}

/// The members of a channel after one of them: what [`page_json`] gives.
pub(crate) fn page(
    hub: &Hub,
    channel: &ChannelName,
    after: Option<&str>,
    limit: usize,
) -> Result<String, Problem> {
    let max = Hub::MAX_ID_LEN;
    if after.is_some_and(|id| id.len() > max) {
        let detail = format_args!("`after` is the id of a member, of at most {max} bytes.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(page_json(&hub.presence_page(channel, after, limit)))
}

/// `"count":2,"members":[{"id":"ann","since":…}]`, and with `,"next":"ann"` the id to go on after
/// if there are more members than these.
pub(crate) fn page_json(presence: &Presence) -> String {
    let mut json = format!("\"count\":{},\"members\":[", presence.count);
    let (mut last, mut next) = (None, presence.next.as_deref());
    for member in &presence.members {
        let told = member_json(member);
        if last.is_some() && json.len() + told.len() > PAGE_BYTES {
            next = last;
            break;
        }
        if last.is_some() {
            json.push(',');
        }
        json.push_str(&told);
        last = Some(&*member.id);
    }
    json.push(']');
    if let Some(next) = next {
        json.push_str(&format!(",\"next\":{}", quoted(next)));
    }
    json
}

/// `{"id":"ann","since":…}`.
pub(crate) fn member_json(member: &Member) -> String {
    format!("{{\"id\":{},\"since\":{}}}", quoted(&member.id), member.since)
}

/// Enters one who polls and waits for so long into the channel's presence, until he should have
/// come again: for 1.5 times his wait, and for a minute at least.
///
/// One without an id is known again by his address, so all those count once who share one: all
/// that come through one proxy, or by a Unix socket. Better too few than each poll as another.
pub(crate) fn stay(app: &App, channel: &ChannelName, request: &Request, wait: Duration) {
    let key = Peer::of(request).address().map(|address| address.to_string()).unwrap_or_default();
    let until_next = (wait * 3 / 2).max(STAY_AT_LEAST);
    app.hub.renew(channel, &key, Caller::of(request).id(), until_next);
}
