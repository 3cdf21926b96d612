//! A plain WebSocket on a channel: payloads and nothing else.
//!
//! Every frame that comes is published; every message of others and of oneself goes out as one
//! frame. Where a message is missing, and it could not be told in a frame, the connection ends.

use std::sync::Arc;

use axum::response::Response;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use sockeye::{CloseCode, Message, Text, WebSocket};
use sockeye_hub::{
    Budget, ChannelName, Lease, Payload, PayloadRef, Publication, Reader, Start, Why,
};

use super::handshake::Handshake;
use crate::auth::Caller;
use crate::drain::Guest;
use crate::message::{prepared, slot};
use crate::metrics::{End, Transport};
use crate::peer::Peer;
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::visit::{Reading, Visit};

/// What one connection takes from the log at once: all that a client which does not read can keep
/// in memory beyond the log's own time.
const AT_ONCE: Budget = Budget { entries: 16, bytes: 64 << 10 };

/// How many messages of one connection may be on their way to the disk.
const MOST_UNDER_WAY: usize = 64;

/// A connection, and what is held for it.
struct Conversation {
    app: Arc<App>,
    caller: Caller,
    reader: Reader,
    reading: Reading,
    visit: Visit,
    guest: Guest,
    _presence: Lease,
}

/// Answers the handshake; the WebSocket then lives in a task of its own.
pub(super) fn open(
    handshake: Handshake,
    app: &Arc<App>,
    (caller, peer): (Caller, Peer),
    channel: &ChannelName,
    start: Start,
) -> Result<Response, Problem> {
    let (response, opening) = handshake.accept(super::config(app.max_message))?;
    // Before the answer goes out: what is published once the client knows that it is connected
    // reaches it.
    let reader = app.hub.subscribe(channel, start);
    let visit = app.visits.begin(Transport::WebSocket, &caller, peer);
    let conversation = Conversation {
        app: Arc::clone(app),
        reading: visit.reads(&reader, start),
        _presence: app.hub.join(channel, caller.id()),
        guest: app.drain.admit(),
        caller,
        reader,
        visit,
    };
    tokio::spawn(async move {
        if let Ok(socket) = super::opened(opening).await {
            conversation.hold(socket).await;
        }
    });
    Ok(response)
}

/// Why this end closes: the code and the reason that the client is told, and what is counted.
type Ending = (u16, &'static str, End);

/// Messages are missing, and payloads alone have no way to say so.
const MISSING: Ending =
    (4410, "messages are missing: poll, then connect after its position", End::Gap);
const RESTARTING: Ending = (1012, "the server restarts: connect again", End::Drain);
const EXPIRED: Ending = (4401, "the token has expired: connect with a fresh one", End::Expired);
const FORBIDDEN: Ending = (4403, "not allowed to publish here", End::Refused);
const TOO_LARGE: Ending = (1009, "the message is larger than a whole history", End::Refused);
const NO_ROOM: Ending = (1013, "the server has no room for the message", End::Refused);

impl Conversation {
    /// Publishes what comes and sends what is there, both at once, so that neither waits for a
    /// client that does only the other; until the client leaves or there is a reason to close.
    async fn hold(self, socket: WebSocket) {
        let Self { app, caller, mut reader, reading, mut visit, mut guest, _presence } = self;
        let channel = reader.channel().clone();
        let has_missed = reader.lag().gap.is_some();
        let (mut incoming, mut outgoing) = socket.split();
        let ending = tokio::select! {
            biased;
            () = guest.turn_to_leave() => Some(RESTARTING),
            () = caller.expired() => Some(EXPIRED),
            () = std::future::ready(()), if has_missed => Some(MISSING),
            ending = deliver(&mut reader, &reading, &mut outgoing) => ending,
            ending = publish(&mut incoming, &app, &caller, &channel) => ending,
        };
        // What still comes is not published any more, and who is sent away is not there any more.
        drop((reader, reading, incoming, _presence));
        if let Some((code, reason, end)) = ending
            && let Ok(code) = CloseCode::try_from(code)
        {
            visit.ends(end);
            // How the client takes it changes nothing.
            let _ = outgoing.close(code, reason).await;
        }
    }
}

/// Publishes every message that comes. `None` when the client has left.
///
/// What comes next does not wait until a message is kept, or a connection would publish no more
/// than one to a sync of the disk.
async fn publish(
    incoming: &mut sockeye::Reader,
    app: &App,
    caller: &Caller,
    channel: &ChannelName,
) -> Option<Ending> {
    let mut under_way = FuturesUnordered::new();
    loop {
        let message = tokio::select! {
            biased;
            Some(published) = under_way.next() => match published {
                Ok(_) => continue,
                Err(problem) => return Some(refusal(&problem)),
            },
            message = incoming.recv(), if under_way.len() < MOST_UNDER_WAY => message,
        };
        let Some(Ok(message)) = message else { return None };
        let payload = match &message {
            Message::Text(text) => PayloadRef::Text(text),
            Message::Binary(bytes) => PayloadRef::Bytes(bytes),
        };
        let publication = Publication { payload, event: None, key: None };
        under_way.push(app.publish(caller, channel, publication));
    }
}

fn refusal(problem: &Problem) -> Ending {
    match problem.code() {
        Code::TooLarge => TOO_LARGE,
        Code::Forbidden | Code::Unauthorized => FORBIDDEN,
        _ => NO_ROOM,
    }
}

/// Sends every message of the channel. `None` when the client has left.
async fn deliver(
    reader: &mut Reader,
    reading: &Reading,
    outgoing: &mut sockeye::Writer,
) -> Option<Ending> {
    loop {
        let page = reader.next_page(AT_ONCE).await;
        // A history that is deleted takes nothing from one who is connected.
        if page.gap.is_some_and(|gap| gap.why != Why::Reset) {
            return Some(MISSING);
        }
        for entry in &page.entries {
            let message = message(&entry.payload);
            match prepared(entry, slot::FRAME, &message, outgoing) {
                Some(prepared) => outgoing.feed_prepared(&prepared).await.ok()?,
                None => outgoing.feed(message).await.ok()?,
            }
        }
        outgoing.flush().await.ok()?;
        let bytes = page.entries.iter().map(|entry| entry.payload.as_bytes().len()).sum();
        reading.delivered(&page, bytes);
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
