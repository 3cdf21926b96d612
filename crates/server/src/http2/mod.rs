//! HTTP/2: its limits, and when a connection on which nothing goes on ends.
//!
//! A connection of HTTP/1.1 is at one request, or waits for the head of the next. On one of HTTP/2
//! hundreds of requests and WebSockets go on at once. So whatever goes on holds a [`Stay`], and a
//! connection that nothing holds is sent away as one of HTTP/1.1 would be.

mod room;
mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye::internals::Pending;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use self::room::Room;
pub(crate) use self::room::Share;
pub(crate) use self::stream::Streams;
#[cfg(test)]
pub(crate) use self::stream::{MAX_PIECE, SLOW_PIECE};
use self::stream::{Pieces, Progress};
use crate::drain::Guest;
use crate::metrics::Metrics;
use crate::peer::Routes;
use crate::server::MAX_HEAD;

/// Requests and WebSockets on one connection. With the windows they bound what a client can make
/// the server hold that does not read what came: 200 × 64 KiB, which the connection's window has
/// room for, so that no stream takes the room of another.
const MAX_STREAMS: u32 = 200;
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What is ready to be written on a stream that the client does not read.
const SEND_BUFFER: usize = 16 << 10;

/// Streams that the client has reset before the server came to look at them. More of them are an
/// attack (CVE-2023-44487, Rapid Reset), and end the connection.
const MAX_UNSEEN_RESETS: usize = 20;

/// Streams that the server had to reset because of what the client did on them. More of them are an
/// attack, too (CVE-2025-8671, MadeYouReset).
const MAX_FORCED_RESETS: usize = 100;

/// A client that does not answer a ping so long is gone, whatever goes on.
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2 with the limits of this server. The size of a head bounds the CONTINUATION frames, too
/// (CVE-2024-27316). A stream that makes no progress for `write_timeout` is reset.
pub(crate) fn builder(write_timeout: Duration, metrics: Arc<Metrics>) -> http2::Builder<Streams> {
    let mut http = http2::Builder::new(Streams::new(write_timeout, metrics));
    http.timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        .max_local_error_reset_streams(MAX_FORCED_RESETS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    http
}

/// Drives one connection to its end. It is told to go (GOAWAY) when the server drains, or when
/// nothing has gone on for `idle_limit`; what goes on then is finished. Before its first request it may
/// have to make room for another.
pub(crate) async fn serve(
    http: http2::Builder<Streams>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Routes,
    StreamLimits { idle: idle_limit, write, buffer, metrics }: StreamLimits,
    guest: Guest,
    pending: Pending,
) {
    let routes = Routes { peer: routes.peer.sharing(), ..routes };
    let activity = Arc::new(Activity(watch::Sender::new(0)));
    let stays = Arc::clone(&activity);
    let room = Room::new(buffer, metrics);
    let pending = Arc::new(pending);
    let first = Arc::clone(&pending);
    let answer = service_fn(move |request| {
        first.settle();
        answer(routes.clone(), request, Arc::clone(&stays), Arc::clone(&room), write)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(io), answer));
    let mut ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = guest.told_to_leave() => None,
        () = activity.ceased(idle_limit) => None,
        () = pending.evicted() => return,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        ended = tokio::select! {
            ended = connection => Some(ended),
            // It does not go by itself.
            () = activity.ceased(idle_limit) => None,
            () = async { sleep_until(guest.told_to_leave().await).await } => None,
        };
    }
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "connection broke");
    }
}

/// What holds for one connection.
#[derive(Clone, Debug)]
pub(crate) struct StreamLimits {
    /// How long it may be idle.
    pub(crate) idle: Duration,
    /// How long a stream may make no progress.
    pub(crate) write: Duration,
    /// How many bytes its streams may hold together before more is made for one of them.
    pub(crate) buffer: usize,
    pub(crate) metrics: Arc<Metrics>,
}

/// Answers a request, which holds the connection until its answer's last byte.
fn answer(
    routes: Routes,
    mut request: Request<Incoming>,
    activity: Arc<Activity>,
    room: Arc<Room>,
    write_timeout: Duration,
) -> impl Future<Output = Result<Response<Pieces>, Infallible>> {
    // From the request on, not from when its task first runs.
    let busy = activity.begin();
    async move {
        let stay = Stay::new(busy);
        let routes = Routes { peer: routes.peer.on(stay.progress.given_up()), ..routes };
        let share = room.share();
        request.extensions_mut().insert(share.clone());
        let response = STAY.scope(stay.clone(), routes.call(request)).await?;
        Ok(response.map(|body| Pieces::new(body, write_timeout, share, stay)))
    }
}

/// How many requests and WebSockets go on on one connection.
#[derive(Debug)]
struct Activity(watch::Sender<usize>);

impl Activity {
    fn begin(self: &Arc<Self>) -> Busy {
        self.0.send_modify(|count| *count += 1);
        Busy(Arc::clone(self))
    }

    /// Waits until nothing has gone on for this long.
    async fn ceased(&self, limit: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender is `self`, so it is not gone.
            if *count.borrow_and_update() > 0 {
                let _ = count.changed().await;
            } else if timeout(limit, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

tokio::task_local! {
    /// What the request that is being answered holds.
    static STAY: Stay;
}

/// Counts for a connection as something that goes on.
#[derive(Debug)]
struct Busy(Arc<Activity>);

impl Clone for Busy {
    fn clone(&self) -> Self {
        self.0.begin()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Keeps a connection open that others share, and the stream on which something goes on.
#[derive(Debug)]
pub(crate) struct Stay {
    busy: Busy,
    progress: Arc<Progress>,
}

impl Stay {
    /// On the stream whose future is polled.
    fn new(busy: Busy) -> Self {
        Self::on(Progress::current(), busy)
    }

    fn on(progress: Arc<Progress>, busy: Busy) -> Self {
        progress.hold();
        Self { busy, progress }
    }

    /// Another hold of the connection that the request being answered came on; `None` where a
    /// connection is not shared.
    pub(crate) fn current() -> Option<Self> {
        STAY.try_with(Self::clone).ok()
    }
}

impl Clone for Stay {
    fn clone(&self) -> Self {
        Self::on(Arc::clone(&self.progress), self.busy.clone())
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.progress.release();
    }
}
