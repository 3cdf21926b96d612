//! Which channels of a shard have ended: the same on every hub, for it follows from the order of the shard.
//!
//! An engine orders the end of a channel among its messages, and does not look at it when it takes a
//! message: one that a hub has sent before it knew of the end may be stored behind it. Such a message is
//! void: no hub gives it to readers, and its publisher is told that the channel has ended.
//!
//! The engine holds an end longer than void messages are shown, as long as no hub publishes that has been told
//! nothing for the time by which the engine holds messages longer than a history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::{Arrival, ChannelEnd, What};
use crate::ChannelName;

/// The most channels of a shard that have ended and are remembered: some 70 bytes each.
pub(crate) const MAX_ENDS: usize = 131_072;
/// How many void messages are remembered, until their publishers have the answer of the engine; and how many
/// ranges of which it is not known.
const MAX_VOID: usize = 65_536;
const MAX_UNKNOWN: usize = 1024;

/// The channels of a shard that have ended, up to where the shard is known.
#[derive(Debug)]
pub(crate) struct Ends {
    /// For how long after it an end holds, in milliseconds, and for how long nothing is sent.
    times: EndTimes,
    ended: HashMap<u128, End>,
    /// Names come from peers, which must not be able to find two that are taken for one.
    hashers: [RandomState; 2],
    /// The offsets of messages that are void.
    void: BTreeSet<u64>,
    /// Where it is not known which are, for they were dropped before they came: the first offset, and the one
    /// behind the last.
    unknown: BTreeMap<u64, u64>,
}

/// How long ends hold, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndTimes {
    /// A message that comes later is of a channel that is new.
    holds: u64,
    /// Until then nothing is sent: longer than it holds by what clocks may differ.
    closed: u64,
}

/// The end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Its offset.
    pub(crate) offset: u64,
    /// When it came, in milliseconds since the Unix epoch.
    ts: u64,
    /// Whether it was so old, when it became known, that the channel may be a new one since.
    is_over: bool,
}

impl EndTimes {
    /// For an engine that holds what is stored longer than a history by `slack`: it has an end longer
    /// than any message that is void for it is shown.
    pub(crate) fn new(history: Duration, slack: Duration) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let after = |part| millis(history).saturating_add(millis(slack) / 4 * part);
        Self { holds: after(2), closed: after(3) }
    }

    /// Whether nothing is sent at the time `now` for an end of the time `end`.
    pub(crate) fn is_closed(self, end: u64, now: u64) -> bool {
        now < end.saturating_add(self.closed)
    }

    /// Whether a message of the time `ts` is behind an end of the time `end`.
    pub(crate) fn holds(self, end: u64, ts: u64) -> bool {
        ts < end.saturating_add(self.holds)
    }
}

