//! Polls the handlers of servers. When a handler fails, its open connection is closed with 1011, and its
//! unanswered request is refused with 500.
//!
//! The poll in which a handler fails also drops its connection, before the outcome is known. So what is
//! dropped during a poll is collected here, and ended when the poll returns.

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
pub(crate) type Refusing = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// What the handler that runs on this thread has dropped during the current poll.
    static DROPPED: RefCell<Option<Dropped>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Dropped {
    connections: Vec<Arc<Shared>>,
    request: Option<Refusing>,
    /// Whether the peer has closed before its request was accepted.
    peer_left: bool,
}

/// Polls a handler. When it has returned or panicked, returns what is left to do: the refusal of a request
/// that a failed handler has not answered.
///
/// Failures are logged with the peer: as a warning, unless the end of the connection has caused them.
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
        // Drops what the handler holds. The panic hook reports a panic in a destructor.
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
    /// Ends what was collected; returns the refusal of a request that a failed handler has not answered.
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

/// Collects a server's connection whose last handle is dropped; false if no handler is being polled.
pub(super) fn defer_close(connection: &Arc<Shared>) -> bool {
    with_dropped(|dropped| dropped.connections.push(connection.clone()))
}

/// Collects a request that is dropped without an answer: `refuse` makes the answer if the handler fails.
pub(crate) fn defer_refusal(refuse: impl FnOnce() -> Refusing) {
    with_dropped(|dropped| dropped.request = Some(refuse()));
}

/// Notes that the handler could not accept because the peer has closed, or the server stops.
pub(crate) fn note_peer_left() {
    with_dropped(|dropped| dropped.peer_left = true);
}

fn with_dropped(put: impl FnOnce(&mut Dropped)) -> bool {
    // There is none on a thread that ends, and in a drop inside of this.
    let put = |dropped: &RefCell<Option<Dropped>>| match dropped.try_borrow_mut().as_deref_mut() {
        Ok(Some(dropped)) => {
            put(dropped);
            true
        }
        _ => false,
    };
    DROPPED.try_with(put).unwrap_or(false)
}
