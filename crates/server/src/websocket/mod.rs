//! WebSockets on channels: what is spoken on them, and how a request becomes one.
//!
//! A request for `/c/{channel}` passes the [`handshake`]; then the connection lives in a task of
//! its own and speaks [`plain`] payloads.

mod handshake;
mod plain;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use sockeye_hub::{ChannelName, Start};

use self::handshake::Handshake;
pub(crate) use self::handshake::is_handshake;
use crate::auth::{Caller, Right};
use crate::problem::Problem;
use crate::query;
use crate::router::App;

/// Answers the handshake on a channel; the WebSocket then lives in a task of its own.
pub(crate) fn open(
    app: &Arc<App>,
    channel: &ChannelName,
    mut request: Request,
) -> Result<Response, Problem> {
    let caller = Caller::of(&request);
    let handshake = Handshake::begin(app, &mut request)?;
    caller.may(Right::Read, channel)?;
    let start = query::after(request.uri())?.unwrap_or(Start::Now);
    plain::open(handshake, app, caller, channel, start)
}
