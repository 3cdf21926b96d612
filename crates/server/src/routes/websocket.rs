//! WebSockets, on `/c/{channel}` and on `/connect`: plain payloads or `sockeye.v1`, as the client offers.

use std::sync::Arc;

use axum::extract::Request;
use sockeye_hub::{ChannelName, Start};

use crate::app::App;
use crate::auth::{Caller, Right};
use crate::conn::answer::Answer;
use crate::conn::http2::StreamBudget;
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::limits::peer::Peer;
use crate::transports::v1;
use crate::transports::websocket::handshake::Handshake;
use crate::transports::websocket::plain;

/// Answers the handshake on a channel; the WebSocket then lives in a task of its own.
pub(crate) fn open(
    app: &Arc<App>,
    channel: &ChannelName,
    mut request: Request,
) -> Result<Answer, Problem> {
    let (caller, stream_budget) = (Caller::of(&request), StreamBudget::of(&request));
    let handshake = Handshake::begin(app, &mut request)?;
    caller.may(Right::Read, channel)?;
    let peer = app.limits.stay(Peer::of(&request), &caller)?;
    let start = query::after(request.uri())?.unwrap_or(Start::Now);
    if handshake.is_v1() {
        // One that reads without a token has only commands to send.
        let config = if caller.is_anonymous() { &app.anonymous_config } else { &app.v1_config };
        let (response, opening) = handshake.accept(app, config, app.deflate.clone())?;
        v1::spawn(opening, app, (caller, peer, stream_budget), Some((channel, start)));
        return Ok(response.into());
    }
    plain::open(handshake, app, (caller, peer, stream_budget), channel, start).map(Answer::from)
}

/// Answers any request for `/connect`: a WebSocket for many channels.
pub(crate) fn connect(app: &Arc<App>, mut request: Request) -> Result<Answer, Problem> {
    let (caller, peer) = (Caller::of(&request), Peer::of(&request));
    let stream_budget = StreamBudget::of(&request);
    let handshake = Handshake::begin(app, &mut request)?;
    if !handshake.is_v1() {
        let detail = "Offer the subprotocol sockeye.v1 here; a plain WebSocket is at /c/NAME.";
        return Err(Problem::new(Code::NotAcceptable, detail));
    }
    let peer = app.limits.stay(peer, &caller)?;
    // A client that has not sent a token gets small limits and no compression.
    let (config, deflate) = match caller.is_anonymous() {
        true => (&app.anonymous_config, None),
        false => (&app.v1_config, app.deflate.clone()),
    };
    let (response, opening) = handshake.accept(app, config, deflate)?;
    v1::spawn(opening, app, (caller, peer, stream_budget), None);
    Ok(response.into())
}
