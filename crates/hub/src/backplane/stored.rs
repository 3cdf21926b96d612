//! What an engine holds of a channel, and what of it is shown: the same on every hub that reads it.
//!
//! With offsets that have holes nothing is missing by arithmetic. The engine holds one message more
//! than a history has, and drops the oldest first; so a message that is held and not shown proves that
//! everything behind it is held, and one that was deleted on purpose leaves a marker. Where there is
//! neither, age alone can have dropped anything, and the clock of the shard says how old what is gone is
//! at least.

use super::{Arrival, EndTimes, What};
use crate::Options;
use crate::log::ENTRY_OVERHEAD;

/// What an engine holds of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// What it holds, in the order of the offsets.
    pub messages: Vec<Arrival>,
    /// The offset of the newest message of the channel, 0 if there is none; asked for after
    /// [`messages`](Self::messages) were read, like what follows.
    pub head: u64,
    /// Up to where the copy that said so has the shard.
    pub upto: u64,
    /// The offset of the oldest clock message of the shard that it holds.
    pub clock: Option<u64>,
    /// The newest [`End`](What::End) or [`Open`](What::Open) of the channel that it holds.
    pub end: Option<Arrival>,
}

/// What of it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Nothing is missing after this offset.
    pub(crate) start: u64,
    /// Everything up to this offset was deleted on purpose.
    pub(crate) forgotten: u64,
    /// The index of the first message that is shown.
    pub(crate) first: usize,
}

impl Stored {
    /// Whether it is as new as the shard is known up to `from`. What was read and what was asked for
    /// afterwards may come from different copies, each of which may be behind.
    pub(crate) fn is_whole(&self, from: u64) -> bool {
        let newest = self.messages.last().map_or(0, |message| message.offset);
        self.upto >= from && newest >= self.head.min(from)
    }

    /// Whether a message of it is void: stored behind the end of the channel. It takes up its part of the
    /// history all the same, for others may have been dropped for it.
    pub(crate) fn is_void(&self, message: &Arrival, times: EndTimes) -> bool {
        let Some(Arrival { offset, ts, what }) = &self.end else { return false };
        match what {
            What::Open { ended, since, .. } => {
                (*ended..*offset).contains(&message.offset) && times.holds(*since, message.ts)
            }
            _ => message.offset > *offset && times.holds(*ts, message.ts),
        }
    }

    /// What is shown at the time `now`.
    pub(crate) fn shown(&self, options: &Options, now: u64) -> Shown {
        let is_forget = |arrival: &Arrival| matches!(arrival.what, What::Forget(_));
        let marker = self.messages.iter().rposition(is_forget);
        let forgotten = marker.map_or(0, |marker| self.messages[marker].offset);
        let after_marker = marker.map_or(0, |marker| marker + 1);
        let age = u64::try_from(options.history_age.as_millis()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(age);
        let mut bytes = 0;
        let newest_first = self.messages[after_marker..].iter().rev().enumerate();
        let shown = newest_first.take_while(|(index, message)| {
            bytes += charge(message);
            *index < options.history_count.max(1)
                && bytes <= options.history_bytes
                && message.ts >= oldest
        });
        let first = self.messages.len() - shown.count();
        let start = match first.checked_sub(1).and_then(|hidden| self.messages.get(hidden)) {
            Some(hidden) => hidden.offset,
            // Before the first one held there is nothing that is not older than the clock.
            None => {
                let held = self.messages.first().map_or(u64::MAX, |first| first.offset - 1);
                held.min(self.clock.unwrap_or(u64::MAX))
            }
        };
        Shown { start, forgotten, first }
    }
}

/// What an entry made of it is charged for, in bytes.
fn charge(message: &Arrival) -> u64 {
    match &message.what {
        What::Message { payload, event, .. } => {
            let event = event.as_ref().map_or(0, |name| name.as_str().len());
            (payload.as_bytes().len() + event) as u64 + ENTRY_OVERHEAD
        }
        _ => 0,
    }
}