impl Ends {
    pub(crate) fn new(times: EndTimes) -> Self {
        Self {
            times,
            ended: HashMap::new(),
            hashers: [RandomState::new(), RandomState::new()],
            void: BTreeSet::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// These are all, in their order, up to where the shard is known now, and perhaps some that come later
    /// once more. What was passed over is what came between the two offsets.
    ///
    /// An end that does not hold any more at the time `now` is remembered for messages that come late alone: a message
    /// of the channel that is new may be among what was passed over.
    pub(crate) fn begin(&mut self, ends: &[ChannelEnd], passed: (u64, u64), now: u64) {
        *self = Self::new(self.times);
        self.pass_over(passed.0 + 1, passed.1 + 1);
        for ChannelEnd { channel, offset, ts } in ends.iter().filter(|end| end.offset <= passed.1) {
            let is_over = !self.times.holds(*ts, now);
            self.add(channel, End { offset: *offset, ts: *ts, is_over });
        }
    }

    /// The end of a channel, if it has ended.
    pub(crate) fn of(&self, channel: &ChannelName) -> Option<End> {
        self.known(channel).filter(|end| !end.is_over)
    }

    /// The same, of one that is over, too.
    fn known(&self, channel: &ChannelName) -> Option<End> {
        match self.ended.is_empty() {
            true => None,
            false => self.ended.get(&self.key(channel)).copied(),
        }
    }

    /// The end of a channel on which nothing can be published at the time `now`.
    pub(crate) fn closed(&self, channel: &ChannelName, now: u64) -> Option<End> {
        self.of(channel).filter(|end| self.times.is_closed(end.ts, now))
    }

    /// How many are remembered.
    pub(crate) fn count(&self) -> usize {
        self.ended.len()
    }

    /// Whether no more channels can end.
    pub(crate) fn is_full(&self) -> bool {
        self.count() >= MAX_ENDS
    }

    /// Follows what came behind `upto`, and gives of it what counts; and the channels of which something may be
    /// missing that the engine has dropped for messages that are void: those do not show it.
    pub(crate) fn follow(
        &mut self,
        arrivals: Vec<Arrival>,
        mut upto: u64,
    ) -> (Vec<Arrival>, Vec<ChannelName>) {
        let is_of_ends =
            |arrival: &Arrival| matches!(arrival.what, What::End(_) | What::Open { .. });
        if self.ended.is_empty() && !arrivals.iter().any(is_of_ends) {
            return (arrivals, Vec::new());
        }
        let opened = opened(&arrivals);
        let mut counted = Vec::with_capacity(arrivals.len());
        let (mut doubtful, mut has_passed) = (Vec::<ChannelName>::new(), false);
        for arrival in arrivals {
            if arrival.offset > upto + 1 {
                self.pass_over(upto + 1, arrival.offset);
                has_passed = true;
            }
            upto = arrival.offset;
            if self.counts(&arrival, &opened) {
                counted.push(arrival);
            } else {
                self.forbid(arrival.offset);
                if let Some(channel) = arrival.what.channel()
                    && has_passed
                    && !doubtful.contains(channel)
                {
                    doubtful.push(channel.clone());
                }
            }
        }
        (counted, doubtful)
    }

    /// Follows one. Whether it counts.
    fn counts(&mut self, arrival: &Arrival, opened: &[Opened]) -> bool {
        let Arrival { offset, ts, what } = arrival;
        match what {
            What::End(channel) => {
                self.add(channel, End { offset: *offset, ts: *ts, is_over: false });
            }
            What::Open { channel, .. } | What::Forget(channel) => self.remove(channel, *offset),
            What::Message { channel, .. } => {
                // The end was dropped by what opened the channel again, if that came meanwhile.
                let is_between = |opened: &Opened| {
                    opened.channel == *channel
                        && (opened.end.offset..opened.offset).contains(offset)
                        && self.times.holds(opened.end.ts, *ts)
                };
                let end = self.known(channel).filter(|end| end.offset < *offset);
                if end.is_some_and(|end| self.times.holds(end.ts, *ts))
                    || opened.iter().any(is_between)
                {
                    return false;
                }
                self.remove(channel, *offset);
            }
            // So old that a new message is of a channel that is new.
            What::Clock => self.ended.retain(|_, end| self.times.is_closed(end.ts, *ts)),
            What::Other => {}
        }
        true
    }

    /// Whether the message with that offset is void; `None` if it is not known any more.
    pub(crate) fn is_void(&self, offset: u64) -> Option<bool> {
        match self.void.contains(&offset) {
            true => Some(true),
            false => {
                let unknown = self.unknown.range(..=offset).next_back();
                unknown.is_none_or(|(_, end)| *end <= offset).then_some(false)
            }
        }
    }

    fn forbid(&mut self, offset: u64) {
        self.void.insert(offset);
        if self.void.len() > MAX_VOID
            && let Some(oldest) = self.void.pop_first()
        {
            self.pass_over(oldest, oldest + 1);
        }
    }

    /// What was there did not come.
    fn pass_over(&mut self, begin: u64, end: u64) {
        self.unknown.insert(begin, end);
        if self.unknown.len() > MAX_UNKNOWN
            && let (Some((begin, _)), Some((_, end))) =
                (self.unknown.pop_first(), self.unknown.pop_first())
        {
            // What is between them is not known either from now on.
            self.unknown.insert(begin, end);
        }
    }

    fn key(&self, channel: &ChannelName) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(channel));
        u128::from(high) << 64 | u128::from(low)
    }

