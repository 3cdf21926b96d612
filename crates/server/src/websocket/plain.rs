//! A plain WebSocket on a channel: payloads and nothing else.
//!
//! Every frame that comes is published; every message of others and of oneself goes out as one
//! frame. Where a message is missing, and it could not be told in a frame, the connection ends.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _};
use sockeye::{CloseCode, CloseFrame, Message, WebSocket};
use sockeye_hub::{Budget, ChannelName, Lease, Page, PayloadRef, Publication, Reader, Start, Why};
use tokio::time::{sleep_until, timeout};

use super::LAST_MESSAGES;
use super::frames::{Frames, send_each};
use super::handshake::Handshake;
use super::under_way::UnderWay;
use crate::auth::Caller;
use crate::drain::Guest;
use crate::http2::Share;
use crate::metrics::{End, Transport};
use crate::on_call::on_call;
use crate::pace::Pace;
use crate::peer::Peer;
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::visit::{Reading, Visit};

/// What one connection takes from the log at once: all that a client which does not read can keep
/// in memory beyond the log's own time.
const AT_ONCE: Budget = Budget { entries: 64, bytes: 64 << 10 };

/// A connection, and what is held for it.
struct Conversation {
    app: Arc<App>,
    caller: Caller,
    reader: Reader,
    reading: Reading,
    visit: Visit,
    guest: Guest,
    share: Share,
    _presence: Lease,
}

