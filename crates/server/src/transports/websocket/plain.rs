//! A plain WebSocket on a channel: payloads and nothing else.
//!
//! Every frame of the client is published; every message of the channel, its own included, is sent as
//! one frame. Where a message is missing, which a frame cannot tell, the connection closes.

mod at_rest;
#[cfg(test)]
mod tests;

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use sockeye::{CloseCode, CloseFrame, Message};
use sockeye_hub::{ChannelName, Lease, Page, PayloadRef, Publication, Reader, Source, Start};
use tokio::time::{Sleep, sleep, sleep_until, timeout};

use self::at_rest::AtRest;
use super::frames::{AT_ONCE, Frames, payloads, send_each};
use super::handshake::Handshake;
use super::in_flight::InFlight;
use super::parked::{self, Lots, NotParked, Session};
use super::woken_only::woken_only;
use super::{LAST_MESSAGES, show_closed};
use crate::app::App;
use crate::auth::{Caller, Ending, Ends, Right};
use crate::conn::http2::StreamBudget;
use crate::fanout::{Groups, Membership, Outlet};
use crate::http::problem::{Code, Problem};
use crate::lifecycle::drain::ConnectionGuard;
use crate::limits::pace::Pace;
use crate::limits::peer::Peer;
use crate::metrics::End;
use crate::metrics::connections::{ChannelRead, ConnectionRecord, PublishedBy};
use crate::tap::event::Data;
use crate::transport::Transport;

/// A connection, and what it holds. It has a task as long as there is something to do; while a group delivers to it and
/// its client sends nothing, it is [parked].
struct PlainSession {
    /// While a group delivers. First, so that nothing is delivered any more when the others are dropped.
    membership: Option<Membership>,
    app: Arc<App>,
    caller: Caller,
    reader: Reader,
    channel_read: ChannelRead,
    record: ConnectionRecord,
    guard: ConnectionGuard,
    stream_budget: StreamBudget,
    presence: Option<Lease>,
    incoming: sockeye::Reader,
    outgoing: sockeye::Writer,
    /// What ends it when its token does, or when it may read no more: one for its whole life, since a question that is
    /// under way would begin anew with another.
    ends: Ends<'static>,
    /// Boxed: few servers have such a limit.
    pace: Option<Box<Pace>>,
}

/// Responds to the handshake; the WebSocket is then served in a task of its own.
pub(crate) fn open(
    handshake: Handshake,
    app: &Arc<App>,
    (caller, peer, stream_budget): (Caller, Peer, StreamBudget),
    channel: &ChannelName,
    start: Start,
) -> Result<Response, Problem> {
    // One that reads without a token has nothing to send.
    let config = if caller.is_anonymous() { &app.anonymous_config } else { &app.plain_config };
    let (response, opening) = handshake.accept(app, config, app.deflate.clone())?;
    // Before the response is sent: what is published once the client knows that it is connected reaches
    // it.
    let reader = app.hub.subscribe(channel, start);
    let record = app.register.begin(Transport::Ws, caller.id(), peer);
    let channel_read = record.reads(&reader, start);
    let (presence, guard) = (app.join(channel, caller.id()), app.drain.guard());
    let app = Arc::clone(app);
    tokio::spawn(async move {
        if let Ok(socket) = super::opened(opening).await {
            let (incoming, outgoing) = socket.split();
            incoming.hold_close();
            let session = PlainSession {
                pace: app.message_rate.map(|rate| Box::new(Pace::new(rate))),
                presence,
                membership: None,
                ends: caller.ends_reading(channel_read.channel()),
                app,
                caller,
                reader,
                channel_read,
                record,
                guard,
                stream_budget,
                incoming,
                outgoing,
            };
            // A task of its own, without memory for what the handshake needed.
            tokio::spawn(session.begin());
        }
    });
    Ok(response)
}

