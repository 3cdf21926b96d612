//! Streams: one response that continues as messages come, as Server-Sent Events or as NDJSON.
//!
//! A stream is a reader with a cursor, not a queue: it takes a page from the log when the connection
//! has room for more, so a slow client costs no more than a fast one. A message is encoded once for all
//! streams. Over HTTP/1.1 a stream that has all messages is served by a group ([`direct`]).

mod direct;
mod ndjson;
mod sse;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt::Display;
use std::future::pending;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderName, StatusCode, Version};
use sockeye_hub::{
    Budget, ChannelName, Entry, Gap, Lag, Lease, Page, Position, Reader, RunForm, Start,
};
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use self::direct::Direct;
use crate::app::App;
use crate::auth::Caller;
use crate::conn::answer::Answer;
use crate::conn::http2::StreamBudget;
use crate::fanout::{Groups, Membership};
use crate::http::conditional::position_headers;
use crate::http::headers::LAST_EVENT_ID;
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::representation::VARY_ON;
use crate::lifecycle::drain::ConnectionGuard;
use crate::limits::peer::Peer;
use crate::metrics::End;
use crate::metrics::connections::{ChannelRead, ConnectionRecord, Disconnected};
use crate::transport::Transport;
use crate::transports::encode::run_form;

/// What one stream takes from the log at once: all that a client which does not read can keep in memory
/// beyond the log's own time.
pub(crate) const AT_ONCE: Budget = Budget::entries(64).bytes(64 << 10);

/// nginx does not buffer a response with this header.
pub(crate) const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-Sent Events with the payload as data.
    Events,
    /// Server-Sent Events with the whole message as data.
    MetaEvents,
    /// The messages as lines of JSON.
    Lines,
}

/// Responds with a stream from where the request says, or from now on.
pub(crate) fn open(
    app: &App,
    channel: &ChannelName,
    caller: Caller,
    request: &Request,
    form: Form,
) -> Result<Answer, Problem> {
    let start = query::start(request)?.unwrap_or(Start::Now);
    let pad = query::pad(request.uri())?;
    let peer = app.limits.stay(Peer::of(request), &caller)?;
    let reader = app.hub.subscribe(channel, start);
    // After a position in the future it reads what there is: from the beginning.
    let lag = reader.lag();
    let is_ahead =
        matches!(start, Start::After(position) if position > lag.end && lag.gap.is_some());
    let from = match lag.gap {
        None => reader.position(),
        Some(_) => Position { offset: 0, ..lag.end },
    };
    if form != Form::Lines && has_been_told(request, &reader, &lag) {
        // The answer that ends an `EventSource` for good (WHATWG HTML §9.2.2).
        return Ok((StatusCode::NO_CONTENT, position_headers(reader.position())).into());
    }
    caller.opens_events(from, !is_ahead)?;
    let record = app.register.begin(form.transport(), caller.id(), peer);
    let disconnected = record.disconnected();
    let presence = app.join(channel, caller.id());
    let guard = app.drain.guard();
    let at = reader.position();
    let headers = [
        (CONTENT_TYPE, form.content_type().to_owned()),
        (CACHE_CONTROL, "no-store, no-transform".to_owned()),
        (ACCEL_BUFFERING, "no".to_owned()),
        (VARY, VARY_ON.to_owned()),
    ];
    let stream_budget = StreamBudget::of(request);
    let [before, padding, after] = form.padding(pad);
    let opening = vec![before, padding, after, form.opening(request, &at, guard.retry())];
    let is_http1 = matches!(request.version(), Version::HTTP_10 | Version::HTTP_11);
    let live = Live {
        form,
        channel_read: record.reads(&reader, start),
        record,
        reader,
        ready: opening.into_iter(),
        heartbeat: heartbeat(app.heartbeat),
        ending: Box::pin(ending(guard, disconnected, caller, vec![channel.clone()])),
        left: None,
        stream_budget,
        direct: is_http1.then(|| Direct::new(&app.groups)),
        _presence: presence,
    };
    let response = (position_headers(at), headers, live.response()).into_response();
    Ok(Answer::Streaming(response))
}

/// Whether the channel has ended, and the request comes back from there: its `Last-Event-ID` is the id
/// of the end.
fn has_been_told(request: &Request, reader: &Reader, lag: &Lag) -> bool {
    let comes_back = request.headers().contains_key(LAST_EVENT_ID);
    comes_back && lag.ended && lag.gap.is_none() && reader.position() == lag.end
}

