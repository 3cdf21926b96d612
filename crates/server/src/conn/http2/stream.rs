//! One HTTP/2 stream: its response is sent in small pieces, and the stream is reset when it makes no
//! progress for too long.
//!
//! hyper hands a frame of a body to h2 whole as soon as the window has room for one byte of it, and
//! forgets a stream when the last frame is handed over; what exceeds the window then waits in h2 for
//! ever. So the pieces are small, and the last byte is a piece of its own, which h2 accepts only when
//! everything before it has a window. Until then the stream's future lives. It knows since when a piece
//! waits, and dropping it resets the stream (RFC 9113 §5.4.2) and discards what waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::send_budget::StreamBudget;
use crate::lifecycle::activity::{ActivityGuard, StreamProgress};
use crate::metrics::Metrics;

/// The first piece of a response, in bytes; each next one is twice as large.
const FIRST_PIECE: usize = 1 << 10;
pub(crate) const MAX_PIECE: usize = 8 << 10;

/// A piece after a slow one: progress is seen piece by piece, and a client that reads a few bytes now
/// and then makes some.
pub(crate) const SLOW_PIECE: usize = 16;

/// A piece is slow if it takes more than this fraction of the deadline.
const SLOW_FRACTION: u32 = 8;

/// Spawns the future of each stream, with a deadline for its progress.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    limit: Duration,
    metrics: Arc<Metrics>,
}

impl Streams {
    pub(super) fn new(limit: Duration, metrics: Arc<Metrics>) -> Self {
        Self { limit, metrics }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    /// hyper calls this for a stream, and from within that stream's future for the WebSocket that the
    /// stream becomes.
    fn execute(&self, future: F) {
        self.metrics.stream_opened();
        let streams = self.clone();
        tokio::spawn(Stream {
            future: Box::pin(future),
            progress: StreamProgress::current(),
            deadline: None,
            streams,
        });
    }
}

/// The future of one stream. It ends with the stream, or at the deadline.
struct Stream<F> {
    future: Pin<Box<F>>,
    progress: Arc<StreamProgress>,
    /// Made when the stream first waits for the client.
    deadline: Option<Pin<Box<Sleep>>>,
    streams: Streams,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { future, progress, deadline, streams } = &mut *self;
        let poll = progress.poll(cx, |cx| future.as_mut().poll(cx));
        if poll.is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = *progress.stalled() else { return Poll::Pending };
        let at = since + streams.limit;
        let timer = deadline.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        progress.give_up();
        streams.metrics.stream_given_up();
        tracing::debug!("stream reset: the client does not read it");
        Poll::Ready(())
    }
}

impl<F> Drop for Stream<F> {
    fn drop(&mut self) {
        self.streams.metrics.stream_closed();
    }
}

/// A body in pieces. It keeps its connection open.
pub(super) struct Pieces {
    body: Body,
    /// What was taken from the body and is still to be sent.
    rest: Bytes,
    /// How large the next piece may be.
    size: usize,
    /// When the last piece was handed over, and after how long it is slow.
    handed: Option<Instant>,
    slow: Duration,
    progress: Arc<StreamProgress>,
    _stream_budget: StreamBudget,
    _activity: ActivityGuard,
}

impl Pieces {
    /// `limit` is the deadline of the stream.
    pub(super) fn new(
        body: Body,
        limit: Duration,
        stream_budget: StreamBudget,
        activity_guard: ActivityGuard,
    ) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            size: FIRST_PIECE,
            handed: None,
            slow: limit / SLOW_FRACTION,
            progress: StreamProgress::current(),
            _stream_budget: stream_budget,
            _activity: activity_guard,
        }
    }

    /// The next piece of what there is.
    fn piece(&mut self) -> Bytes {
        let is_last = self.body.is_end_stream();
        let most = if is_last { self.rest.len().saturating_sub(1).max(1) } else { self.rest.len() };
        self.handed = Some(Instant::now());
        *self.progress.stalled() = self.handed;
        self.rest.split_to(self.size.min(most))
    }

    /// The last piece was accepted: the size of the next one follows from how long that took.
    fn is_taken(&mut self) {
        let Some(handed) = self.handed.take() else { return };
        *self.progress.stalled() = None;
        self.size = match handed.elapsed() >= self.slow {
            true => SLOW_PIECE,
            false => (self.size * 2).min(MAX_PIECE),
        };
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    /// hyper asks when h2 has accepted the piece before.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_taken();
        while self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}