/// The code and reason of a Close, and the reason that is counted.
type Closing = (u16, &'static str, End);

/// Messages are missing, and payloads alone cannot tell that.
const MISSING: Closing =
    (4410, "messages are missing: poll, then connect after its position", End::Gap);
const ENDED: Closing = (1000, "the channel has ended", End::Ended);
const RESTARTING: Closing = (1012, "the server restarts: connect again", End::Drain);
const EXPIRED: Closing = (4401, "the token has expired: connect with a fresh one", End::Expired);
const REVOKED: Closing =
    (4401, "the token has been revoked: connect with another one", End::Expired);
const DISCONNECTED: Closing = (4403, "disconnected by an operator", End::Disconnected);
const NOT_ANY_MORE: Closing = (4403, "not allowed to read here any more", End::Expired);
const UNDECIDED: Closing =
    (1013, "it cannot be decided at present who may read here: connect later", End::Expired);
const FORBIDDEN: Closing = (4403, "not allowed to publish here", End::Refused);
const TOO_LARGE: Closing = (1009, "the message is larger than the limit", End::Refused);
/// Without a close frame: the client would not read it.
const STALLED: Closing = (1006, "", End::Stalled);
const UNAVAILABLE: Closing = (1013, "messages cannot be stored at present", End::Refused);
const NO_ROOM: Closing = (1013, "the server has no storage for the message", End::Refused);

/// For so long a connection keeps its task after a message of its client.
const LINGER: Duration = Duration::from_secs(1);

/// What comes of a connection whose task has nothing more to do.
enum Outcome {
    /// It can be parked.
    Idle,
    /// It ends, with a reason to close or because the client has left.
    Ends(Option<Closing>),
}

/// What a connection was given by its client; `None` at its end.
type Received = Option<Result<Message, sockeye::Error>>;

/// Why a connection is not parked.
enum Event {
    Received(Received),
    /// Its token has ended.
    Ends(Ending),
    /// Its task finds out by itself.
    Other,
}

impl Session for PlainSession {
    type Event = Event;
    type AtRest = AtRest;

    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(membership) = &self.membership else { return Poll::Ready(Event::Other) };
        self.record.set_parked(true);
        let is_called = self.record.poll_disconnected(cx).is_ready()
            || membership.poll_has_left(cx).is_ready()
            // The record is called when that begins.
            || self.app.drain.has_begun();
        if is_called {
            return Poll::Ready(Event::Other);
        }
        if let Poll::Ready(ended) = self.ends.poll_unpin(cx) {
            return Poll::Ready(Event::Ends(ended));
        }
        self.incoming.poll_next_unpin(cx).map(Event::Received)
    }

    fn rest(self) -> AtRest {
        AtRest::new(self)
    }

    fn resume(at_rest: AtRest) -> impl Future<Output = ()> + Send {
        Self::look(at_rest)
    }

    fn lots() -> &'static Lots<Self> {
        static LOTS: LazyLock<Lots<PlainSession>> = LazyLock::new(Lots::default);
        &LOTS
    }
}

