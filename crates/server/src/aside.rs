//! Answers that take long are set aside: taken out of hyper, and their connection with them.
//!
//! hyper keeps two buffers of 8 KiB for a connection, which a request needs while it comes and an
//! answer while it goes. One who waits for a message needs neither, and there are many of them. So
//! a handler that is going to wait [asks](Aside::ask) for it, and the connection is then carried on
//! without hyper ([`carry`](crate::carry)).

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY};
use http::{Method, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;

use crate::impatient::Shared;
use crate::peer::Routes;

/// An answer under way.
pub(crate) type Answering = <Routes as Service<hyper::Request<Incoming>>>::Future;

/// What was set aside, and how it goes on.
pub(crate) struct SetAside {
    pub(crate) work: Work,
    pub(crate) ending: Ending,
    pub(crate) left: Left,
}

/// An answer that takes long.
pub(crate) enum Work {
    /// The answer is still to come.
    Waiting(Answering),
    /// The answer is there, and its body takes long. In a box, so that a task which holds the work
    /// is small.
    Answer(Box<Response>),
}

/// How a handler asks to be set aside, where that can be done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aside(Option<Arc<Desk>>);

impl Aside {
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Says that the answer, or its body, is going to take long.
    pub(crate) fn ask(&self) {
        if let Some(desk) = &self.0 {
            desk.is_asked.store(true, Relaxed);
        }
    }

    /// What tells later that the client sends no more.
    pub(crate) fn left(&self) -> Left {
        Left(self.0.as_ref().map(|desk| Arc::clone(&desk.has_left)))
    }
}

/// Whether a client that waits sends no more: it has left, or takes what there is now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left(Option<Arc<AtomicBool>>);

impl Left {
    /// Says so: an answer that waits is to come when it is polled now, or never.
    pub(crate) fn tell(&self) {
        if let Some(has_left) = &self.0 {
            has_left.store(true, Relaxed);
        }
    }

    /// Waits until it is said. Who says it polls the answer once more.
    pub(crate) async fn told(&self) {
        poll_fn(|_| match &self.0 {
            Some(has_left) if has_left.load(Relaxed) => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }
}

/// Where a connection's service lays its work, so that it can be taken away from hyper. One
/// connection has one request at a time.
#[derive(Default)]
pub(crate) struct Desk {
    work: Mutex<Option<Work>>,
    is_asked: AtomicBool,
    /// Whether the client sends no more, while its answer is set aside.
    has_left: Arc<AtomicBool>,
    /// How the answer ends, as the request wants it.
    ending: Mutex<Ending>,
    /// That of a handshake that was refused.
    refused_upgrade: Mutex<Option<OnUpgrade>>,
}

/// What becomes of a connection after an answer, as its request says (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Another request may follow.
    #[default]
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed, and the client speaks HTTP/1.0: it knows no chunks.
    Http10,
}

impl Ending {
    fn of(request: &hyper::Request<Incoming>) -> Self {
        let lines = request.headers().get_all(CONNECTION).iter().flat_map(|line| line.to_str());
        let mut options = lines.flat_map(|line| line.split(','));
        match request.version() {
            Version::HTTP_10 => Self::Http10,
            _ if options.any(|option| option.trim().eq_ignore_ascii_case("close")) => Self::Close,
            _ => Self::KeepAlive,
        }
    }
}

impl Desk {
    /// Whether there is something to be set aside.
    pub(crate) fn has_work_to_set_aside(&self) -> bool {
        self.is_asked() && self.lock().is_some()
    }

    fn is_asked(&self) -> bool {
        self.is_asked.load(Relaxed)
    }

    /// The work, to be done elsewhere.
    pub(crate) fn clear(&self) -> Option<SetAside> {
        let work = self.lock().take()?;
        let ending = *self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        Some(SetAside { work, ending, left: Left(Some(Arc::clone(&self.has_left))) })
    }

    /// The upgrade that the last request has asked for in vain. hyper gives it the connection in the
    /// end, instead of shutting that down.
    pub(crate) fn refused_upgrade(&self) -> Option<OnUpgrade> {
        self.refused_upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        // What panicked was taken out before it was polled.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("is_asked", &self.is_asked).finish_non_exhaustive()
    }
}

/// The resources, whose work is done at a desk.
#[derive(Clone, Debug)]
pub(crate) struct AtDesk {
    pub(crate) routes: Routes,
    pub(crate) desk: Arc<Desk>,
    pub(crate) connection: Arc<Shared>,
}

impl Service<hyper::Request<Incoming>> for AtDesk {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.connection);
        if !can_be_set_aside(&request) {
            // Of others than publications the body is not read.
            let has_body = !request.body().is_end_stream();
            let is_unread = has_body && request.method() != Method::POST;
            let upgrade = request.extensions().get::<OnUpgrade>().cloned();
            let desk = Arc::clone(&self.desk);
            let answering = self.routes.call(request);
            return Box::pin(async move {
                let answer = answering.await?;
                // A refused client may not have sent all of its body.
                let is_refused = has_body && answer.status().as_u16() >= 400;
                connection.linger(is_last(&answer) || is_refused || is_unread);
                if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                    *desk.refused_upgrade.lock().unwrap_or_else(PoisonError::into_inner) = upgrade;
                }
                Ok(answer)
            });
        }
        let desk = Arc::clone(&self.desk);
        desk.is_asked.store(false, Relaxed);
        desk.has_left.store(false, Relaxed);
        *desk.ending.lock().unwrap_or_else(PoisonError::into_inner) = Ending::of(&request);
        request.extensions_mut().insert(Aside(Some(Arc::clone(&desk))));
        *desk.lock() = Some(Work::Waiting(self.routes.call(request)));
        Box::pin(AnswerAtDesk { desk, connection })
    }
}

/// Whether the connection ends with the answer.
pub(crate) fn is_last(answer: &Response) -> bool {
    answer.headers().contains_key(CONNECTION)
}

/// Whether all that is still needed of a request is its answer: it has no body, and does not ask for a
/// WebSocket.
fn can_be_set_aside(request: &hyper::Request<Incoming>) -> bool {
    request.method() == Method::GET
        && request.body().is_end_stream()
        && !request.headers().contains_key(SEC_WEBSOCKET_KEY)
}

/// Works at the desk, for hyper, as long as the work is there.
struct AnswerAtDesk {
    desk: Arc<Desk>,
    connection: Arc<Shared>,
}

impl Future for AnswerAtDesk {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let work = self.desk.lock().take();
        let (poll, left) = match work {
            // Somebody else does it.
            None => (Poll::Pending, None),
            // It was not taken when it was offered.
            Some(Work::Answer(answer)) => (Poll::Ready(Ok(*answer)), None),
            Some(Work::Waiting(mut answering)) => match Pin::new(&mut answering).poll(cx) {
                Poll::Pending => (Poll::Pending, Some(Work::Waiting(answering))),
                Poll::Ready(Ok(answer)) if self.desk.is_asked() => {
                    (Poll::Pending, Some(Work::Answer(Box::new(answer))))
                }
                ready @ Poll::Ready(_) => (ready, None),
            },
        };
        *self.desk.lock() = left;
        if let Poll::Ready(Ok(answer)) = &poll {
            self.connection.linger(is_last(answer));
        }
        poll
    }
}
