//! Publications of one connection that are being written to the disk. Where channels are in memory
//! there are none, and this holds nothing.

use std::future::{Future, pending};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::MAX_PUBLISHING;

/// Publications whose outcome is not known yet.
pub(super) struct InFlight<F>(Option<FuturesUnordered<F>>);

impl<F: Future> InFlight<F> {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn add(&mut self, publishing: F) {
        self.0.get_or_insert_default().push(publishing);
    }

    /// Whether the outcome of each is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(FuturesUnordered::is_empty)
    }

    pub(super) fn has_room(&self) -> bool {
        self.0.as_ref().is_none_or(|in_flight| in_flight.len() < MAX_PUBLISHING)
    }

    /// The outcome of the next one, if there is one.
    pub(super) async fn rest(&mut self) -> Option<F::Output> {
        self.0.as_mut()?.next().await
    }

    /// The outcome of the next one. Waits for ever where there is none.
    pub(super) async fn next(&mut self) -> F::Output {
        if let Some(in_flight) = &mut self.0
            && let Some(outcome) = in_flight.next().await
        {
            return outcome;
        }
        self.0 = None;
        pending().await
    }
}
