//! HTTP/2: its limits, and when an idle connection ends.
//!
//! An HTTP/1.1 connection has one request, or waits for the head of the next. An HTTP/2 connection has
//! hundreds of requests and WebSockets at once. Each of them holds an [`ActivityGuard`], and a
//! connection without any is idle, and closed as one of HTTP/1.1 would be.

mod send_budget;
mod stream;
#[cfg(test)]
#[cfg(feature = "prometheus")]
mod tests;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye::internals::limit_http2;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep_until;

use self::send_budget::SendBudget;
pub(crate) use self::send_budget::StreamBudget;
use self::stream::Pieces;
pub(crate) use self::stream::Streams;
#[cfg(test)]
pub(crate) use self::stream::{MAX_PIECE, SLOW_PIECE};
use crate::conn::MAX_HEAD;
use crate::conn::service::Routes;
use crate::lifecycle::activity::{Activity, ActivityGuard};
use crate::lifecycle::drain::ConnectionGuard;
use crate::metrics::Metrics;
use crate::net::write_deadline::{IoState, WriteDeadline};

/// HTTP/2 with the limits of this server. A stream without progress for `write_timeout` is reset.
pub(crate) fn builder(write_timeout: Duration, metrics: Arc<Metrics>) -> http2::Builder<Streams> {
    let mut http = http2::Builder::new(Streams::new(write_timeout, metrics));
    limit_http2!(http.timer(TokioTimer::new()), MAX_HEAD as u32);
    http
}

/// Drives one connection to its end. It gets GOAWAY when the server drains, or when it has been idle
/// for `idle_limit`; requests in progress are finished. While it is idle it may be evicted for another.
pub(crate) async fn serve(
    http: http2::Builder<Streams>,
    io: WriteDeadline<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    routes: Routes,
    StreamLimits { idle: idle_limit, write, buffer, metrics }: StreamLimits,
    guard: ConnectionGuard,
) {
    let routes = Routes { peer: routes.peer.sharing(), ..routes };
    let activity = Activity::new();
    let counting = Arc::clone(&activity);
    let budget = SendBudget::new(buffer, metrics);
    let shared = Arc::clone(io.shared());
    let asked = Arc::clone(&shared);
    let answer = service_fn(move |request| {
        let is_kept = asked.settle();
        let (activity, budget) = (Arc::clone(&counting), Arc::clone(&budget));
        answer(routes.clone(), request, activity, budget, write, is_kept)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(io), answer));
    let ended = tokio::select! {
        ended = or_evicted(connection.as_mut(), &activity, &shared) => Some(ended),
        _ = guard.draining() => None,
        () = activity.ceased(idle_limit) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = or_evicted(connection.as_mut(), &activity, &shared) => ended,
                // The client does not close it.
                () = activity.ceased(idle_limit) => return,
                () = async { sleep_until(guard.draining().await).await } => return,
            }
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "connection failed"),
        None => {
            // The client gets GOAWAY, if it reads it at once.
            connection.as_mut().graceful_shutdown();
            let _ = connection.now_or_never();
        }
    }
}

/// Drives the connection to its end; `None` if it is evicted. Its task is woken when it becomes idle.
async fn or_evicted<C: Future>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    shared: &IoState,
) -> Option<C::Output> {
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => {
            if activity.has_ceased() {
                shared.await_head();
            }
            shared.poll_evicted(cx).map(|()| None)
        }
    })
    .await
}

/// The limits of one connection.
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

/// Answers a request; the response holds the connection until its last byte. A request on a
/// connection that is being evicted would get no response: it is not carried out.
fn answer(
    routes: Routes,
    mut request: Request<Incoming>,
    activity: Arc<Activity>,
    budget: Arc<SendBudget>,
    write_timeout: Duration,
    is_kept: bool,
) -> impl Future<Output = Result<Response<Pieces>, Infallible>> {
    // From the request on, not from when its task first runs.
    let count = activity.begin();
    async move {
        if !is_kept {
            // The stream ends with the connection.
            return std::future::pending().await;
        }
        let activity_guard = ActivityGuard::new(count);
        let routes = Routes { peer: routes.peer.on(activity_guard.marks()), ..routes };
        let stream_budget = budget.stream_budget();
        request.extensions_mut().insert(stream_budget.clone());
        let answering = routes.call(request);
        let responding = async { answering.await.response().await };
        let response = activity_guard.clone().scope(responding).await;
        Ok(response.map(|body| Pieces::new(body, write_timeout, stream_budget, activity_guard)))
    }
}