/// Answers the handshake; the WebSocket then lives in a task of its own.
pub(super) fn open(
    handshake: Handshake,
    app: &Arc<App>,
    (caller, peer, share): (Caller, Peer, Share),
    channel: &ChannelName,
    start: Start,
) -> Result<Response, Problem> {
    let (response, opening) = handshake.accept(app, &app.plain_config, app.deflate.clone())?;
    // Before the answer goes out: what is published once the client knows that it is connected
    // reaches it.
    let reader = app.hub.subscribe(channel, start);
    let visit = app.visits.begin(Transport::WebSocket, &caller, peer);
    let conversation = Conversation {
        app: Arc::clone(app),
        reading: visit.reads(&reader, start),
        _presence: app.hub.join(channel, caller.id()),
        guest: app.drain.admit(),
        share,
        caller,
        reader,
        visit,
    };
    tokio::spawn(async move {
        if let Ok(socket) = super::opened(opening).await {
            // A task of its own, with room for what goes on and not for what is over.
            tokio::spawn(conversation.hold(socket));
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
/// Without a close frame: nobody would read it.
const STALLED: Ending = (1006, "", End::Stalled);
const NO_ROOM: Ending = (1013, "the server has no room for the message", End::Refused);

impl Conversation {
    /// Publishes what comes and sends what is there, both at once, so that neither waits for a
    /// client that does only the other; until the client leaves or there is a reason to close.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn hold(mut self, socket: WebSocket) -> impl Future<Output = ()> + Send {
        async move {
            let has_missed = self.reader.lag().gap.is_some();
            let (mut incoming, mut outgoing) = socket.split();
            incoming.hold_close();
            let ending = {
                let waits = AtomicBool::new(false);
                let mut delivering = pin!(deliver(
                    &mut self.reader,
                    &self.reading,
                    &mut outgoing,
                    &waits,
                    &self.share
                ));
                let publishing =
                    pin!(publish(&mut incoming, &self.app, &self.caller, self.reading.channel()));
                tokio::select! {
                    biased;
                    () = self.guest.turn_to_leave() => Some(RESTARTING),
                    () = self.caller.expired() => Some(EXPIRED),
                    () = std::future::ready(()), if has_missed => Some(MISSING),
                    ending = &mut delivering => ending,
                    // A message that goes out is no reason to look whether one came.
                    ending = on_call(publishing) => match ending {
                        // In a box: it comes once, and all would have room for it.
                        None => Box::pin(finish(delivering, &waits)).await,
                        ending => ending,
                    },
                }
            };
            // What still comes is not published any more, and who is sent away is not there any
            // more.
            drop((self.reader, self.reading, incoming, self._presence));
            if let Some((code, reason, end)) = ending {
                self.visit.ends(end);
                if let Ok(code) = CloseCode::try_from(code)
                    && let Ok(frame) = CloseFrame::new(code, reason)
                {
                    // How the client takes it changes nothing.
                    outgoing.close(frame).await;
                }
            }
            // A server that stops waits for its guests, and for what is to be said of them.
            drop((self.visit, self.guest));
        }
    }
}

/// Publishes every message that comes. `None` when the client has left.
///
/// What comes next does not wait until a message is kept, or a connection would publish no more
/// than one to a sync of the disk.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
fn publish<'a>(
    incoming: &'a mut sockeye::Reader,
    app: &'a App,
    caller: &'a Caller,
    channel: &'a ChannelName,
) -> impl Future<Output = Option<Ending>> + Send + 'a {
    async move {
        let mut under_way = UnderWay::none();
        // In a box: few servers have such a limit.
        let mut pace = app.message_rate.map(|rate| Box::new(Pace::new(rate)));
        loop {
            if let Some(pause) = pace.as_ref().and_then(|pace| pace.pause()) {
                Box::pin(sleep_until(pause)).await;
            }
            let message = tokio::select! {
                biased;
                published = under_way.next() => match published {
                    Ok(_) => continue,
                    Err(problem) => return Some(refusal(&problem)),
                },
                message = incoming.recv(), if under_way.has_room() => message,
            };
            let message = match message {
                Some(Ok(message)) => message,
                ended => {
                    while let Some(published) = under_way.rest().await {
                        if let Err(problem) = published {
                            return Some(refusal(&problem));
                        }
                    }
                    return ended.and_then(|ended| lost(&ended.err()?));
                }
            };
            if let Some(pace) = &mut pace {
                pace.count();
            }
            let payload = match &message {
                Message::Text(text) => PayloadRef::Text(text),
                Message::Binary(bytes) => PayloadRef::Bytes(bytes),
            };
            let publication = Publication::of(payload);
            let mut publishing = Box::pin(app.publish(caller, channel, publication));
            match publishing.as_mut().now_or_never() {
                Some(Ok(_)) => {}
                Some(Err(problem)) => return Some(refusal(&problem)),
                None => under_way.add(publishing),
            }
        }
    }
}

fn refusal(problem: &Problem) -> Ending {
    match problem.code() {
        Code::TooLarge => TOO_LARGE,
        Code::Forbidden | Code::Unauthorized => FORBIDDEN,
        _ => NO_ROOM,
    }
}

/// Goes on to deliver until there is nothing more: the client has sent its Close, and waits for what was
/// published before it, its own messages among it.
async fn finish(
    mut delivering: Pin<&mut impl Future<Output = Option<Ending>>>,
    waits: &AtomicBool,
) -> Option<Ending> {
    let finishing = poll_fn(|cx| match delivering.as_mut().poll(cx) {
        Poll::Pending if waits.load(Relaxed) => Poll::Ready(None),
        ending => ending,
    });
    timeout(LAST_MESSAGES, finishing).await.unwrap_or_default()
}

/// Sends every message of the channel, and says while it `waits` for one. `None` when the client has left.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
fn deliver<'a>(
    reader: &'a mut Reader,
    reading: &'a Reading,
    outgoing: &'a mut sockeye::Writer,
    waits: &'a AtomicBool,
    share: &'a Share,
) -> impl Future<Output = Option<Ending>> + Send + 'a {
    async move {
        let frames = Frames::of(outgoing);
        loop {
            waits.store(true, Relaxed);
            if share.is_limited() {
                Box::pin(reader.readable()).await;
                // What it waits for now is room.
                waits.store(false, Relaxed);
            }
            let (page, made) = share
                .next_page(
                    reader,
                    AT_ONCE,
                    |page| frames.of_all(&page.entries),
                    |page, made| made.as_ref().map_or_else(|| length(page), Bytes::len),
                )
                .await;
            waits.store(false, Relaxed);
            // A history that is deleted takes nothing from one who is connected.
            if page.gap.is_some_and(|gap| gap.why != Why::Reset) {
                return Some(MISSING);
            }
            let mut sent = match &made {
                Some(frames) => outgoing.send_frames(frames).await,
                // In a box: few do it so, and all would have room for it.
                None => Box::pin(send_each(&page.entries, outgoing)).await,
            };
            if share.is_limited() && sent.is_ok() {
                sent = Box::pin(outgoing.flush()).await;
                share.set(0);
            }
            if let Err(error) = sent {
                return lost(&error);
            }
            reading.delivered(&page, length(&page));
        }
    }
}

/// The end of a connection that was lost.
fn lost(error: &sockeye::Error) -> Option<Ending> {
    super::was_given_up(error).then_some(STALLED)
}

/// How long the payloads of a page are together.
fn length(page: &Page) -> usize {
    page.entries.iter().map(|entry| entry.payload.as_bytes().len()).sum()
}
