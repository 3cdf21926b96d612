//! The ends of channels, as the engine keeps them: apart from messages, one record for each channel, which is
//! replaced when the channel is opened again.

use std::time::Duration;

use super::{Bounds, EngineState, Shard};
use crate::ChannelName;
use crate::backplane::{Arrival, ChannelEnd, EndTimes, Reply, What};

impl Bounds {
    /// How much longer than a history messages are held: a history is three quarters of what is held.
    pub(super) fn slack(self) -> Duration {
        Duration::from_millis(self.age / 4)
    }

    fn times(self) -> EndTimes {
        EndTimes::new(Duration::from_millis(self.age) - self.slack(), self.slack())
    }
}

impl Shard {
    /// The newest record on the end of a channel that a copy with everything up to `upto` holds.
    pub(super) fn end_of(
        &self,
        channel: &ChannelName,
        upto: u64,
        bounds: Bounds,
        now: u64,
    ) -> Option<&Arrival> {
        let is_held = |arrival: &&Arrival| {
            arrival.offset <= upto
                && arrival.ts + bounds.age >= now
                && is_of_end(&arrival.what)
                && arrival.what.channel() == Some(channel)
        };
        self.all.iter().rfind(is_held)
    }

    /// Whether a copy with everything up to `upto` still holds a record on an end.
    pub(super) fn holds_end(&self, record: &Arrival, upto: u64, bounds: Bounds, now: u64) -> bool {
        let replaces = |later: &Arrival| {
            (record.offset + 1..=upto).contains(&later.offset)
                && matches!(later.what, What::Open { .. })
                && later.what.channel() == record.what.channel()
        };
        record.ts + bounds.age >= now && !self.all.iter().any(replaces)
    }

    /// The channels that have ended.
    pub(super) fn ends(&self, bounds: Bounds, now: u64) -> Vec<ChannelEnd> {
        let held = self.all.iter().filter(|arrival| {
            matches!(arrival.what, What::End(_)) && self.holds_end(arrival, u64::MAX, bounds, now)
        });
        let end = |arrival: &Arrival| {
            let channel = arrival.what.channel()?.clone();
            Some(ChannelEnd { channel, offset: arrival.offset, ts: arrival.ts })
        };
        held.filter_map(end).collect()
    }
}

impl EngineState {
    pub(super) fn end(&mut self, shard: u16, channel: ChannelName, reply: Reply) {
        let (bounds, now) = (self.bounds, self.now);
        let known = self.shards[usize::from(shard)].end_of(&channel, u64::MAX, bounds, now);
        let known = known.filter(|record| {
            matches!(record.what, What::End(_)) && bounds.times().is_closed(record.ts, now)
        });
        let offset = known.map(|record| record.offset);
        reply.taken(offset.unwrap_or_else(|| self.store(shard, What::End(channel))));
    }

    pub(super) fn forget(&mut self, shard: u16, channel: ChannelName, reply: Reply) {
        let (bounds, now) = (self.bounds, self.now);
        let record = self.shards[usize::from(shard)].end_of(&channel, u64::MAX, bounds, now);
        if let Some(Arrival { offset, ts, what: What::End(_) }) = record {
            let channel = channel.clone();
            let opened = What::Open { channel, ended: *offset, since: *ts };
            self.store(shard, opened);
        }
        let offset = self.store(shard, What::Forget(channel));
        reply.taken(offset);
    }
}

/// Whether it is one of those records.
pub(super) fn is_of_end(what: &What) -> bool {
    matches!(what, What::End(_) | What::Open { .. })
}
