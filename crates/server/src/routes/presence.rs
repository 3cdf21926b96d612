//! `GET /c/{channel}/presence`: the members of a channel, on any transport.

use axum::extract::Request;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, StatusCode};
use sockeye_hub::ChannelName;

use crate::app::App;
use crate::auth::{Caller, Right};
use crate::conn::answer::Answer;
use crate::conn::http2::StreamBudget;
use crate::http::problem::Problem;
use crate::http::query;
use crate::transports::presence;

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Answers any request for a channel's presence.
pub(crate) async fn answer(
    app: &App,
    channel: ChannelName,
    request: Request,
) -> Result<Answer, Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            Caller::of(&request).ask(Right::Presence, &channel).await?;
            let limit = query::limit(request.uri())?;
            let after = query::parameter(request.uri(), "after")?;
            let stream_budget = StreamBudget::of(&request);
            let page = presence::page(&app.hub, &channel, after.as_deref(), limit).await?;
            let page = stream_budget.make(|| presence::page_json(&page), String::len).await;
            let headers = [(CONTENT_TYPE, "application/json")];
            Ok((headers, format!("{{{page}}}")).into())
        }
        Method::OPTIONS => Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into()),
        _ => Err(Problem::method_not_allowed(METHODS)),
    }
}
