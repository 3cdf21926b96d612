//! Runs the handlers of servers. What a handler leaves behind when it fails is ended accordingly: an open
//! connection with 1011, a request that has no answer with 500.
//!
//! A connection is dropped by the same poll of the handler by which it fails, and before that is known. So
//! what is dropped during a poll is put aside, and ended when the poll is over.

use std::{
    any::Any,
    cell::RefCell,
    fmt::Display,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use sockeye_proto::CloseCode;

use super::shared::Shared;

/// An answer that is given only if the handler fails.
type Refusing = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// What the handler that runs on this thread has dropped during the current poll.
    static DROPPED: RefCell<Option<Dropped>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Dropped {
    connections: Vec<Arc<Shared>>,
    request: Option<Refusing>,
    /// Whether the peer has left before it was accepted.
    peer_left: bool,
}

/// Polls a handler. When it has returned or panicked, gives what is left to be done: the refusal of a
/// request that a failed one has not answered.
///
/// Failures are logged, with the peer: as a warning, unless they come of the end of the connection.
pub(crate) fn poll_handler<F: Future>(
    mut work: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
    peer: &dyn Display,
    check: impl FnOnce(F::Output) -> Result<(), String>,
) -> Poll<Option<Refusing>> {
    let outer = DROPPED.replace(Some(Dropped::default()));
    let poll = || match work.as_mut().as_pin_mut() {
        Some(work) => work.poll(cx).map(check),
        None => Poll::Ready(Ok(())),
    };
    let outcome = match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(Poll::Pending) => None,
        Ok(Poll::Ready(Ok(()))) => Some(Ok(())),
        Ok(Poll::Ready(Err(error))) => Some(Err(format!("a handler failed: {error}"))),
        Err(panic) => Some(Err(format!("a handler panicked: {}", text_of(&*panic)))),
    };
    if outcome.is_some() {
        // What it holds goes with it. A panic here is told by the panic hook.
        let _ = catch_unwind(AssertUnwindSafe(|| work.set(None)));
    }
    let dropped = DROPPED.replace(outer).unwrap_or_default();
    let failure = outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
    let request = dropped.finish(failure, peer);
    match outcome {
        None => Poll::Pending,
        Some(_) => Poll::Ready(request),
    }
}

impl Dropped {
    /// Ends what was put aside; gives the refusal of a request that a failed handler has not answered.
    fn finish(self, failure: Option<&String>, peer: &dyn Display) -> Option<Refusing> {
        let mut is_peers = self.peer_left;
        for connection in self.connections {
            is_peers |= connection.is_left();
            let code = failure.map(|_| CloseCode::INTERNAL_ERROR.into());
            connection.close_unheld(code);
        }
        match failure {
            Some(failure) if is_peers => tracing::debug!(%peer, "{failure}"),
            Some(failure) => tracing::warn!(%peer, "{failure}"),
            // Without an answer its connection is closed.
            None => return None,
        }
        self.request
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// Puts a connection of a server aside whose last handle is gone; gives it back where no handler runs.
pub(super) fn put_aside(connection: &Arc<Shared>) -> bool {
    with_dropped(|dropped| dropped.connections.push(connection.clone()))
}

/// Puts a request aside that is dropped without an answer: `refuse` gives the answer if the handler fails.
pub(crate) fn leave_request(refuse: impl FnOnce() -> Refusing) {
    with_dropped(|dropped| dropped.request = Some(refuse()));
}

/// Notes that the peer has left, or the server stops, so that the handler could not accept.
pub(crate) fn note_peer_left() {
    with_dropped(|dropped| dropped.peer_left = true);
}

fn with_dropped(put: impl FnOnce(&mut Dropped)) -> bool {
    // A thread that ends, and a drop inside of this, have none.
    let put = |dropped: &RefCell<Option<Dropped>>| match dropped.try_borrow_mut().as_deref_mut() {
        Ok(Some(dropped)) => {
            put(dropped);
            true
        }
        _ => false,
    };
    DROPPED.try_with(put).unwrap_or(false)
}
