//! What takes what a channel brings.

pub(crate) use sockeye_client::internals::FeedEvent;

use super::Failure;

/// What takes what comes.
pub(crate) trait Sink {
    /// Takes it, or says that nothing more is wanted.
    fn take(&mut self, news: FeedEvent) -> Result<(), Failure>;

    /// Waits until the next message may come. What brings it is not read any further meanwhile.
    async fn next_may_come(&mut self) {}
}
