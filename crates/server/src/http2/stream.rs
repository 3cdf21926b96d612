//! One stream of HTTP/2: its answer goes out in small pieces, and the stream is reset when it makes
//! no progress for too long.
//!
//! hyper hands a frame of a body to h2 whole as soon as the window has room for one byte of it, and
//! forgets a stream when the last frame is handed over; what the window has no room for then waits
//! in h2 for ever. So the pieces are small, and the last byte is a piece of its own, which h2 takes
//! only when everything before it has a window. Until then the stream's future lives. It sees since
//! when a piece waits, and dropping it resets the stream (RFC 9113 §5.4.2) and discards what waits.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Stay;
use super::room::Share;
use crate::impatient::GivenUp;
use crate::metrics::Metrics;

/// The first piece of an answer, in bytes; the next ones are larger, each twice the one before.
const FIRST_PIECE: usize = 1 << 10;
pub(crate) const MAX_PIECE: usize = 8 << 10;

/// A piece after one that was taken slowly: progress shows piece by piece, and a client that takes
/// a few bytes now and then does make some.
pub(crate) const SLOW_PIECE: usize = 16;

/// A piece is taken slowly if that takes more than this fraction of the deadline.
const SLOW_FRACTION: u32 = 8;

tokio::task_local! {
    /// The stream whose future is polled.
    static CURRENT: Arc<Progress>;
}

/// What is known of one stream, shared by its future and by whatever answers on it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Since when the stream waits for the client.
    stalled: Mutex<Option<Instant>>,
    /// Requests, bodies and WebSockets on the stream.
    holders: AtomicUsize,
    /// The task of the stream's future.
    task: AtomicWaker,
    given_up: GivenUp,
}

impl Progress {
    /// That of the stream whose future is polled.
    pub(super) fn current() -> Arc<Self> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }

    /// Whether the stream was given up.
    pub(super) fn given_up(&self) -> GivenUp {
        self.given_up.clone()
    }

    pub(super) fn hold(&self) {
        self.holders.fetch_add(1, AcqRel);
    }

    /// With the last holder gone nothing more is written; what was written is left to be taken.
    pub(super) fn release(&self) {
        if self.holders.fetch_sub(1, AcqRel) == 1 {
            self.stalled().get_or_insert_with(Instant::now);
            self.task.wake();
        }
    }

    fn stalled(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spawns what hyper makes of each stream, with a deadline for its progress.
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
    /// hyper calls this for a stream, and from within that stream's future for the WebSocket that
    /// the stream becomes.
    fn execute(&self, future: F) {
        self.metrics.stream_opened();
        let streams = self.clone();
        tokio::spawn(Stream {
            future: Box::pin(future),
            progress: Progress::current(),
            deadline: None,
            streams,
        });
    }
}

/// The future of one stream. It ends with the stream, or when the deadline has passed.
struct Stream<F> {
    future: Pin<Box<F>>,
    progress: Arc<Progress>,
    /// Made when the stream first waits for the client.
    deadline: Option<Pin<Box<Sleep>>>,
    streams: Streams,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { future, progress, deadline, streams } = &mut *self;
        progress.task.register(cx.waker());
        let poll = CURRENT.sync_scope(Arc::clone(progress), || future.as_mut().poll(cx));
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
        progress.given_up.set();
        streams.metrics.stream_given_up();
        tracing::debug!("a stream was reset: the client does not read it");
        Poll::Ready(())
    }
}

impl<F> Drop for Stream<F> {
    fn drop(&mut self) {
        self.streams.metrics.stream_closed();
    }
}

/// A body in pieces. It holds its connection.
pub(super) struct Pieces {
    body: Body,
    /// What was taken from the body and is still to be handed on.
    rest: Bytes,
    /// How large the next piece may be.
    size: usize,
    /// When the last piece was handed on, and for how long it may wait until it was taken slowly.
    handed: Option<Instant>,
    slow: Duration,
    progress: Arc<Progress>,
    _share: Share,
    _stay: Stay,
}

impl Pieces {
    /// `limit` is the deadline of the stream.
    pub(super) fn new(body: Body, limit: Duration, share: Share, stay: Stay) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            size: FIRST_PIECE,
            handed: None,
            slow: limit / SLOW_FRACTION,
            progress: Progress::current(),
            _share: share,
            _stay: stay,
        }
    }

    /// The next piece of what is there.
    fn piece(&mut self) -> Bytes {
        let is_last = self.body.is_end_stream();
        let most = if is_last { self.rest.len().saturating_sub(1).max(1) } else { self.rest.len() };
        self.handed = Some(Instant::now());
        *self.progress.stalled() = self.handed;
        self.rest.split_to(self.size.min(most))
    }

    /// The last piece was taken: the next one is as the client was fast.
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

    /// hyper asks when h2 has taken what it was given before.
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
