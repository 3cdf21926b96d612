//! Asking for many messages at once whether they may be published, where an authoriser is asked.

use std::collections::HashSet;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use sockeye_hub::ChannelName;

use crate::auth::{Asking, Caller, Right};
use crate::http::problem::Problem;

/// How many messages wait to be decided.
const AT_ONCE: usize = 32;
/// How many bytes they may have together; beyond them one message more.
const MAX_BYTES: usize = 64 << 10;

/// Messages that wait to be decided, in their order. Each channel is asked for once.
pub(super) struct Deciding {
    caller: Caller,
    queue: FuturesOrdered<Pin<Box<dyn Future<Output = Turn> + Send>>>,
    bytes: usize,
    /// The channels that are asked for, and those for which there was no answer.
    asked: HashSet<ChannelName>,
    undecided: HashSet<ChannelName>,
}

/// A message whose turn it is.
enum Turn {
    Refused(Problem),
    Line {
        line: Bytes,
        channel: ChannelName,
        /// What has come of asking, if this one has asked.
        asked: Option<Result<(), Problem>>,
    },
}

impl Deciding {
    pub(super) fn new(caller: Caller) -> Self {
        let queue = FuturesOrdered::new();
        Self { caller, queue, bytes: 0, asked: HashSet::new(), undecided: HashSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether another one may be added.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < AT_ONCE && self.bytes < MAX_BYTES
    }

    /// Adds a message, by its channel or why it is none.
    pub(super) fn add(&mut self, line: &[u8], channel: Result<ChannelName, Problem>) {
        let turn = match channel {
            Ok(channel) => self.turn(Bytes::copy_from_slice(line), channel),
            Err(problem) => Box::pin(std::future::ready(Turn::Refused(problem))),
        };
        self.queue.push_back(turn);
    }

    fn turn(
        &mut self,
        line: Bytes,
        channel: ChannelName,
    ) -> Pin<Box<dyn Future<Output = Turn> + Send>> {
        self.bytes += line.len();
        let asking = match self.asked.contains(&channel) {
            true => None,
            false => self.caller.asking(Right::Write, &channel),
        };
        if asking.is_some() {
            self.asked.insert(channel.clone());
            self.undecided.remove(&channel);
        }
        Box::pin(async move {
            let asked = asked(asking).await;
            Turn::Line { line, channel, asked }
        })
    }

    /// The next one, once it is decided; that it may be published is known then, and only then. A future that is
    /// dropped loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        loop {
            let (line, channel, asked) = match self.queue.next().await? {
                Turn::Refused(problem) => return Some(Err(problem)),
                Turn::Line { line, channel, asked } => (line, channel, asked),
            };
            self.bytes -= line.len();
            if asked.is_some() {
                self.asked.remove(&channel);
            }
            if let Some(Err(problem)) = asked {
                self.undecided.insert(channel);
                return Some(Err(problem));
            }
            let has_lapsed = self.caller.asking(Right::Write, &channel).is_some();
            if has_lapsed && !self.undecided.contains(&channel) {
                // While those before it were asked for.
                let turn = self.turn(line, channel);
                self.queue.push_front(turn);
                continue;
            }
            return Some(self.caller.may(Right::Write, &channel).map(|()| line));
        }
    }
}

async fn asked(asking: Option<Asking>) -> Option<Result<(), Problem>> {
    match asking {
        Some(asking) => Some(asking.await),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use sockeye_testing::assert_documented;

    #[test]
    fn the_guide_says_the_numbers_of_the_code() {
        let sentence = format!("one request {} are asked for at once", super::AT_ONCE);
        assert_documented("channels/authorize.md", &sentence);
    }
}
