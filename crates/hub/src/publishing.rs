//! What a publisher waits for: that its message is kept, or that it was refused.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::{Position, PublishError};

/// A publication under way: a future of the position it gets.
///
/// The order of the calls of [`Hub::publish`] is the order of the positions, so one may publish
/// again before this is ready. Dropping it takes nothing back: the message may still be published.
///
/// [`Hub::publish`]: crate::Hub::publish
#[derive(Debug)]
#[must_use = "only its outcome says whether the message was taken"]
pub struct Publishing(Outcome);

/// What a publication came to.
pub(crate) type Outcome = Result<Position, PublishError>;

impl Publishing {
    pub(crate) fn done(outcome: Outcome) -> Self {
        Self(outcome)
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
    pub fn wait(self) -> Result<Position, PublishError> {
        self.0
    }
}

impl Future for Publishing {
    type Output = Result<Position, PublishError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(self.0)
    }
}
