//! Publications of one connection on their way to the disk. Where channels are in memory there are
//! none, and then this holds nothing.

use std::future::{Future, pending};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

/// How many of one connection there may be.
const MOST: usize = 64;

/// Publications whose outcome is awaited.
pub(super) struct UnderWay<F>(Option<FuturesUnordered<F>>);

impl<F: Future> UnderWay<F> {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn add(&mut self, publishing: F) {
        self.0.get_or_insert_default().push(publishing);
    }

    pub(super) fn has_room(&self) -> bool {
        self.0.as_ref().is_none_or(|under_way| under_way.len() < MOST)
    }

    /// What came of the next one, if there is one.
    pub(super) async fn rest(&mut self) -> Option<F::Output> {
        self.0.as_mut()?.next().await
    }

    /// What came of the next one. Waits for ever where there is none.
    pub(super) async fn next(&mut self) -> F::Output {
        if let Some(under_way) = &mut self.0
            && let Some(outcome) = under_way.next().await
        {
            return outcome;
        }
        self.0 = None;
        pending().await
    }
}
