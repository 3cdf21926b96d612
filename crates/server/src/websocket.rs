//! A plain WebSocket on a channel: payloads and nothing else.
//!
//! Every frame that comes is published; every message of others and of oneself goes out as one
//! frame. Where a message is missing, and it could not be told in a frame, the connection ends.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::SinkExt;
use http::header::UPGRADE;
use http::{HeaderMap, StatusCode};
use sockeye::{CloseCode, Config, Message, Origins, Refusal, Text, Upgrade, WebSocket};
use sockeye_hub::{Budget, ChannelName, Payload, PayloadRef, Publication, Reader, Start, Why};

use crate::auth::{Caller, Right};
use crate::drain::Guest;
use crate::problem::{Code, Problem};
use crate::query;
use crate::router::App;

/// Subprotocols of ours begin with this. A client that offers one does not expect a plain
/// WebSocket.
const OWN_SUBPROTOCOLS: &str = "sockeye.";

/// What one connection takes from the log at once: all that a client which does not read can keep
/// in memory beyond the log's own time.
const AT_ONCE: Budget = Budget { entries: 16, bytes: 64 << 10 };

/// Whether a request asks for a WebSocket rather than for the resource.
pub(crate) fn is_handshake(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(UPGRADE).iter().flat_map(|line| line.to_str());
    let mut protocols = lines.flat_map(|line| line.split(','));
    protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

/// Answers the handshake; the WebSocket then lives in a task of its own.
pub(crate) fn open(
    app: &Arc<App>,
    channel: &ChannelName,
    mut request: Request,
) -> Result<Response, Problem> {
    if app.drain.has_begun() {
        let detail = "The server is stopping: connect again in a moment.";
        return Err(Problem::new(Code::Unavailable, detail));
    }
    let caller = Caller::of(&request);
    caller.may(Right::Read, channel)?;
    let start = query::after(request.uri())?.unwrap_or(Start::Now);
    let upgrade = Upgrade::new(&mut request).map_err(|refusal| refused(&refusal))?;
    if upgrade.subprotocols().any(|name| name.starts_with(OWN_SUBPROTOCOLS)) {
        let detail = "This server does not speak that subprotocol: offer none.";
        return Err(Problem::new(Code::NotAcceptable, detail));
    }
    let config = Config::default().max_message_size(app.max_message);
    // Which pages may connect was decided for all transports alike.
    let (response, opening) = upgrade
        .origins(Origins::Any)
        .config(config)
        .accept()
        .map_err(|refusal| Problem::new(Code::Internal, refusal.text()))?;
    // Before the answer goes out: what is published once the client knows that it is connected
    // reaches it.
    let (app, reader) = (Arc::clone(app), app.hub.subscribe(channel, start));
    let has_missed = reader.lag().gap.is_some();
    let guest = app.drain.admit();
    tokio::spawn(async move {
        if let Ok(socket) = opening.open().await {
            converse(socket, &app, &caller, reader, has_missed, guest).await;
        }
    });
    Ok(response.map(|()| Body::empty()))
}

/// A handshake that is none, as a problem with the headers the protocol asks for.
fn refused(refusal: &Refusal) -> Problem {
    let code = match refusal.status() {
        StatusCode::UPGRADE_REQUIRED => Code::UpgradeRequired,
        _ => Code::BadRequest,
    };
    let problem = Problem::new(code, refusal.text()).with_status(refusal.status());
    refusal
        .headers()
        .iter()
        .fold(problem, |problem, (name, value)| problem.with_header(name.clone(), value.clone()))
}

/// Why this end closes.
type Ending = (u16, &'static str);

/// Messages are missing, and payloads alone have no way to say so.
const MISSING: Ending = (4410, "messages are missing: poll, then connect after its position");
const RESTARTING: Ending = (1012, "the server restarts: connect again");
const EXPIRED: Ending = (4401, "the token has expired: connect with a fresh one");
const FORBIDDEN: Ending = (4403, "not allowed to publish here");
const TOO_LARGE: Ending = (1009, "the message is larger than a whole history");
const NO_ROOM: Ending = (1013, "the server has no room for the message");

/// Publishes what comes and sends what is there, both at once, so that neither waits for a client
/// that does only the other; until the client leaves or there is a reason to close.
async fn converse(
    socket: WebSocket,
    app: &App,
    caller: &Caller,
    mut reader: Reader,
    has_missed: bool,
    mut guest: Guest,
) {
    let channel = reader.channel().clone();
    let (mut incoming, mut outgoing) = socket.split();
    let ending = tokio::select! {
        biased;
        () = guest.turn_to_leave() => Some(RESTARTING),
        () = caller.expired() => Some(EXPIRED),
        () = std::future::ready(()), if has_missed => Some(MISSING),
        ending = deliver(&mut reader, &mut outgoing) => ending,
        ending = publish(&mut incoming, app, caller, &channel) => ending,
    };
    // What still comes is not published any more.
    drop((reader, incoming));
    if let Some((code, reason)) = ending
        && let Ok(code) = CloseCode::try_from(code)
    {
        // How the client takes it changes nothing.
        let _ = outgoing.close(code, reason).await;
    }
}

/// Publishes every message that comes. `None` when the client has left.
async fn publish(
    incoming: &mut sockeye::Reader,
    app: &App,
    caller: &Caller,
    channel: &ChannelName,
) -> Option<Ending> {
    while let Some(Ok(message)) = incoming.recv().await {
        let payload = match &message {
            Message::Text(text) => PayloadRef::Text(text),
            Message::Binary(bytes) => PayloadRef::Bytes(bytes),
        };
        let publication = Publication { payload, event: None, key: None };
        if let Err(problem) = app.publish(caller, channel, publication).await {
            return Some(match problem.code() {
                Code::TooLarge => TOO_LARGE,
                Code::Forbidden | Code::Unauthorized => FORBIDDEN,
                _ => NO_ROOM,
            });
        }
    }
    None
}

/// Sends every message of the channel. `None` when the client has left.
async fn deliver(reader: &mut Reader, outgoing: &mut sockeye::Writer) -> Option<Ending> {
    loop {
        let page = reader.next_page(AT_ONCE).await;
        // A history that is deleted takes nothing from one who is connected.
        if page.gap.is_some_and(|gap| gap.why != Why::Reset) {
            return Some(MISSING);
        }
        for entry in &page.entries {
            outgoing.feed(message(&entry.payload)).await.ok()?;
        }
        outgoing.flush().await.ok()?;
    }
}

/// A payload as the frame that carries it: bytes as binary, all else as text.
fn message(payload: &Payload) -> Message {
    match payload {
        Payload::Bytes(bytes) => Message::Binary(bytes.clone()),
        Payload::Json(text) | Payload::Text(text) => Message::Text(
            Text::try_from(text.as_bytes().clone()).expect("the hub's texts are UTF-8"),
        ),
    }
}
