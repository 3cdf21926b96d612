//! Streams of several channels: Server-Sent Events and NDJSON. The channels take turns.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use sockeye_hub::{ChannelName, Entry, Lease, Page, Payload, Position, Reader, Start};
use tokio::task::consume_budget;
use tokio::time::Interval;

use super::{Reading, has_been_told, readable};
use crate::app::App;
use crate::auth::Caller;
use crate::conn::answer::Answer;
use crate::conn::http2::StreamBudget;
use crate::http::composite::Composite;
use crate::http::conditional::composite_headers;
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::representation::VARY_ON;
use crate::limits::peer::Peer;
use crate::metrics::connections::{ChannelRead, ConnectionRecord};
use crate::transports::stream::{
    ACCEL_BUFFERING, AT_ONCE, Form, StreamEnd, ending, heartbeat, reason,
};

/// Responds with a stream from where the request says, or from now on.
pub(crate) fn open(
    app: &App,
    reading: Reading,
    caller: Caller,
    request: &Request,
    form: Form,
) -> Result<Answer, Problem> {
    let pad = query::pad(request.uri())?;
    let peer = app.limits.stay(Peer::of(request), &caller)?;
    let channels = &reading.channels;
    let starts = reading.starts.unwrap_or_else(|| vec![Start::Now; channels.len()]);
    let begin = |(channel, start): (&ChannelName, &Start)| app.hub.subscribe(channel, *start);
    let readers: Vec<_> = channels.iter().zip(&starts).map(begin).collect();
    let at = Composite(readers.iter().map(Reader::position).collect());
    if form != Form::Lines && reading.comes_back && readers.iter().all(has_been_told) {
        // The answer that ends an `EventSource` for good (WHATWG HTML §9.2.2).
        return Ok((StatusCode::NO_CONTENT, composite_headers(&at)).into());
    }
    let record = app.register.begin(form.transport(), caller.id(), peer);
    let reads = readers.iter().zip(&starts).map(|(reader, start)| record.reads(reader, *start));
    let (guard, disconnected) = (app.drain.guard(), record.disconnected());
    let headers = [
        (CONTENT_TYPE, form.content_type()),
        (CACHE_CONTROL, "no-store, no-transform"),
        (ACCEL_BUFFERING, "no"),
        (VARY, VARY_ON),
    ];
    let [before, padding, after] = form.padding(pad);
    let opening = form.opening(request, &at, guard.retry());
    let live = Live {
        turns: Turns { form, reads: reads.collect(), readers, at: at.clone(), next: 0 },
        _presence: channels.iter().map(|channel| app.join(channel, caller.id())).collect(),
        record,
        ready: vec![before, padding, after, opening].into_iter(),
        heartbeat: heartbeat(app.heartbeat),
        ending: Box::pin(ending(guard, disconnected, caller, channels.clone())),
        left: None,
        stream_budget: StreamBudget::of(request),
    };
    let body = unfold(live, async |mut live| {
        let piece = live.next().await?;
        Some((Ok::<_, Infallible>(piece), live))
    });
    let response = (composite_headers(&at), headers, Body::from_stream(body)).into_response();
    Ok(Answer::Streaming(response))
}

/// A stream in progress.
struct Live {
    turns: Turns,
    record: ConnectionRecord,
    /// Bytes to send before the logs are read again.
    ready: std::vec::IntoIter<Bytes>,
    heartbeat: Interval,
    ending: Pin<Box<dyn Future<Output = StreamEnd> + Send>>,
    /// Set when the last bytes are ready; holds the connection until they are sent.
    left: Option<StreamEnd>,
    stream_budget: StreamBudget,
    _presence: Vec<Option<Lease>>,
}

/// The readers, and where they stand.
struct Turns {
    form: Form,
    readers: Vec<Reader>,
    reads: Vec<ChannelRead>,
    at: Composite,
    /// Whose turn it is.
    next: usize,
}

impl Live {
    /// The next bytes to send, as soon as there are any; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.ready.next() {
                Some(piece) if piece.is_empty() => continue,
                Some(piece) => return Some(piece),
                None if self.left.is_some() => return None,
                None => {}
            }
            self.stream_budget.set(0);
            tokio::select! {
                biased;
                ending = &mut self.ending => {
                    self.ready = vec![self.turns.form.last_bytes(&ending)].into_iter();
                    self.leave(ending);
                }
                piece = self.turns.next_piece(&self.stream_budget) => {
                    self.ready = vec![piece].into_iter();
                    if let Some(ending) = self.turns.ending() {
                        self.leave(ending);
                    }
                }
                _ = self.heartbeat.tick() => return Some(self.turns.form.heartbeat()),
            }
        }
    }

    /// Sends what is ready, and nothing after it.
    fn leave(&mut self, ending: StreamEnd) {
        self.record.ends(reason(&ending));
        self.left = Some(ending);
    }
}

impl Turns {
    /// What the next channel has to say. Cancel-safe, as waiting for a reader is.
    async fn next_piece(&mut self, stream_budget: &StreamBudget) -> Bytes {
        loop {
            consume_budget().await;
            readable(&self.readers).await;
            let length = |piece: &Option<Bytes>| piece.as_ref().map_or(0, Bytes::len);
            if let Some(piece) = stream_budget.make(|| self.piece(), length).await {
                return piece;
            }
        }
    }

    fn piece(&mut self) -> Option<Bytes> {
        let count = self.readers.len();
        for index in (self.next..count).chain(0..self.next) {
            if let Some(page) = self.readers[index].try_next_page(AT_ONCE) {
                self.next = (index + 1) % count;
                let piece = self.encode(index, &page);
                self.reads[index].delivered(&page, piece.len());
                return Some(piece.into());
            }
        }
        None
    }

    /// A page of one channel. What follows each part of it is after the composite position with it.
    fn encode(&mut self, index: usize, page: &Page) -> String {
        let channel = self.readers[index].channel().clone();
        let mut text = String::new();
        if let Some(gap) = &page.gap {
            self.put(&mut text, (index, gap.next), "gap", &super::gap(&channel, gap));
        }
        for entry in &page.entries {
            let message = super::message(&channel, entry);
            self.put(&mut text, (index, entry.position), name(entry), &message);
        }
        if page.end {
            self.put(&mut text, (index, page.at), "end", &super::end(&channel, page.at));
        }
        text
    }

    /// Writes one event or line.
    fn put(&mut self, text: &mut String, (index, at): (usize, Position), name: &str, json: &str) {
        self.at.0[index] = at;
        let id = self.at.to_string();
        // Writing to a string does not fail.
        let _ = match (self.form, name) {
            (Form::Lines, _) => writeln!(text, "{}", super::with_id(&id, json)),
            (_, "") => writeln!(text, "id: {id}\ndata: {json}\n"),
            (_, name) => writeln!(text, "id: {id}\nevent: {name}\ndata: {json}\n"),
        };
    }

    /// Why the stream ends, if it does: all channels have ended, or the policy of one is to end it.
    fn ending(&self) -> Option<StreamEnd> {
        let is_slow = |reader: &Reader| reader.is_over() && !reader.has_ended();
        if self.readers.iter().any(is_slow) {
            return Some(StreamEnd::TooSlow);
        }
        self.readers.iter().all(Reader::is_over).then_some(StreamEnd::Ended)
    }
}

/// The name of the event, as in a stream of one channel.
fn name(entry: &Entry) -> &str {
    match (&entry.payload, &entry.event) {
        (Payload::Bytes(_), _) => "binary",
        (_, Some(name)) => name.as_str(),
        (_, None) => "",
    }
}
