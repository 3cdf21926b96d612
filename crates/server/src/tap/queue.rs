//! The lines that wait for one tap.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::event;
use super::publishers::Publishers;

/// The most bytes that wait for one tap, and one line more.
pub(crate) const MAX_QUEUED: usize = 256 << 10;

/// The lines that wait for one tap, each without its end.
#[derive(Debug)]
pub(crate) struct Queue {
    max_data: usize,
    waiting: Mutex<Waiting>,
    news: Notify,
    pub(super) publishers: Publishers,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    /// How many events did not fit since the last line.
    dropped: u64,
    has_ended: bool,
}

impl Waiting {
    fn add(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// Tells how many events are missing here.
    fn tell_dropped(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.add(event::dropped(dropped));
        }
    }
}

impl Queue {
    pub(super) fn new(max_data: usize) -> Self {
        let (waiting, news, publishers) = Default::default();
        Self { max_data, waiting, news, publishers }
    }

    /// The most bytes of a payload that are shown.
    pub(crate) fn max_data(&self) -> usize {
        self.max_data
    }

    /// The bytes of the lines that wait.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Adds an event, or counts it where there is no room. It is not made then.
    pub(super) fn push(&self, event: impl FnOnce(usize) -> String) {
        let mut waiting = self.lock();
        if waiting.has_ended {
            return;
        }
        if waiting.bytes >= MAX_QUEUED {
            waiting.dropped += 1;
            return;
        }
        waiting.tell_dropped();
        waiting.add(event(self.max_data));
        drop(waiting);
        self.news.notify_one();
    }

    /// Nothing comes after what waits.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.tell_dropped();
        waiting.has_ended = true;
        drop(waiting);
        self.news.notify_one();
    }

    /// All lines that wait, as soon as there are some; `None` at the end. Cancel-safe: nothing is taken by a
    /// future that is dropped. One task at a time may wait.
    pub(crate) async fn next(&self) -> Option<VecDeque<String>> {
        loop {
            let news = self.news.notified();
            {
                let mut waiting = self.lock();
                if waiting.lines.is_empty() {
                    waiting.tell_dropped();
                }
                if !waiting.lines.is_empty() {
                    waiting.bytes = 0;
                    return Some(std::mem::take(&mut waiting.lines));
                }
                if waiting.has_ended {
                    return None;
                }
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Consistent between any two statements, so a panic elsewhere does not matter.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_counted_at_its_place() {
        let queue = Queue::new(0);
        for _ in 0..4 {
            queue.push(|_| "x".repeat(MAX_QUEUED / 4));
        }
        queue.push(|_| unreachable!("it is not made"));
        queue.push(|_| unreachable!("it is not made"));
        let lines = queue.next().await.expect("they wait");
        assert_eq!(lines.len(), 4);
        queue.push(|_| "after".to_owned());
        assert_eq!(queue.next().await.expect("they wait"), [r#"{"dropped":2}"#, "after"]);
    }

    #[tokio::test]
    async fn what_was_dropped_before_the_end_is_told_and_nothing_follows() {
        let queue = Queue::new(0);
        queue.push(|_| "x".repeat(MAX_QUEUED));
        queue.push(|_| unreachable!("it is not made"));
        queue.end();
        queue.push(|_| unreachable!("it has ended"));
        let lines = queue.next().await.expect("they wait");
        assert_eq!((lines.len(), &*lines[1]), (2, r#"{"dropped":1}"#));
        assert!(queue.next().await.is_none());
    }
}
