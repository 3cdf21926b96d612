//! WebSockets on channels: what is spoken on them, and how a request becomes one.
//!
//! A request passes the [`handshake`]; then the connection lives in a task of its own and speaks
//! [`plain`] payloads or [`v1`].

mod frames;
mod handshake;
mod plain;
mod under_way;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use sockeye::{AcceptError, Config, Error, Keepalive, Opening, WebSocket};
use sockeye_hub::{ChannelName, Start};
use tokio::net::TcpStream;

use self::handshake::Handshake;
pub(crate) use self::handshake::is_handshake;
use crate::auth::{Caller, Right};
use crate::http2::Share;
use crate::impatient::Impatient;
use crate::options::ServerOptions;
use crate::peer::Peer;
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::{query, v1};

/// How long a client that has sent its Close is still told what was published before, and what becomes
/// of its commands.
pub(crate) const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// The WebSocket, once the answer is written. Of one over TCP nothing stays that HTTP needed.
pub(crate) async fn opened(opening: Opening) -> Result<WebSocket, AcceptError> {
    opening.open_through(|io: TokioIo<Impatient<TcpStream>>| io.into_inner().into_inner()).await
}

/// Whether a connection was lost because its client took nothing for too long: the system ends one over
/// TCP by `TCP_USER_TIMEOUT`.
pub(crate) fn was_given_up(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Limits of a WebSocket that takes messages of so many bytes.
pub(crate) fn config(options: &ServerOptions, max_message: usize) -> Config {
    let timeout = options.pong_timeout;
    let keepalive = options.ping_interval.map(|interval| Keepalive { interval, timeout });
    Config::default().max_message_size(max_message).keepalive(keepalive)
}

/// Answers the handshake on a channel; the WebSocket then lives in a task of its own.
pub(crate) fn open(
    app: &Arc<App>,
    channel: &ChannelName,
    mut request: Request,
) -> Result<Response, Problem> {
    let (caller, share) = (Caller::of(&request), Share::of(&request));
    let handshake = Handshake::begin(app, &mut request)?;
    caller.may(Right::Read, channel)?;
    let peer = app.limits.stay(Peer::of(&request))?;
    let start = query::after(request.uri())?.unwrap_or(Start::Now);
    if handshake.is_v1() {
        let (response, opening) = handshake.accept(app, &app.v1_config, app.deflate.clone())?;
        v1::spawn(opening, app, (caller, peer, share), Some((channel, start)));
        return Ok(response);
    }
    plain::open(handshake, app, (caller, peer, share), channel, start)
}

/// Answers any request for `/connect`: a WebSocket for many channels.
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    mut request: Request,
) -> Result<Response, Problem> {
    let (caller, peer) = (Caller::of(&request), Peer::of(&request));
    let share = Share::of(&request);
    let handshake = Handshake::begin(&app, &mut request)?;
    if !handshake.is_v1() {
        let detail = "Offer the subprotocol sockeye.v1 here; a plain WebSocket is at /c/NAME.";
        return Err(Problem::new(Code::NotAcceptable, detail));
    }
    let peer = app.limits.stay(peer)?;
    // From a peer that has not said who it is, little is taken and nothing is inflated.
    let (config, deflate) = match caller.is_stranger() {
        true => (&app.anonymous_config, None),
        false => (&app.v1_config, app.deflate.clone()),
    };
    let (response, opening) = handshake.accept(&app, config, deflate)?;
    v1::spawn(opening, &app, (caller, peer, share), None);
    Ok(response)
}
