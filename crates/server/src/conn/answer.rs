//! The answer to a request, as handlers give it: a response, or one that comes later.
//!
//! A parked long poll takes 2,793 bytes, and one that hyper held would take 12,312, as its connection does once it is
//! answered (`cargo xtask idle longpoll`, 30 November 2026; 2,464 and 11,464 on 21 November). Two things
//! would cost the difference: hyper's two buffers of 8 KiB, which a request needs while it arrives and a
//! response while it leaves, and the layers that a request came through. So a handler never waits for a
//! message itself. What it returns says by its type what is still to come:
//!
//! - [`Answer::Ready`]: the response. hyper writes it.
//! - [`Answer::Streaming`]: the response, whose body goes on as messages come.
//! - [`Answer::Deferred`]: a future of the response, without the request and the layers. The middleware
//!   [adds](Answer::map) what it has to do with the response when that is there.
//!
//! There is no response that stands for another: code that needs a response has to wait for
//! [one](Answer::response), as HTTP/2 does, and a program that serves the routes itself. Over HTTP/1.1 the
//! connection leaves hyper with the last two, if it has to wait ([`detach`](crate::conn::detach)).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

/// An answer that a handler is about to give.
pub(crate) type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What answers the requests of connections: the routes.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request) -> AnswerFuture;
}

/// The answer to a request.
pub(crate) enum Answer {
    /// The response: all of it is there, or follows at once.
    Ready(Response),
    /// The response: the rest of its body comes with messages, for hours perhaps.
    Streaming(Response),
    /// The response is not there yet.
    Deferred(Deferred),
}

impl Answer {
    /// The response of the future, which is told when the client sends no more.
    pub(crate) fn defer<F>(answering: impl FnOnce(ClientLeft) -> F) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let left = ClientLeft::default();
        Self::Deferred(Deferred { response: Box::pin(answering(left.clone())), left })
    }

    /// Does the rest with the response, now or when it is there.
    pub(crate) fn map(self, rest: impl FnOnce(Response) -> Response + Send + 'static) -> Self {
        match self {
            Self::Ready(response) => Self::Ready(rest(response)),
            Self::Streaming(response) => Self::Streaming(rest(response)),
            Self::Deferred(Deferred { response, left }) => {
                let response = Box::pin(async move { rest(response.await) });
                Self::Deferred(Deferred { response, left })
            }
        }
    }

    /// Waits for the response.
    pub(crate) async fn response(self) -> Response {
        match self {
            Self::Ready(response) | Self::Streaming(response) => response,
            Self::Deferred(deferred) => deferred.await,
        }
    }
}

impl<R: IntoResponse> From<R> for Answer {
    fn from(response: R) -> Self {
        Self::Ready(response.into_response())
    }
}

/// A response that is not there yet: a future with all that it still needs.
pub(crate) struct Deferred {
    response: Pin<Box<dyn Future<Output = Response> + Send>>,
    left: ClientLeft,
}

impl Deferred {
    /// Tells the future that the client sends no more. It is ready when it is polled next, or never is.
    pub(crate) fn tell_client_left(&self) {
        self.left.0.store(true, Relaxed);
    }
}

impl Future for Deferred {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.response.as_mut().poll(cx)
    }
}

/// Whether the client that waits sends no more: it has left, or takes what there is now.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientLeft(Arc<AtomicBool>);

impl ClientLeft {
    /// Waits until it is so. What tells it polls the future once more.
    pub(crate) async fn told(&self) {
        poll_fn(|_| match self.0.load(Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}
