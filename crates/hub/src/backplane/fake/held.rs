//! What a copy of a shard holds, of all that was ever stored.

use super::ends::is_of_end;
use super::{Bounds, Shard};
use crate::ChannelName;
use crate::backplane::{Arrival, What};

impl Shard {
    pub(super) fn last(&self) -> u64 {
        self.all.last().map_or(0, |newest| newest.offset)
    }

    /// What a copy that has everything up to `upto` holds of a channel.
    pub(super) fn held(
        &self,
        channel: &ChannelName,
        upto: u64,
        bounds: Bounds,
        now: u64,
    ) -> Vec<Arrival> {
        let of_channel = |arrival: &&Arrival| {
            arrival.offset <= upto && message_of(&arrival.what) == Some(channel)
        };
        let all: Vec<_> = self.all.iter().filter(of_channel).collect();
        let is_forget = |arrival: &&Arrival| matches!(arrival.what, What::Forget(_));
        let first = all.iter().rposition(is_forget).unwrap_or(0);
        let first = first.max(all.len().saturating_sub(bounds.count + 1));
        let is_young = |arrival: &&Arrival| arrival.ts + bounds.age >= now;
        all[first..].iter().copied().filter(is_young).cloned().collect()
    }

    /// The same of the clock.
    pub(super) fn clocks(
        &self,
        upto: u64,
        bounds: Bounds,
        now: u64,
    ) -> impl Iterator<Item = &Arrival> {
        let is_clock = move |arrival: &&Arrival| {
            matches!(arrival.what, What::Clock)
                && arrival.offset <= upto
                && arrival.ts + bounds.age >= now
        };
        self.all.iter().filter(is_clock)
    }

    /// Up to `limit` messages of the shard from an offset on, and whether a copy that has everything
    /// up to `upto` holds nothing behind them.
    pub(super) fn from(
        &self,
        from: u64,
        limit: usize,
        upto: u64,
        bounds: Bounds,
        now: u64,
    ) -> (Vec<Arrival>, bool) {
        let mut found = Vec::new();
        for arrival in self.all.iter().filter(|arrival| (from..=upto).contains(&arrival.offset)) {
            let is_held = match message_of(&arrival.what) {
                None if is_of_end(&arrival.what) => self.holds_end(arrival, upto, bounds, now),
                None => arrival.ts + bounds.age >= now,
                Some(channel) => self.held(channel, upto, bounds, now).contains(arrival),
            };
            if is_held && found.len() == limit {
                return (found, false);
            }
            found.extend(is_held.then(|| arrival.clone()));
        }
        (found, true)
    }
}

/// The channel of a message or a deletion.
fn message_of(what: &What) -> Option<&ChannelName> {
    match what {
        What::Message { channel, .. } | What::Forget(channel) => Some(channel),
        _ => None,
    }
}
