//! Streams: one answer that goes on as messages come, as Server-Sent Events or as JSON lines.
//!
//! A stream is a reader with a cursor, not a queue: it takes a page from the log when the
//! connection has room for more, so a client that reads slowly costs no more than one that does
//! not. What is sent was made once for all who read it.

mod events;
mod lines;

use std::convert::Infallible;
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
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY};
use sockeye_hub::{Budget, ChannelName, Entry, Gap, Lease, Page, Position, Reader, Start};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::aside::Aside;
use crate::auth::Caller;
use crate::drain::Guest;
use crate::http2::Share;
use crate::listen::VARY_ON;
use crate::message::run_slot;
use crate::metrics::{End, Transport};
use crate::peer::Peer;
use crate::poll::etag;
use crate::problem::Problem;
use crate::query;
use crate::router::App;
use crate::visit::{Reading, Visit};

/// What one stream takes from the log at once: all that a client which does not read can keep in
/// memory beyond the log's own time.
pub(crate) const AT_ONCE: Budget = Budget { entries: 64, bytes: 64 << 10 };

/// nginx passes on at once what comes with this, and does not collect it first.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-Sent Events with the payload as data.
    Events,
    /// Server-Sent Events with the whole message as data.
    MetaEvents,
    /// The messages as lines of JSON.
    Lines,
}

/// Answers with a stream from where the request says, or from now on.
pub(crate) fn open(
    app: &App,
    channel: &ChannelName,
    caller: Caller,
    request: &Request,
    form: Form,
) -> Result<Response, Problem> {
    let start = query::start(request)?.unwrap_or(Start::Now);
    let pad = query::pad(request.uri())?;
    let peer = app.limits.stay(Peer::of(request))?;
    let reader = app.hub.subscribe(channel, start);
    // A position that is still to come reads what there is: from the beginning.
    let is_ahead = matches!(start, Start::After(position) if position.epoch == app.hub.epoch()
        && position.offset > reader.lag().end.offset);
    let from = match reader.lag().gap {
        None => reader.position(),
        Some(_) => Position { epoch: app.hub.epoch(), offset: 0 },
    };
    caller.opens_events(from, !is_ahead)?;
    let visit = app.visits.begin(form.transport(), &caller, peer);
    let presence = app.hub.join(channel, caller.id());
    let guest = app.drain.admit();
    let at = reader.position();
    let headers = [
        (CONTENT_TYPE, form.content_type().to_owned()),
        (CACHE_CONTROL, "no-store, no-transform".to_owned()),
        (ACCEL_BUFFERING, "no".to_owned()),
        (ETAG, etag(at)),
        (VARY, VARY_ON.to_owned()),
    ];
    Aside::of(request).ask();
    let share = Share::of(request);
    let [before, padding, after] = form.padding(pad);
    let opening = vec![before, padding, after, form.opening(request, at, guest.retry())];
    let live = Live {
        form,
        reading: visit.reads(&reader, start),
        visit,
        reader,
        ready: opening.into_iter(),
        heartbeat: heartbeat(app.heartbeat),
        ending: Box::pin(ending(guest, caller)),
        left: None,
        share,
        _presence: presence,
    };
    let body = unfold(live, async |mut live| {
        let piece = live.next().await?;
        Some((Ok::<_, Infallible>(piece), live))
    });
    Ok((headers, Body::from_stream(body)).into_response())
}

/// One stream under way.
struct Live {
    form: Form,
    reader: Reader,
    reading: Reading,
    visit: Visit,
    /// What is to be sent before the log is asked for more.
    ready: vec::IntoIter<Bytes>,
    heartbeat: Interval,
    ending: Pin<Box<dyn Future<Output = Ending> + Send>>,
    /// Held from the farewell on, so that the server waits until that has been sent.
    left: Option<Ending>,
    share: Share,
    _presence: Lease,
}