/// A stream in progress.
struct Live {
    form: Form,
    reader: Reader,
    channel_read: ChannelRead,
    record: ConnectionRecord,
    /// Bytes to send before the log is read again.
    ready: vec::IntoIter<Bytes>,
    heartbeat: Interval,
    ending: Pin<Box<dyn Future<Output = StreamEnd> + Send>>,
    /// Set when the last bytes are ready; holds the connection until they are sent.
    left: Option<StreamEnd>,
    stream_budget: StreamBudget,
    /// Over HTTP/1.1.
    direct: Option<Direct>,
    _presence: Option<Lease>,
}

impl Live {
    /// The stream as the body of a response.
    fn response(self) -> Response {
        let body_io = self.direct.as_ref().map(|direct| Arc::clone(direct.io()));
        // Boxed: the future of a piece has room for it twice.
        let body = unfold(Box::new(self), async |mut live| {
            let piece = live.next().await?;
            Some((Ok::<_, Infallible>(piece), live))
        });
        let mut response = Response::new(Body::from_stream(body));
        if let Some(body_io) = body_io {
            response.extensions_mut().insert(body_io);
        }
        response
    }

    /// The next bytes to send, as soon as there are any; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.ready.next() {
                Some(piece) if piece.is_empty() => continue,
                Some(piece) => return Some(piece),
                None if self.left.is_some() => return None,
                // An empty list has no memory of its own.
                None => self.ready = Vec::new().into_iter(),
            }
            self.stream_budget.set(0);
            if let Some(member) = self.join() {
                match self.by_group(member).await {
                    Some(piece) => return Some(piece),
                    None => continue,
                }
            }
            let has_company = Groups::are_worthwhile(&self.reader);
            tokio::select! {
                biased;
                ending = &mut self.ending => self.end(ending),
                () = idle(&mut self.direct), if has_company => {}
                (page, pieces) = self.stream_budget.next_page(
                    &mut self.reader,
                    AT_ONCE,
                    |page| self.form.page(page),
                    |_, pieces| length(pieces),
                ) => {
                    self.channel_read.delivered(&page, length(&pieces));
                    self.ready = pieces.into_iter();
                    if page.end {
                        self.leave(StreamEnd::Ended);
                    } else if self.reader.is_over() {
                        self.leave(StreamEnd::TooSlow);
                    }
                }
                _ = self.heartbeat.tick() => return Some(self.form.heartbeat()),
            }
        }
    }

    /// Joins a group, if there is one for the stream.
    fn join(&mut self) -> Option<Membership> {
        self.direct.as_mut()?.join(self.form, (&self.reader, &self.channel_read))
    }

    /// Waits while a group writes the messages. The heartbeat, if it is time for it.
    async fn by_group(&mut self, member: Membership) -> Option<Bytes> {
        let (mut is_time, mut end) = (false, None);
        let left = tokio::select! {
            biased;
            ending = &mut self.ending => { end = Some(ending); None }
            left = member.left() => Some(left),
            _ = self.heartbeat.tick() => { is_time = true; None }
        };
        let left = left.unwrap_or_else(|| member.leave());
        self.reader.pass(left.offset);
        if let (Some(page), Some(direct)) = (left.unwritten, &mut self.direct) {
            let counted = direct.counted(self.form, self.reader.channel(), &page);
            self.channel_read.delivered(&page, counted);
            if end.is_none() && !is_time {
                // The stream is polled again when it is written.
                yield_now().await;
                direct.set_idle();
            }
        }
        end.into_iter().for_each(|ending| self.end(ending));
        is_time.then(|| self.form.heartbeat())
    }

    /// Ends the stream for this reason.
    fn end(&mut self, ending: StreamEnd) {
        self.ready = vec![self.form.last_bytes(&ending)].into_iter();
        self.leave(ending);
    }

    /// Sends what is ready, and nothing after it.
    fn leave(&mut self, ending: StreamEnd) {
        self.record.ends(reason(&ending));
        self.left = Some(ending);
    }
}

/// Waits until all that the stream gave is written, where it can join a group then.
async fn idle(direct: &mut Option<Direct>) {
    match direct {
        Some(direct) => direct.idle().await,
        None => pending().await,
    }
}

