//! Where the messages of a tapped channel came from: the log does not say.
//!
//! A publisher is noted when its publication has a position, which may be a moment after the tap has read the
//! message. So the tap waits for it, as long as publications are in progress, and not for long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sockeye_hub::Position;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How many publishers are known before their messages are read.
const MAX_KNOWN: usize = 1024;

/// How long messages wait for their publishers: they may have come from elsewhere.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(100);

/// The publishers of messages that the tap has not read yet.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    in_progress: usize,
    known: VecDeque<(Position, String)>,
}

impl Publishers {
    /// A publication begins.
    pub(super) fn begin(&self) {
        self.lock().in_progress += 1;
    }

    /// It has that position.
    pub(super) fn add(&self, position: Position, publisher: &str) {
        let mut state = self.lock();
        if state.known.len() >= MAX_KNOWN {
            state.known.pop_front();
        }
        state.known.push_back((position, publisher.to_owned()));
    }

    /// Its outcome is known.
    pub(super) fn end(&self) {
        self.lock().in_progress -= 1;
        self.news.notify_one();
    }

    /// The publisher of the message at that position, if it is known or becomes known until then.
    pub(super) async fn of(&self, position: Position, until: Instant) -> Option<String> {
        let waiting = async {
            loop {
                let news = self.news.notified();
                {
                    let mut state = self.lock();
                    let index = state.known.iter().position(|(at, _)| *at == position);
                    if let Some((_, publisher)) = index.and_then(|index| state.known.remove(index))
                    {
                        return Some(publisher);
                    }
                    if state.in_progress == 0 {
                        return None;
                    }
                }
                news.await;
            }
        };
        timeout_at(until, waiting).await.ok().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Consistent between any two statements, so a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use sockeye_hub::{Hub, PayloadRef, Publication};

    use super::*;

    async fn positions(count: usize) -> Vec<Position> {
        let (hub, channel) = (Hub::default(), "c".parse().expect("a name"));
        let mut positions = Vec::new();
        for _ in 0..count {
            let publication = Publication::of(PayloadRef::Text("x"));
            positions.push(hub.publish(&channel, publication).await.expect("it is taken"));
        }
        positions
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_its_publisher_while_publications_are_in_progress() {
        let (publishers, at) = (Publishers::default(), positions(1).await[0]);
        assert_eq!(
            publishers.of(at, Instant::now() + MAX_WAIT).now_or_never(),
            Some(None),
            "nothing is in progress"
        );
        publishers.begin();
        let mut waiting = pin!(publishers.of(at, Instant::now() + MAX_WAIT));
        assert!(waiting.as_mut().now_or_never().is_none());
        publishers.add(at, "ann");
        publishers.end();
        assert_eq!(waiting.await.as_deref(), Some("ann"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_from_elsewhere_waits_for_no_publisher_for_long() {
        let (publishers, at) = (Publishers::default(), positions(1).await[0]);
        publishers.begin();
        let begun = Instant::now();
        assert_eq!(publishers.of(at, Instant::now() + MAX_WAIT).await, None);
        assert_eq!(begun.elapsed(), MAX_WAIT);
    }

    #[tokio::test]
    async fn of_more_than_are_kept_the_newest_are_known() {
        let (publishers, at) = (Publishers::default(), positions(MAX_KNOWN + 1).await);
        at.iter().for_each(|at| publishers.add(*at, "ann"));
        assert_eq!(publishers.of(at[0], Instant::now() + MAX_WAIT).await, None);
        assert_eq!(
            publishers.of(at[MAX_KNOWN], Instant::now() + MAX_WAIT).await.as_deref(),
            Some("ann")
        );
    }
}
