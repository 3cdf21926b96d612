//! What a transport brings, and what it is brought to.

pub mod ndjson;
pub mod poll;
pub mod sse;
pub mod v1;

use std::time::Duration;

use crate::{
    Position,
    failure::Failure,
    message::{End, Gap, Message},
};

/// A stream brings something every 15 seconds. After three times as long its server is gone, or something
/// in between holds it back.
pub(crate) const SILENCE: Duration = Duration::from_secs(45);

/// Something that came.
#[derive(Debug)]
pub enum FeedEvent {
    /// The channel can be read like this.
    Open,
    /// Where the channel is, or the reader in it, though there is no message.
    At(Position),
    /// Messages are missing.
    Gap(Gap),
    /// A message.
    Message(Message),
    /// The channel has ended. Nothing follows.
    End(End),
}

/// What takes what comes.
pub trait Sink {
    /// Takes it, or says that nothing more is wanted.
    ///
    /// # Errors
    ///
    /// [`Failure::Enough`], with which the feed ends.
    fn take(&mut self, news: FeedEvent) -> Result<(), Failure>;

    /// Waits until the next message may come. What brings it is not read any further meanwhile.
    fn next_may_come(&mut self) -> impl Future<Output = ()> {
        async {}
    }
}

/// Passes on what a piece of a stream has completed: there is no more of it than the piece has bytes.
pub(crate) async fn pass_on(news: Vec<FeedEvent>, sink: &mut impl Sink) -> Result<(), Failure> {
    for news in news {
        if matches!(news, FeedEvent::Message(_)) {
            sink.next_may_come().await;
        }
        sink.take(news)?;
    }
    Ok(())
}
