//! What a publisher waits for: that its message is kept, or that it was refused.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::{Position, PublishError};

/// A publication under way: a future of the position it gets.
///
/// The order of the calls of [`Hub::publish`](crate::Hub::publish) is the order of the positions, so
/// one may publish again before this is ready; with a backplane, that of one
/// [source](crate::Publication::source). Dropping it takes nothing back: the message may
/// still be published.
pub type Publishing = Writing<Position>;

/// Something that changes a channel and is under way: a future of what comes of it.
///
/// With channels in memory alone it is done at once; with a [`Store`](crate::store::Store) it is done when
/// that has kept it. Dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "only its outcome says whether it was done"]
pub struct Writing<T>(OutcomeState<T>);

/// What it came to.
pub(crate) type Outcome<T> = Result<T, PublishError>;

#[derive(Debug)]
enum OutcomeState<T> {
    Done(Outcome<T>),
    Waiting(oneshot::Receiver<Outcome<T>>),
}

impl<T: Copy> Writing<T> {
    pub(crate) fn done(outcome: Outcome<T>) -> Self {
        Self(OutcomeState::Done(outcome))
    }

    pub(crate) fn waiting(outcome: oneshot::Receiver<Outcome<T>>) -> Self {
        Self(OutcomeState::Waiting(outcome))
    }

    /// Waits for the outcome on this thread, for programs that are not asynchronous.
    ///
    /// # Errors
    ///
    /// [`PublishError`], as the future gives it.
    ///
    /// # Panics
    ///
    /// If it would have to wait on a thread that runs asynchronous tasks. With channels in memory
    /// alone there is never anything to wait for.
    pub fn wait(self) -> Result<T, PublishError> {
        match self.0 {
            OutcomeState::Done(outcome) => outcome,
            // The thread that would have told it is gone.
            OutcomeState::Waiting(waiting) => {
                waiting.blocking_recv().unwrap_or(Err(PublishError::Unknown))
            }
        }
    }
}

impl<T: Copy + Unpin> Future for Writing<T> {
    type Output = Result<T, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let OutcomeState::Waiting(waiting) = &mut self.0 {
            let Poll::Ready(outcome) = Pin::new(waiting).poll(context) else {
                return Poll::Pending;
            };
            self.0 = OutcomeState::Done(outcome.unwrap_or(Err(PublishError::Unknown)));
        }
        match &self.0 {
            OutcomeState::Done(outcome) => Poll::Ready(*outcome),
            OutcomeState::Waiting(_) => Poll::Pending,
        }
    }
}
