//! Answers that are promised: of those who wait for one there are many, and for long.
//!
//! A handler that is going to wait gives a [promise] instead of its answer and is done; the layers
//! round it [add](then) what they have to do with the answer, and are done as well. What is left is
//! one future that holds what is still needed, and not the request, the routes and the layers that
//! it came by. Whoever calls the routes has the promise [`Kept`], or has a layer [keep] it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

type Promised = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What an answer carries that is not there yet.
#[derive(Clone)]
struct Promise(Arc<Mutex<Option<Promised>>>);

/// In the place of the answer that will come of the future.
pub(crate) fn promise(answering: impl Future<Output = Response> + Send + 'static) -> Response {
    let mut response = Response::default();
    let answering: Promised = Box::pin(answering);
    response.extensions_mut().insert(Promise(Arc::new(Mutex::new(Some(answering)))));
    response
}

/// Does the rest with an answer, now or when it comes.
pub(crate) fn then(
    mut response: Response,
    rest: impl FnOnce(Response) -> Response + Send + 'static,
) -> Response {
    match taken(&mut response) {
        Some(answering) => promise(async move { rest(answering.await) }),
        None => rest(response),
    }
}

/// The layer that keeps what the routes in it promise.
pub(crate) async fn keep(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    match taken(&mut response) {
        Some(answering) => answering.await,
        None => response,
    }
}

fn taken(response: &mut Response) -> Option<Promised> {
    let Promise(promise) = response.extensions_mut().remove()?;
    promise.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The answer of routes that may promise it.
pub(crate) enum Kept<F> {
    /// In a box, which is gone when the routes are done.
    Calling(Pin<Box<F>>),
    Waiting(Promised),
}

impl<F> Kept<F> {
    pub(crate) fn new(calling: F) -> Self {
        Self::Calling(Box::pin(calling))
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Kept<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            match &mut *self {
                Self::Calling(calling) => {
                    let mut response = ready!(calling.as_mut().poll(cx))?;
                    match taken(&mut response) {
                        Some(answering) => *self = Self::Waiting(answering),
                        None => return Poll::Ready(Ok(response)),
                    }
                }
                Self::Waiting(answering) => return answering.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