impl Live {
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
            self.share.set(0);
            tokio::select! {
                biased;
                ending = &mut self.ending => {
                    self.ready = vec![self.form.farewell(&ending)].into_iter();
                    self.leave(ending);
                }
                (page, pieces) = self.share.next_page(
                    &mut self.reader,
                    AT_ONCE,
                    |page| self.form.page(page),
                    |_, pieces| length(pieces),
                ) => {
                    self.reading.delivered(&page, length(&pieces));
                    self.ready = pieces.into_iter();
                    if self.reader.is_over() {
                        self.leave(Ending::TooSlow);
                    }
                }
                _ = self.heartbeat.tick() => return Some(self.form.heartbeat()),
            }
        }
    }

    /// Nothing more than what is ready is sent.
    fn leave(&mut self, ending: Ending) {
        self.visit.ends(match ending {
            Ending::Restart(_) => End::Drain,
            Ending::Expired => End::Expired,
            Ending::TooSlow => End::Gap,
        });
        self.left = Some(ending);
    }
}

fn length(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// Why the server ends a stream.
enum Ending {
    /// It stops: the client is to come back in its own time.
    Restart(Guest),
    /// What the client was given has expired: it comes back with a fresh token or not at all.
    Expired,
    /// The client was too slow, and the channel's policy is to cut such off after their gap.
    TooSlow,
}

async fn ending(guest: Guest, caller: Caller) -> Ending {
    let expired = tokio::select! {
        biased;
        () = guest.turn_to_leave() => false,
        () = caller.expired() => true,
    };
    if expired { Ending::Expired } else { Ending::Restart(guest) }
}

/// Ticks while the stream lives, so that nobody between here and the client thinks it dead.
fn heartbeat(every: Duration) -> Interval {
    let mut heartbeat = interval_at(Instant::now() + every, every);
    // One that is late says as much as two.
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

impl Form {
    fn transport(self) -> Transport {
        match self {
            Self::Events | Self::MetaEvents => Transport::Events,
            Self::Lines => Transport::Lines,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Events | Self::MetaEvents => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// So many bytes that mean nothing: a comment of events, spaces of JSON lines. All streams have
    /// the same.
    fn padding(self, pad: usize) -> [Bytes; 3] {
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

    /// What comes first.
    fn opening(self, request: &Request, at: Position, retry: Duration) -> Bytes {
        match self {
            Self::Events | Self::MetaEvents => {
                let form = events::Opening::of(request.headers());
                events::opening(form, at, retry).into()
            }
            Self::Lines => Bytes::new(),
        }
    }

    /// The gap, if there is one, and the messages in one piece.
    fn page(self, page: &Page) -> Vec<Bytes> {
        let gap = page.gap.iter().map(|gap| self.gap(gap));
        let messages = page.entries.form(self.slot(), |entries| self.messages(entries));
        gap.chain(iter::once(messages)).collect()
    }

    /// All of them, one behind the other.
    fn messages(self, entries: &[Arc<Entry>]) -> Bytes {
        if let [entry] = entries {
            return self.message(entry);
        }
        let messages: Vec<Bytes> = entries.iter().map(|entry| self.message(entry)).collect();
        messages.concat().into()
    }

    fn slot(self) -> u8 {
        match self {
            Self::Events => run_slot::EVENTS,
            Self::MetaEvents => run_slot::META_EVENTS,
            Self::Lines => run_slot::LINES,
        }
    }

    /// One message, with its end.
    pub(crate) fn message(self, entry: &Entry) -> Bytes {
        match self {
            Self::Events => events::event(entry),
            Self::MetaEvents => events::meta_event(entry),
            Self::Lines => crate::message::line(entry),
        }
    }

    fn gap(self, gap: &Gap) -> Bytes {
        match self {
            Self::Events | Self::MetaEvents => events::gap(gap).into(),
            Self::Lines => lines::gap(gap).into(),
        }
    }

    /// What says nothing but that the stream lives.
    fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Events | Self::MetaEvents => events::HEARTBEAT,
            Self::Lines => lines::HEARTBEAT,
        })
    }

    /// What comes last; possibly nothing.
    fn farewell(self, ending: &Ending) -> Bytes {
        match (self, ending) {
            (Self::Events | Self::MetaEvents, Ending::Restart(guest)) => {
                events::farewell(guest.retry()).into()
            }
            _ => Bytes::new(),
        }
    }
}