impl PlainSession {
    /// Serves a new connection.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn begin(self) -> impl Future<Output = ()> + Send {
        async move {
            // Before it came: what it misses from then on, if not merely a deleted history, ends the delivery.
            match self.reader.outlook().is_none() {
                true => Box::pin(self.end(Some(MISSING))).await,
                false => Self::run(NotParked::Busy(self, Event::Other)).await,
            }
        }
    }

    /// Parks one that was woken again, or serves it.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn look(mut at_rest: AtRest) -> impl Future<Output = ()> + Send {
        async move {
            let Some(session) = at_rest.take() else { return };
            match parked::park(session) {
                Ok(()) => {}
                // Boxed: most that are woken have only to look.
                Err(not_parked) => Box::pin(Self::run(not_parked)).await,
            }
        }
    }

    /// Serves one that has something to do, until it is parked, or has ended.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn run(mut not_parked: NotParked<Self>) -> impl Future<Output = ()> + Send {
        async move {
            loop {
                let (mut session, event) = match not_parked {
                    NotParked::Busy(session, event) => (session, event),
                    // This task is about to be dropped.
                    NotParked::RuntimeEnded(_session) => return pending().await,
                };
                let received = match event {
                    Event::Received(received) => Some(received),
                    Event::Ends(ended) => {
                        return Box::pin(session.end(Some(closing(ended)))).await;
                    }
                    Event::Other => None,
                };
                if let Outcome::Ends(ending) = session.serve(received).await {
                    return Box::pin(session.end(ending)).await;
                }
                match parked::park(session) {
                    Ok(()) => return,
                    Err(next) => not_parked = next,
                }
            }
        }
    }

    /// Publishes what arrives and sends what there is, both at once, so that neither waits for a client
    /// that does only the other; until the client leaves, there is a reason to close, or it can be parked.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn serve(&mut self, received: Option<Received>) -> impl Future<Output = Outcome> + Send {
        async move {
            self.record.set_parked(false);
            let progress = Progress::default();
            let mut delivering = pin!(deliver(
                &mut self.reader,
                (&self.channel_read, &self.app.groups, &mut self.membership),
                &mut self.outgoing,
                &progress,
                &self.stream_budget
            ));
            let publishing = pin!(receive(
                (&mut self.incoming, received),
                &self.app,
                &self.caller,
                (&self.channel_read, &mut self.pace),
                &progress
            ));
            Outcome::Ends(tokio::select! {
                biased;
                () = self.guard.close_at() => Some(RESTARTING),
                () = self.record.disconnected() => Some(DISCONNECTED),
                ended = &mut self.ends => Some(closing(ended)),
                ending = &mut delivering => ending,
                // A message that is sent is no reason to poll for one that arrives.
                ending = woken_only(publishing) => match ending {
                    // Boxed: it comes once, and all would have memory for it.
                    None => Box::pin(finish(delivering, &progress)).await,
                    ending => ending,
                },
                () = progress.idle(), if !self.app.drain.has_begun() => return Outcome::Idle,
            })
        }
    }

    /// Ends it, with a reason or because the client has left.
    async fn end(self, ending: Option<Closing>) {
        if let Some((_, _, end)) = ending {
            self.record.ends(end);
        }
        // What still arrives is not published, and a client that is being closed is not present any
        // more.
        drop((self.membership, self.reader, self.channel_read, self.incoming, self.presence));
        if let Some((code, reason, _)) = ending {
            self.record.show_close(code, reason);
            if let Ok(code) = CloseCode::try_from(code)
                && let Ok(frame) = CloseFrame::new(code, reason)
            {
                // Whether the client receives it changes nothing.
                self.outgoing.close(frame).await;
            }
        } else if self.record.is_tapped() {
            Box::pin(show_closed(&self.record, &self.outgoing)).await;
        }
        // The drain waits for connections, and for their log lines.
        drop((self.record, self.guard));
    }
}

/// Publishes every message that arrives. `None` when the client has left.
///
/// The next message does not wait until one is stored, or a connection would publish no more than one
/// per sync of the disk.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
fn receive<'a>(
    (incoming, mut received): (&'a mut sockeye::Reader, Option<Received>),
    app: &'a App,
    caller: &'a Caller,
    (channel_read, pace): (&'a ChannelRead, &'a mut Option<Box<Pace>>),
    progress: &'a Progress,
) -> impl Future<Output = Option<Closing>> + Send + 'a {
    async move {
        let (source, mut in_flight) = (Source::new(), InFlight::none());
        loop {
            if let Some(pause) = pace.as_ref().and_then(|pace| pace.pause()) {
                Box::pin(sleep_until(pause)).await;
            }
            progress.receives.store(in_flight.is_empty() && received.is_none(), Relaxed);
            let message = tokio::select! {
                biased;
                published = in_flight.next() => match published {
                    Ok(_) => continue,
                    Err(problem) => return Some(refusal(&problem)),
                },
                message = next(incoming, &mut received), if in_flight.has_room() => message,
            };
            progress.count_received();
            let message = match message {
                Some(Ok(message)) => message,
                ended => {
                    while let Some(published) = in_flight.rest().await {
                        if let Err(problem) = published {
                            return Some(refusal(&problem));
                        }
                    }
                    return ended.and_then(|ended| lost(&ended.err()?));
                }
            };
            if let Some(pace) = pace {
                pace.count();
            }
            if let Some(turn) = app.publication_turn(caller) {
                turn.await;
            }
            // Before the publication is made: a connection that waits would have memory for it.
            let channel = channel_read.channel();
            if let Some(asking) = caller.asking(Right::Write, channel)
                && let Err(problem) = asking.await
            {
                return Some(refusal(&problem));
            }
            channel_read.show_received(kind(&message), || shown(&message));
            let publication = Publication::of(payload(&message)).source(source);
            let span = app.traces.begin(None, channel, "ws");
            let by = (caller, PublishedBy::Reader(channel_read), span);
            let mut publishing = Box::pin(app.publish(by, channel, publication));
            match publishing.as_mut().now_or_never() {
                Some(Ok(_)) => {}
                Some(Err(problem)) => return Some(refusal(&problem)),
                None => in_flight.add(publishing),
            }
        }
    }
}

