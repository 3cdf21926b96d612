//! `/c/a,b,c`: several channels, read by one request.

use std::sync::Arc;

use axum::extract::Request;
use futures_util::future::try_join_all;
use http::header::ALLOW;
use http::{Method, StatusCode};
use sockeye_hub::{ChannelName, Start};

use crate::app::App;
use crate::auth::{Caller, Right};
use crate::conn::answer::Answer;
use crate::http::conditional::Known;
use crate::http::headers::LAST_EVENT_ID;
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::http::representation::Representation;
use crate::http::upgrade::is_handshake;
use crate::transports::several::{Reading, poll, stream};
use crate::transports::stream::Form;

/// The most channels of one request.
pub(crate) const MAX_CHANNELS: usize = 64;

/// The methods of several channels.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// Answers any request for several channels, by their names.
pub(crate) async fn answer(
    app: &Arc<App>,
    names: &str,
    request: Request,
) -> Result<Answer, Problem> {
    if is_handshake(&request) {
        return Err(bad_request(
            "A WebSocket for several channels is at /connect, with the subprotocol sockeye.v1.",
        ));
    }
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into()),
        _ => return Err(Problem::method_not_allowed(METHODS)),
    }
    let channels = channels(names)?;
    let caller = Caller::of(&request);
    try_join_all(channels.iter().map(|channel| caller.ask(Right::Read, channel))).await?;
    if query::has_at(request.uri()) {
        return Err(bad_request("`at` gives one message of one channel."));
    }
    let form = Representation::of(&request)?;
    let starts = query::starts(&request, channels.len())?;
    let known = Known::by(request.headers()).starts(channels.len());
    let loaded_from = starts.clone().or(known);
    let waits = query::wait(&request)?.is_some() || form != Some(Representation::Json);
    let mut loaded = Vec::with_capacity(channels.len());
    for (index, channel) in channels.iter().enumerate() {
        let otherwise = if waits { Start::Now } else { Start::Earliest };
        let start = loaded_from.as_ref().map_or(otherwise, |starts| starts[index]);
        loaded.push(app.load(&caller, (Right::Read, channel), start).await?);
        // The answer may have lapsed while the others were asked for, and be another now.
        caller.may(Right::Read, channel)?;
    }
    let comes_back = request.headers().contains_key(LAST_EVENT_ID);
    let is_head = *request.method() == Method::HEAD;
    let reading = Reading { channels, starts, comes_back };
    match form {
        None => Err(Representation::not_acceptable()),
        Some(_) if is_head => Ok(poll::position(app, &reading.channels)),
        Some(Representation::Json) => poll::messages(app, reading, caller, request, loaded),
        Some(Representation::Events) => stream::open(app, reading, caller, &request, Form::Events),
        Some(Representation::Lines) => stream::open(app, reading, caller, &request, Form::Lines),
    }
}

/// The names, each of another channel.
fn channels(names: &str) -> Result<Vec<ChannelName>, Problem> {
    if names.split(',').count() > MAX_CHANNELS {
        return Err(bad_request(format_args!("A request reads at most {MAX_CHANNELS} channels.")));
    }
    let mut channels: Vec<ChannelName> = Vec::new();
    for name in names.split(',') {
        let channel = name.parse().map_err(|wrong| Problem::new(Code::BadChannel, wrong))?;
        if channels.contains(&channel) {
            return Err(bad_request("Name each channel once."));
        }
        channels.push(channel);
    }
    Ok(channels)
}

fn bad_request(detail: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
