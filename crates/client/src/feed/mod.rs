//! What a transport brings, and what it is brought to.

pub mod ndjson;
pub mod poll;
pub mod sse;
#[cfg(not(target_family = "wasm"))]
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

    /// Waits until the next message or gap may come. What brings it is not read any further meanwhile.
    fn next_may_come(&mut self) -> impl Future<Output = ()> {
        async {}
    }
}

/// Passes on what a piece of a stream has completed: there is no more of it than the piece has bytes.
pub(crate) async fn pass_on(news: Vec<FeedEvent>, sink: &mut impl Sink) -> Result<(), Failure> {
    for news in news {
        if matches!(news, FeedEvent::Message(_) | FeedEvent::Gap(_)) {
            sink.next_may_come().await;
        }
        sink.take(news)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, task::Context};

    use super::*;

    /// Has room for four.
    struct Four(usize);

    impl Sink for Four {
        fn take(&mut self, _: FeedEvent) -> Result<(), Failure> {
            self.0 += 1;
            Ok(())
        }

        async fn next_may_come(&mut self) {
            if self.0 >= 4 {
                pending().await
            }
        }
    }

    #[test]
    fn gaps_wait_for_room_as_messages_do() {
        let gap = |_| {
            let gap = r#"{"after":"k.1","next":"k.1","why":"slow"}"#;
            FeedEvent::Gap(serde_json::from_str(gap).unwrap())
        };
        let mut four = Four(0);
        {
            let passing = std::pin::pin!(pass_on((0..100).map(gap).collect(), &mut four));
            assert!(passing.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        }
        assert_eq!(four.0, 4);
    }
}