/// What was received already, or what comes next.
async fn next(incoming: &mut sockeye::Reader, received: &mut Option<Received>) -> Received {
    match received.take() {
        Some(received) => received,
        None => incoming.recv().await,
    }
}

fn payload(message: &Message) -> PayloadRef<'_> {
    match message {
        Message::Text(text) => PayloadRef::Text(text),
        Message::Binary(bytes) => PayloadRef::Bytes(bytes),
    }
}

fn kind(message: &Message) -> &'static str {
    if message.is_text() { "text" } else { "binary" }
}

/// The message as taps show it.
fn shown(message: &Message) -> Data<'_> {
    match message {
        Message::Text(text) => Data::Text(text),
        Message::Binary(bytes) => Data::Bytes(bytes),
    }
}

fn closing(ending: Ending) -> Closing {
    match ending {
        Ending::Expired => EXPIRED,
        Ending::Revoked => REVOKED,
        Ending::Refused => NOT_ANY_MORE,
        Ending::Undecided => UNDECIDED,
    }
}

fn refusal(problem: &Problem) -> Closing {
    match problem.code() {
        Code::Ended => ENDED,
        Code::TooLarge => TOO_LARGE,
        Code::Forbidden | Code::Unauthorized => FORBIDDEN,
        Code::Unavailable => UNAVAILABLE,
        _ => NO_ROOM,
    }
}

/// What the delivery tells the rest of the connection's task, and is told.
#[derive(Default)]
struct Progress {
    /// Everything that there is was sent.
    waits: AtomicBool,
    /// The connection delivers by itself, without a group, until it ends.
    is_last: AtomicBool,
    /// A group delivers.
    is_member: AtomicBool,
    /// Nothing that the client has sent is still to be published, or is being stored. A message at hand may be taken by a
    /// later poll than the next: a task has a budget.
    receives: AtomicBool,
    /// How many messages the client has sent.
    received: AtomicUsize,
}

impl Progress {
    /// The client has sent something, which is to be published.
    fn count_received(&self) {
        self.receives.store(false, Relaxed);
        self.received.fetch_add(1, Relaxed);
    }

    /// Waits until the connection can be parked. To be polled whenever its task has done everything else.
    async fn idle(&self) {
        let (mut seen, mut timer) = (0, None::<Pin<Box<Sleep>>>);
        poll_fn(|cx| {
            if !self.is_member.load(Relaxed) || !self.receives.load(Relaxed) {
                return Poll::Pending;
            }
            let received = self.received.load(Relaxed);
            // Looked at when the time is over: each message by itself does not set it anew.
            loop {
                let lingers = |timer: &mut Pin<Box<Sleep>>| timer.poll_unpin(cx).is_pending();
                if timer.as_mut().is_some_and(lingers) {
                    return Poll::Pending;
                }
                if received == seen {
                    return Poll::Ready(());
                }
                (seen, timer) = (received, Some(Box::pin(sleep(LINGER))));
            }
        })
        .await;
    }
}

