//! `/c/{channel}`: a channel is a URL, and each method does one thing with it.

use std::sync::Arc;

use axum::extract::Request;
use http::header::ALLOW;
use http::{Method, StatusCode};
use sockeye_hub::{ChannelName, Loaded, Start};

use crate::app::App;
use crate::auth::{Caller, Right};
use crate::conn::answer::Answer;
use crate::http::conditional::Known;
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::http::representation::Representation;
use crate::http::upgrade::is_handshake;
use crate::routes::message;
use crate::routes::publish;
use crate::routes::websocket;
use crate::transports::poll;
use crate::transports::stream::{self, Form};

/// The methods of a channel.
pub(crate) const METHODS: &str = "GET, HEAD, POST, DELETE, OPTIONS";

/// Answers any request for a channel.
pub(crate) async fn answer(
    app: &Arc<App>,
    channel: ChannelName,
    request: Box<Request>,
) -> Result<Answer, Problem> {
    refuse_misplaced(&request)?;
    let caller = Caller::of(&request);
    let right = match *request.method() {
        Method::POST | Method::DELETE => Right::Write,
        _ => Right::Read,
    };
    let loaded = app.load(&caller, (right, &channel), beginning(&request)).await?;
    match *request.method() {
        Method::GET | Method::CONNECT if is_handshake(&request) => {
            websocket::open(app, &channel, *request)
        }
        Method::GET | Method::HEAD if query::has_at(request.uri()) => {
            Box::pin(message::answer(app, (&caller, &channel), *request)).await
        }
        Method::GET => read(app, &channel, *request, loaded),
        Method::HEAD => {
            caller.may(Right::Read, &channel)?;
            poll::position(app, &channel, &request)
        }
        Method::POST => {
            // A body that comes slowly does not keep the channel in memory.
            drop(loaded);
            Box::pin(publish::post(app, &channel, request)).await
        }
        Method::DELETE => Box::pin(forget(app, &channel, &caller)).await,
        Method::OPTIONS => Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into()),
        _ => Err(Problem::method_not_allowed(METHODS)),
    }
}

/// Refuses `at` and `close` with a method that would do more, or something else, than they say.
fn refuse_misplaced(request: &Request) -> Result<(), Problem> {
    let (method, uri) = (request.method(), request.uri());
    let detail = if query::has_at(uri) && [Method::POST, Method::DELETE].contains(method) {
        "`at` is the position of one message, for GET and HEAD: DELETE deletes all of them."
    } else if query::has_close(uri)? && *method != Method::POST {
        "`close=1` ends a channel, with POST."
    } else {
        return Ok(());
    };
    Err(Problem::new(Code::BadRequest, detail).and_close())
}

/// Where what the request asks for begins. What is wrong with it is told later.
fn beginning(request: &Request) -> Start {
    if *request.method() == Method::POST || *request.method() == Method::DELETE {
        return Start::Now;
    }
    if let Ok(at) = query::at(request.uri()) {
        return Start::After(at);
    }
    if *request.method() == Method::HEAD {
        return Start::Now;
    }
    let is_poll = !is_handshake(request)
        && matches!(Representation::of(request), Ok(Some(Representation::Json)));
    let otherwise = match query::wait(request) {
        Ok(None) if is_poll => Start::Earliest,
        _ if is_poll => {
            let known = Known::by(request.headers()).position();
            known.map_or(Start::Now, Start::After)
        }
        _ => Start::Now,
    };
    query::start(request).ok().flatten().unwrap_or(otherwise)
}

/// `GET`: the messages after `after`, now or as they come, in the representation that the request asks
/// for.
fn read(
    app: &App,
    channel: &ChannelName,
    request: Request,
    loaded: Option<Loaded>,
) -> Result<Answer, Problem> {
    let caller = Caller::of(&request);
    caller.may(Right::Read, channel)?;
    let form = match Representation::of(&request)? {
        Some(Representation::Json) => return poll::messages(app, channel, caller, request, loaded),
        Some(Representation::Events) if query::has_meta(request.uri())? => Form::MetaEvents,
        Some(Representation::Events) => Form::Events,
        Some(Representation::Lines) => Form::Lines,
        None => return Err(Representation::not_acceptable()),
    };
    stream::open(app, channel, caller, &request, form)
}

/// `DELETE`: deletes the history; the channel stays.
async fn forget(app: &App, channel: &ChannelName, caller: &Caller) -> Result<Answer, Problem> {
    caller.may(Right::Write, channel)?;
    app.hub.forget(channel).await.map_err(|error| app.refused(error))?;
    Ok(StatusCode::NO_CONTENT.into())
}
