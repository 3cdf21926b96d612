//! `/c/{channel}`: a channel is a URL, and each method does one thing with it.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::ALLOW;
use http::{Method, StatusCode};
use sockeye_hub::ChannelName;

use crate::auth::{Caller, Right};
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::{listen, poll, publish, websocket};

/// What can be done with a channel.
pub(crate) const METHODS: &str = "GET, HEAD, POST, DELETE, OPTIONS";

/// Answers any request for a channel.
pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let channel = named_in(path)?;
    let caller = Caller::of(&request);
    app.load(&caller, &channel).await?;
    match *request.method() {
        Method::GET | Method::CONNECT if websocket::is_handshake(&request) => {
            websocket::open(&app, &channel, request)
        }
        Method::GET => listen::messages(&app, &channel, request),
        Method::HEAD => {
            caller.may(Right::Read, &channel)?;
            poll::position(&app, &channel, &request)
        }
        Method::POST => publish::publish(&app, &channel, request).await,
        Method::DELETE => forget(&app, &channel, &caller).await,
        Method::OPTIONS => Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response()),
        _ => Err(Problem::method_not_allowed(METHODS)),
    }
}

impl App {
    /// Reads the channel from the disk, on a thread that may wait for it, unless it is in memory or
    /// the caller has no business with it. To be called before anything else is done with it.
    pub(crate) async fn load(&self, caller: &Caller, channel: &ChannelName) -> Result<(), Problem> {
        let may = |right| caller.may(right, channel).is_ok();
        if may(Right::Read) || may(Right::Write) {
            self.hub.load(channel).await.map_err(|error| Problem::new(Code::Unavailable, error))?;
        }
        Ok(())
    }
}

/// The channel that a path names.
pub(crate) fn named_in(
    path: Result<RawPathParams, RawPathParamsRejection>,
) -> Result<ChannelName, Problem> {
    let name = path.as_ref().ok().and_then(|path| path.iter().find(|(key, _)| *key == "channel"));
    // A name that does not decode to UTF-8 is as wrong as one with a space in it.
    let name = name.map_or("%", |(_, name)| name);
    name.parse().map_err(|wrong| Problem::new(Code::BadChannel, wrong))
}

/// `DELETE`: the history is gone, the channel goes on.
async fn forget(app: &App, channel: &ChannelName, caller: &Caller) -> Result<Response, Problem> {
    caller.may(Right::Write, channel)?;
    app.hub.forget(channel).await.map_err(publish::refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