/// Continues to send until there is nothing more: the client has sent its Close, and waits for what was
/// published before it, its own messages included.
async fn finish(
    mut delivering: Pin<&mut impl Future<Output = Option<Closing>>>,
    progress: &Progress,
) -> Option<Closing> {
    progress.is_last.store(true, Relaxed);
    let finishing = poll_fn(|cx| match delivering.as_mut().poll(cx) {
        Poll::Pending if progress.waits.load(Relaxed) => Poll::Ready(None),
        ending => ending,
    });
    timeout(LAST_MESSAGES, finishing).await.unwrap_or_default()
}

/// Sends every message of the channel, and tells whether there is one. `None` when the client has
/// left.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
fn deliver<'a>(
    reader: &'a mut Reader,
    (channel_read, groups, membership): (
        &'a ChannelRead,
        &'a Arc<Groups>,
        &'a mut Option<Membership>,
    ),
    outgoing: &'a mut sockeye::Writer,
    progress: &'a Progress,
    stream_budget: &'a StreamBudget,
) -> impl Future<Output = Option<Closing>> + Send + 'a {
    async move {
        let wire = Frames::of(outgoing).wire();
        let stays_alone = || progress.is_last.load(Relaxed);
        loop {
            // What a stream of HTTP/2 may hold depends on the others of its connection.
            while let Some(wire) = wire.filter(|_| !stays_alone() && !stream_budget.is_limited()) {
                let outlet = || Outlet::Frames(outgoing.clone());
                let joined = membership.take();
                *membership = joined.or_else(|| groups.join((reader, channel_read), wire, outlet));
                let Some(member) = membership else { break };
                progress.is_member.store(true, Relaxed);
                let left = member.ended(stays_alone).await;
                progress.is_member.store(false, Relaxed);
                *membership = None;
                reader.pass(left.offset);
                let Some(page) = left.unwritten else { break };
                // Boxed: it is slow, and all would have memory for it.
                if let Err(error) = Box::pin(outgoing.flush()).await {
                    return lost(&error);
                }
                channel_read.delivered(&page, payloads(&page));
            }
            progress.waits.store(true, Relaxed);
            if stream_budget.is_limited() {
                Box::pin(reader.readable()).await;
                // Now it waits for the budget.
                progress.waits.store(false, Relaxed);
            }
            let (page, made) = stream_budget
                .next_page(
                    reader,
                    AT_ONCE,
                    |page| wire.map(|wire| wire.of(channel_read.channel(), &page.entries)),
                    |page, made| made.as_ref().map_or_else(|| payloads(page), Bytes::len),
                )
                .await;
            progress.waits.store(false, Relaxed);
            // A history that is deleted takes nothing from the client.
            if page.gap.is_some() && reader.has_missed() {
                return Some(MISSING);
            }
            if let Err(ending) = send((page, made), channel_read, outgoing, stream_budget).await {
                return ending;
            }
        }
    }
}

/// Sends a page, whose frames were made unless the connection has its own; or gives why nothing follows.
///
/// A future of its own, so that the page has no memory while the connection waits for it.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
fn send<'a>(
    (page, made): (Page, Option<Bytes>),
    channel_read: &'a ChannelRead,
    outgoing: &'a mut sockeye::Writer,
    stream_budget: &'a StreamBudget,
) -> impl Future<Output = Result<(), Option<Closing>>> + Send + 'a {
    async move {
        let mut sent = match &made {
            Some(frames) => outgoing.send_frames(frames).await,
            // Boxed: few connections do it so, and all would have memory for it.
            None => Box::pin(send_each(&page.entries, outgoing)).await,
        };
        if stream_budget.is_limited() && sent.is_ok() {
            sent = Box::pin(outgoing.flush()).await;
            stream_budget.set(0);
        }
        if let Err(error) = sent {
            return Err(lost(&error));
        }
        channel_read.delivered(&page, payloads(&page));
        if page.end { Err(Some(ENDED)) } else { Ok(()) }
    }
}

/// The reason of a connection that was lost.
fn lost(error: &sockeye::Error) -> Option<Closing> {
    super::was_given_up(error).then_some(STALLED)
}
