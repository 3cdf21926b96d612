//! Detaching: a response that takes long leaves hyper, and takes its connection with it.
//!
//! hyper calls the routes by [`DetachService`]. An [answer](crate::conn::answer) for which a client has to
//! wait is not given to hyper, but put into a [`DetachSlot`]. What drives the connection takes it from there,
//! drops hyper, and goes on with the [`response_writer`](crate::conn::response_writer).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::response::Response;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, Method, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;

use crate::conn::answer::{Answer, AnswerFuture, Deferred};
use crate::conn::service::Routes;
use crate::net::shared_io::BodyIo;
use crate::net::write_deadline::IoState;

/// A detached response, and how to finish it.
pub(crate) struct Detached {
    pub(crate) work: Work,
    pub(crate) persistence: Persistence,
}

impl Detached {
    /// Whether the body of the response may write by itself, too.
    pub(crate) fn body_writes(&self) -> bool {
        match &self.work {
            Work::Streaming(response) => response.extensions().get::<Arc<BodyIo>>().is_some(),
            Work::Deferred(_) => false,
        }
    }
}

/// What is detached.
pub(crate) enum Work {
    /// The response is not there yet.
    Deferred(Deferred),
    /// The rest of the body comes with messages. Boxed, so that a task which holds this is small.
    Streaming(Box<Response>),
}

/// Where the service of a connection puts what takes long, so that it can be taken from hyper. A
/// connection has one request at a time.
#[derive(Default)]
pub(crate) struct DetachSlot {
    work: Mutex<Option<Work>>,
    /// What becomes of the connection, as the request says.
    persistence: Mutex<Persistence>,
    /// The upgrade of a handshake that was refused.
    refused_upgrade: Mutex<Option<OnUpgrade>>,
}

/// What becomes of a connection after a response, as the request says (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Another request may follow.
    #[default]
    KeepAlive,
    /// The connection is closed.
    Close,
    /// The connection is closed, and the client speaks HTTP/1.0, without chunks.
    Http10,
    /// The same client asks for the connection to be kept.
    Http10KeepAlive,
}

impl Persistence {
    fn of(request: &hyper::Request<Incoming>) -> Self {
        let has = |option| has_connection_option(request.headers(), option);
        match request.version() {
            Version::HTTP_10 if has("keep-alive") && !has("close") => Self::Http10KeepAlive,
            Version::HTTP_10 => Self::Http10,
            _ if has("close") => Self::Close,
            _ => Self::KeepAlive,
        }
    }

    /// Whether another request may follow.
    pub(crate) fn is_kept(self) -> bool {
        matches!(self, Self::KeepAlive | Self::Http10KeepAlive)
    }

    /// Whether the client reads chunks: it speaks HTTP/1.1.
    pub(crate) fn has_chunks(self) -> bool {
        matches!(self, Self::KeepAlive | Self::Close)
    }
}

/// Whether the options of a connection (RFC 9110 §7.6.1) include this one.
pub(crate) fn has_connection_option(headers: &HeaderMap, option: &str) -> bool {
    let lines = headers.get_all(CONNECTION).iter().flat_map(|line| line.to_str());
    let mut options = lines.flat_map(|line| line.split(','));
    options.any(|known| known.trim().eq_ignore_ascii_case(option))
}

impl DetachSlot {
    /// Whether there is something to detach.
    pub(crate) fn can_detach(&self) -> bool {
        self.lock().is_some()
    }

    /// Takes it from hyper.
    pub(crate) fn take(&self) -> Option<Detached> {
        let work = self.lock().take()?;
        let persistence = *self.persistence.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Detached { work, persistence })
    }

    /// The upgrade that was refused to the last request. hyper hands it the connection in the end,
    /// instead of shutting that down.
    pub(crate) fn refused_upgrade(&self) -> Option<OnUpgrade> {
        self.refused_upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        // A future that panicked was taken out before it was polled.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes as hyper calls them.
pub(crate) struct DetachService {
    pub(crate) routes: Routes,
    pub(crate) slot: Arc<DetachSlot>,
    pub(crate) connection: Arc<IoState>,
}

impl Service<hyper::Request<Incoming>> for DetachService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.connection);
        if !connection.settle() {
            // What drives the connection ends it.
            return Box::pin(std::future::pending());
        }
        if !can_be_detached(&request) {
            // Bodies of requests other than publications are not read.
            let has_body = !request.body().is_end_stream();
            let is_unread = has_body && request.method() != Method::POST;
            let upgrade = request.extensions().get::<OnUpgrade>().cloned();
            let slot = Arc::clone(&self.slot);
            let answering = self.routes.call(request);
            return Box::pin(async move {
                let response = answering.await.response().await;
                // A refused client may not have sent all of its body.
                let is_refused = has_body && response.status().as_u16() >= 400;
                connection.linger(is_last(&response) || is_refused || is_unread);
                let upgrades = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                connection.answered(upgrades);
                if !upgrades {
                    *slot.refused_upgrade.lock().unwrap_or_else(PoisonError::into_inner) = upgrade;
                }
                Ok(response)
            });
        }
        let slot = Arc::clone(&self.slot);
        *slot.persistence.lock().unwrap_or_else(PoisonError::into_inner) =
            Persistence::of(&request);
        let answering = Some(self.routes.call(request));
        Box::pin(DetachResponse { answering, slot, connection })
    }
}

/// Whether the connection ends with the response, or goes on as a WebSocket.
fn is_last(response: &Response) -> bool {
    response.headers().contains_key(CONNECTION)
}

/// Whether a request needs nothing but its response: it has no body, and does not ask for a WebSocket.
fn can_be_detached(request: &hyper::Request<Incoming>) -> bool {
    request.method() == Method::GET
        && request.body().is_end_stream()
        && !request.headers().contains_key(SEC_WEBSOCKET_KEY)
}

/// The response for hyper. It is never ready if the answer was detached.
struct DetachResponse {
    /// Until the handler has answered.
    answering: Option<AnswerFuture>,
    slot: Arc<DetachSlot>,
    connection: Arc<IoState>,
}

impl Future for DetachResponse {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.poll_response(cx));
        self.connection.linger(is_last(&response));
        self.connection.answered(false);
        Poll::Ready(Ok(response))
    }
}

impl DetachResponse {
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Response> {
        let work = match &mut self.answering {
            None => self.slot.lock().take(),
            Some(answering) => {
                let answer = ready!(answering.as_mut().poll(cx));
                self.answering = None;
                match answer {
                    Answer::Ready(response) => return Poll::Ready(response),
                    Answer::Deferred(deferred) => Some(Work::Deferred(deferred)),
                    Answer::Streaming(response) => {
                        *self.slot.lock() = Some(Work::Streaming(Box::new(response)));
                        // A connection that drains does not look at the slot: then hyper takes it.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        };
        match work {
            // It is detached.
            None => Poll::Pending,
            // It was offered and not taken.
            Some(Work::Streaming(response)) => Poll::Ready(*response),
            Some(Work::Deferred(mut deferred)) => {
                let poll = Pin::new(&mut deferred).poll(cx);
                if poll.is_pending() {
                    *self.slot.lock() = Some(Work::Deferred(deferred));
                }
                poll
            }
        }
    }
}