fn length(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// Why the server ends a stream.
pub(crate) enum StreamEnd {
    /// The server drains: the client is to reconnect at its own time.
    Restart(ConnectionGuard),
    /// The token has expired: the client reconnects with a fresh one. Or it may not read any more, and is told so
    /// when it reconnects.
    Expired,
    /// An operator has ended it.
    Disconnected,
    /// The client was too slow, and the channel's policy is to close such streams after their gap.
    TooSlow,
    /// The channel has ended, and the client was told so.
    Ended,
}

/// The reason that is counted.
pub(crate) fn reason(ending: &StreamEnd) -> End {
    match ending {
        StreamEnd::Restart(_) => End::Drain,
        StreamEnd::Expired => End::Expired,
        StreamEnd::Disconnected => End::Disconnected,
        StreamEnd::TooSlow => End::Gap,
        StreamEnd::Ended => End::Ended,
    }
}

/// Waits until the server ends the stream.
pub(crate) async fn ending(
    guard: ConnectionGuard,
    disconnected: Disconnected,
    caller: Caller,
    channels: Vec<ChannelName>,
) -> StreamEnd {
    let end = tokio::select! {
        biased;
        () = guard.close_at() => None,
        () = disconnected => Some(StreamEnd::Disconnected),
        _ = caller.ends(&channels) => Some(StreamEnd::Expired),
    };
    end.unwrap_or(StreamEnd::Restart(guard))
}

/// Ticks while the stream is open, so that no proxy closes it as idle.
pub(crate) fn heartbeat(every: Duration) -> Interval {
    let mut heartbeat = interval_at(Instant::now() + every, every);
    // A late tick is as good as two.
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

impl Form {
    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Events | Self::MetaEvents => Transport::Sse,
            Self::Lines => Transport::Ndjson,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Events | Self::MetaEvents => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// Padding of that many bytes: a comment of events, spaces of NDJSON. All streams share it.
    pub(crate) fn padding(self, pad: usize) -> [Bytes; 3] {
        static SPACES: [u8; query::MAX_PAD] = [b' '; query::MAX_PAD];
        let before = match self {
            Self::Events | Self::MetaEvents => ":",
            Self::Lines => "",
        };
        let after = "\n";
        if pad == 0 {
            return [const { Bytes::new() }; 3];
        }
        let spaces = pad.saturating_sub(before.len() + after.len());
        [before.into(), Bytes::from_static(&SPACES[..spaces]), after.into()]
    }

    /// The first bytes.
    pub(crate) fn opening(self, request: &Request, at: &impl Display, retry: Duration) -> Bytes {
        match self {
            Self::Events | Self::MetaEvents => {
                let form = sse::Opening::of(request.headers());
                sse::opening(form, at, retry).into()
            }
            Self::Lines => Bytes::new(),
        }
    }

    /// The gap, if there is one, the messages in one piece, and the end of the channel.
    fn page(self, page: &Page) -> Vec<Bytes> {
        let gap = page.gap.iter().map(|gap| self.gap(gap));
        let messages = page.entries.form(self.run_form(), |entries| self.messages(entries));
        let end = page.end.then(|| self.end(page.at));
        gap.chain(iter::once(messages)).chain(end).collect()
    }

    /// All messages, one after the other.
    fn messages(self, entries: &[Arc<Entry>]) -> Bytes {
        if let [entry] = entries {
            return self.message(entry);
        }
        let messages: Vec<Bytes> = entries.iter().map(|entry| self.message(entry)).collect();
        messages.concat().into()
    }

    fn run_form(self) -> &'static RunForm {
        match self {
            Self::Events => &run_form::EVENTS,
            Self::MetaEvents => &run_form::META_EVENTS,
            Self::Lines => &run_form::LINES,
        }
    }

    /// One message, complete.
    pub(crate) fn message(self, entry: &Entry) -> Bytes {
        match self {
            Self::Events => sse::event(entry),
            Self::MetaEvents => sse::meta_event(entry),
            Self::Lines => crate::transports::encode::line(entry),
        }
    }

    fn gap(self, gap: &Gap) -> Bytes {
        match self {
            Self::Events | Self::MetaEvents => sse::gap(gap).into(),
            Self::Lines => ndjson::gap(gap).into(),
        }
    }

    /// The end of the channel.
    fn end(self, at: Position) -> Bytes {
        match self {
            Self::Events | Self::MetaEvents => sse::end(at).into(),
            Self::Lines => ndjson::end(at).into(),
        }
    }

    /// The keep-alive: a comment (SSE) or an empty line (NDJSON).
    pub(crate) fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Events | Self::MetaEvents => sse::HEARTBEAT,
            Self::Lines => ndjson::HEARTBEAT,
        })
    }

    /// The last bytes, if there are any.
    pub(crate) fn last_bytes(self, ending: &StreamEnd) -> Bytes {
        match (self, ending) {
            (Self::Events | Self::MetaEvents, StreamEnd::Restart(guard)) => {
                sse::last_bytes(guard.retry()).into()
            }
            _ => Bytes::new(),
        }
    }
}
