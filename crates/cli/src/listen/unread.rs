//! Answers that a client does not read. A stream of HTTP/2 is reset by itself: the others of its connection go on. Over
//! HTTP/1.1 the system cuts the connection off (`TCP_USER_TIMEOUT`).

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::{
    body::{Frame, SizeHint},
    rt::Executor,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::http::Body;

tokio::task_local! {
    /// The stream that the task serves.
    static STREAM: Arc<Taken>;
}

/// Serves each stream of HTTP/2 in a task of its own, which ends when nothing of its answer is taken for this long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams(pub(super) Duration);

impl<S> Executor<S> for Streams
where
    S: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: S) {
        let (taken, limit) = (Arc::<Taken>::default(), self.0);
        tokio::spawn(STREAM.scope(Arc::clone(&taken), async move {
            tokio::select! {
                _ = stream => {}
                // A stream that is dropped is reset.
                () = taken.nothing_for(limit) => {}
            }
        }));
    }
}

/// When something of an answer was taken last.
#[derive(Debug, Default)]
struct Taken {
    last: Mutex<Option<Instant>>,
    begun: Notify,
}

impl Taken {
    fn note(&self) {
        let before = self.lock().replace(Instant::now());
        if before.is_none() {
            self.begun.notify_one();
        }
    }

    /// Waits until an answer has begun and nothing was taken of it for this long.
    async fn nothing_for(&self, limit: Duration) {
        self.begun.notified().await;
        loop {
            let Some(last) = *self.lock() else { return };
            if last.elapsed() >= limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resets the stream, if it is one of HTTP/2, when nothing of the answer is taken for too long.
pub(super) fn watched(response: Response<Body>) -> Response<Body> {
    match STREAM.try_with(Arc::clone) {
        Ok(taken) => {
            taken.note();
            response.map(|body| Watched { body, taken, has_begun: false }.boxed_unsync())
        }
        Err(_) => response,
    }
}

/// A body: hyper asks for the next piece of it when the client has room for more.
struct Watched {
    body: Body,
    taken: Arc<Taken>,
    has_begun: bool,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.taken.note();
        self.has_begun = true;
        Pin::new(&mut self.body).poll_frame(cx)
    }

    /// Never with the last piece: hyper would be done with the stream before that is taken.
    fn is_end_stream(&self) -> bool {
        !self.has_begun && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