    fn add(&mut self, channel: &ChannelName, end: End) {
        let key = self.key(channel);
        if self.ended.get(&key).is_none_or(|known| known.offset < end.offset) {
            self.ended.insert(key, end);
        }
    }

    /// The channel has not ended any more at `offset`.
    fn remove(&mut self, channel: &ChannelName, offset: u64) {
        if self.known(channel).is_some_and(|end| end.offset < offset) {
            self.ended.remove(&self.key(channel));
        }
    }
}

/// A channel that is open again.
struct Opened {
    channel: ChannelName,
    end: End,
    /// Where it is open again.
    offset: u64,
}

fn opened(arrivals: &[Arrival]) -> Vec<Opened> {
    let opened = arrivals.iter().filter_map(|arrival| match &arrival.what {
        What::Open { channel, ended, since } => Some(Opened {
            channel: channel.clone(),
            end: End { offset: *ended, ts: *since, is_over: false },
            offset: arrival.offset,
        }),
        _ => None,
    });
    opened.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const MINUTE: u64 = 60_000;

    fn ends() -> Ends {
        Ends::new(EndTimes::new(Duration::from_hours(24), Duration::from_hours(1)))
    }

    fn end(number: u64) -> Arrival {
        let channel = format!("c{number}").parse().unwrap();
        Arrival { offset: number, ts: number, what: What::End(channel) }
    }

    #[test]
    fn an_end_holds_30_minutes_longer_than_a_history_and_nothing_is_sent_for_45() {
        let mut ends = ends();
        ends.follow(vec![end(1)], 0);
        let channel = "c1".parse().unwrap();
        for (minutes, holds, is_closed) in
            [(29, true, true), (31, false, true), (44, false, true), (46, false, false)]
        {
            let now = 24 * HOUR + minutes * MINUTE;
            let known = ends.of(&channel).unwrap();
            assert_eq!(ends.times.holds(known.ts, now), holds, "{minutes}");
            assert_eq!(ends.closed(&channel, now).is_some(), is_closed, "{minutes}");
        }
        ends.follow(vec![Arrival { offset: 2, ts: 25 * HOUR, what: What::Clock }], 1);
        assert_eq!(ends.of(&channel), None);
    }

    #[test]
    fn a_shard_has_131_072_ends_until_older_ones_have_gone() {
        let mut ends = ends();
        ends.follow((1..131_072).map(end).collect(), 0);
        assert!(!ends.is_full());
        ends.follow(vec![end(131_072)], 131_071);
        assert!(ends.is_full());
        ends.follow(vec![Arrival { offset: 131_073, ts: 25 * HOUR, what: What::Clock }], 131_072);
        assert!(!ends.is_full() && ends.ended.is_empty());
    }

    #[test]
    fn what_is_void_is_remembered_within_bounds_and_what_is_not_known_is_said_so() {
        let mut ends = ends();
        let channel: ChannelName = "c1".parse().unwrap();
        let message = |offset| Arrival {
            offset,
            ts: 2,
            what: What::Message {
                channel: channel.clone(),
                payload: crate::Payload::Text("x".into()),
                event: None,
                id: None,
            },
        };
        ends.follow(vec![end(1)], 0);
        let count = MAX_VOID as u64 + 10;
        assert!(ends.follow((2..2 + count).map(message).collect(), 1).0.is_empty());
        assert_eq!((ends.is_void(1), ends.is_void(2), ends.is_void(11)), (Some(false), None, None));
        assert_eq!((ends.is_void(12), ends.is_void(1 + count)), (Some(true), Some(true)));
        // One did not come.
        let (counted, doubtful) = ends.follow(vec![message(3 + count)], 1 + count);
        assert_eq!((counted, doubtful), (vec![], vec![channel.clone()]));
        assert_eq!((ends.is_void(2 + count), ends.is_void(3 + count)), (None, Some(true)));
        assert_eq!(ends.void.len(), MAX_VOID);
    }
}
