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
use serde_json::json;
use sockeye_hub::{ChannelName, Member, Presence};

use crate::auth::{Caller, Right};
use crate::channel;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::router::App;

const METHODS: &str = "GET, HEAD, OPTIONS";

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
            let presence = json(&app.hub.presence(&channel));
            Ok(([(CONTENT_TYPE, "application/json")], presence).into_response())
        }
        Method::OPTIONS => Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response()),
        _ => Err(Problem::method_not_allowed(METHODS)),
    }
}

/// `{"count":2,"members":[{"id":"ann","since":…}]}`.
pub(crate) fn json(presence: &Presence) -> String {
    let members: Vec<_> = presence.members.iter().map(member_json).collect();
    json!({"count": presence.count, "members": members}).to_string()
}

/// `{"id":"ann","since":…}`.
pub(crate) fn member_json(member: &Member) -> serde_json::Value {
    json!({"id": *member.id, "since": member.since})
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
