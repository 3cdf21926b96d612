//! What a transport brings, and what it is brought to.

use std::time::Duration;

use super::{
    Failure,
    message::{End, Gap, Message},
};

/// A stream brings something every 15 seconds. After three times as long its server is gone, or something
/// in between holds it back.
pub(crate) const SILENCE: Duration = Duration::from_secs(45);

/// Something that came.
#[derive(Debug)]
pub(crate) enum FeedEvent {
    /// The channel can be read like this.
    Open,
    /// Where the channel is, or the reader in it, though there is no message.
    At(String),
    Gap(Gap),
    Message(Message),
    /// The channel has ended. Nothing follows.
    End(End),
}

/// What takes what comes.
pub(crate) trait Sink {
    /// Takes it, or says that nothing more is wanted.
    fn take(&mut self, news: FeedEvent) -> Result<(), Failure>;

    /// Waits until the next message may come. What brings it is not read any further meanwhile.
    async fn next_may_come(&mut self) {}
}

/// Passes on what a piece of a stream has completed: there is no more of it than the piece has bytes.
pub(super) async fn pass_on(news: Vec<FeedEvent>, sink: &mut impl Sink) -> Result<(), Failure> {
    for news in news {
        if matches!(news, FeedEvent::Message(_)) {
            sink.next_may_come().await;
        }
        sink.take(news)?;
    }
    Ok(())
}
