//! Reading a log: where readers begin, and what they are given.

use std::sync::Arc;

use super::{Cursor, Log};
use crate::{
    Budget, Entry, Epoch, Gap, GapReason, Item, Lag, Missing, Page, Policy, Position, Run, Start,
};

impl Log {
    /// Puts a new reader where `start` says.
    pub(crate) fn locate(&self, start: Start, policy: Policy, now: u64) -> Cursor {
        let mut lost = None;
        let offset = match start {
            Start::After(position) => match self.loss(position) {
                None => position.offset,
                Some(why) => {
                    lost = Some(Box::new((position, why)));
                    self.resumption(policy, why)
                }
            },
            Start::Foreign => {
                lost = Some(Box::new((self.position(0), GapReason::Reset)));
                self.resumption(policy, GapReason::Reset)
            }
            Start::Earliest => self.start,
            Start::Last(count) => self.before(self.entries.len().saturating_sub(to_index(count))),
            Start::Now => self.end().offset,
            Start::Since(span) => {
                let oldest = self.ts_before(span, now);
                let older = self.entries.partition_point(|entry| {
                    self.published(entry.position.offset, entry.ts) < oldest
                });
                self.before(older)
            }
        };
        let at = self.position(offset);
        Cursor { at, forgets: self.forgets, lost, policy, is_over: false, has_missed: false }
    }

    /// Why a reader that comes back to `position` has missed entries, if it has.
    fn loss(&self, position: Position) -> Option<GapReason> {
        let known = position.epoch == self.epoch && position.offset <= self.known();
        if known && self.is_behind_end(position) {
            return None;
        }
        if !known || position.offset < self.forgotten {
            Some(GapReason::Reset)
        } else if position.offset < self.start {
            Some(GapReason::Expired)
        } else {
            None
        }
    }

    /// The offset to resume from after a gap.
    fn resumption(&self, policy: Policy, why: GapReason) -> u64 {
        match policy {
            Policy::Latest if why != GapReason::Reset => {
                self.before(self.entries.len().saturating_sub(1))
            }
            Policy::Catchup | Policy::Close | Policy::Latest => self.start,
        }
    }

    /// The next thing for a reader, if there is one.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Option<Item> {
        if let Some(gap) = self.gap(cursor) {
            return Some(Item::Gap(gap));
        }
        if cursor.is_over {
            return None;
        }
        if let Some(entry) = self.entries.get(self.index_after(cursor.at.offset)) {
            cursor.at = entry.position;
            return Some(Item::Entry(Arc::clone(entry)));
        }
        self.tell_end(cursor).then(|| Item::End(cursor.at))
    }

    /// What follows for a reader, within `budget`; possibly nothing.
    pub(crate) fn page(&mut self, cursor: &mut Cursor, budget: Budget) -> Page {
        let gap = self.gap(cursor);
        let first =
            if cursor.is_over { self.entries.len() } else { self.index_after(cursor.at.offset) };
        let entries = self.run(first, budget);
        if let Some(newest) = entries.last() {
            cursor.at = newest.position;
        }
        let end = first + entries.len() == self.entries.len() && self.tell_end(cursor);
        Page { gap, entries, at: cursor.at, end }
    }

    /// Puts a reader that has all entries behind the end of the channel, if there is one that it has not
    /// been told. Whether there is.
    fn tell_end(&self, cursor: &mut Cursor) -> bool {
        let is_news = self.has_ended() && !cursor.is_over;
        if is_news {
            (cursor.at, cursor.is_over) = (self.end(), true);
        }
        is_news
    }

    /// The entry at that position.
    pub(crate) fn entry_at(&self, position: Position) -> Result<Arc<Entry>, Missing> {
        let Position { epoch, offset } = position;
        if epoch != self.epoch || offset == 0 || offset > self.known() {
            return Err(Missing::Never);
        }
        if offset <= self.start {
            return Err(Missing::Gone);
        }
        let entry = self.entries.get(self.index_after(offset - 1));
        entry.filter(|entry| entry.position == position).cloned().ok_or(Missing::Never)
    }

    /// How many of the newest entries are within `budget`.
    pub(crate) fn newest_within(&self, budget: Budget) -> u64 {
        within(self.entries.iter().rev(), budget).count() as u64
    }

    /// The entries from that index on, within `budget`.
    fn run(&mut self, first: usize, budget: Budget) -> Run {
        let count = self.entries.len() - first;
        let Some(next) = self.entries.get(first) else { return Run::default() };
        if self.recent.is(next, count) && self.recent.fits(budget) {
            return self.recent.clone();
        }
        let mut entries = Vec::with_capacity(count.min(budget.entries));
        entries.extend(within(self.entries.range(first..), budget).cloned());
        let is_recent = entries.len() == count;
        let run = Run::new(entries, is_recent);
        if is_recent {
            self.recent = run.clone();
        }
        run
    }

    /// How far the reader is behind.
    pub(crate) fn lag(&self, cursor: &Cursor) -> Lag {
        let gap = self.gap_ahead(cursor);
        let entries = match gap {
            Some(why) => self.count_after(self.resumption(cursor.policy, why)),
            None => self.count_after(cursor.at.offset),
        };
        let ended = self.has_ended() && !cursor.is_over;
        Lag { end: self.end(), entries, gap, ended }
    }

    /// Why a gap is what the reader will be told next, if so.
    fn gap_ahead(&self, cursor: &Cursor) -> Option<GapReason> {
        if cursor.is_over {
            None
        } else if cursor.forgets != self.forgets {
            Some(GapReason::Reset)
        } else if let Some(lost) = &cursor.lost {
            Some(lost.1)
        } else {
            let at = cursor.at.offset;
            let evicted = (self.evicted.0..self.evicted.1).contains(&at);
            let is_missing = at < self.start && !self.is_behind_end(cursor.at);
            is_missing.then_some(if evicted { GapReason::Expired } else { GapReason::Slow })
        }
    }

    /// Tells the reader what it missed, if anything, and puts it where its policy says. What
    /// piled up since it was told last makes one gap.
    fn gap(&self, cursor: &mut Cursor) -> Option<Gap> {
        let why = self.gap_ahead(cursor)?;
        let after = cursor.position();
        let at = self.position(self.resumption(cursor.policy, why));
        // What was published after a deletion, and dropped since then, is told with it.
        let is_deletion = why == GapReason::Reset
            && cursor.lost.is_none()
            && after.epoch == at.epoch
            && at.offset <= self.forgotten;
        *cursor = Cursor {
            at,
            forgets: self.forgets,
            lost: None,
            policy: cursor.policy,
            is_over: cursor.policy == Policy::Close && why == GapReason::Slow,
            has_missed: !is_deletion,
        };
        Some(Gap { after, next: cursor.at, why })
    }

    /// The index of the first entry after that offset, or one more than that of the newest.
    pub(super) fn index_after(&self, offset: u64) -> usize {
        let count = self.entries.len();
        match self.last - self.start == count as u64 {
            // There are no holes, so the offset tells the index.
            true => to_index(offset.saturating_sub(self.start)).min(count),
            false if offset >= self.last => count,
            false => self.entries.partition_point(|entry| entry.position.offset <= offset),
        }
    }

    /// Whether nothing is missing after either of the positions, and the same comes next.
    pub(crate) fn is_same_place(&self, one: Position, other: Position) -> bool {
        let is_whole = self.loss(one).is_none() && self.loss(other).is_none();
        // A reader before the end of a channel is still to be told of it.
        is_whole
            && self.is_behind_end(one) == self.is_behind_end(other)
            && self.index_after(one.offset) == self.index_after(other.offset)
    }

    /// Whether nothing comes after that position because the channel has ended.
    pub(crate) fn is_behind_end(&self, position: Position) -> bool {
        self.has_ended() && position.epoch == self.epoch && position.offset >= self.ended_at
    }

    /// How many entries come after that offset.
    pub(crate) fn count_after(&self, offset: u64) -> u64 {
        (self.entries.len() - self.index_after(offset)) as u64
    }

    /// The offset after which one reads on from the entry with that index.
    fn before(&self, index: usize) -> u64 {
        match index.checked_sub(1).and_then(|before| self.entries.get(before)) {
            Some(before) => before.position.offset,
            None if self.entries.is_empty() => self.end().offset,
            None => self.start,
        }
    }
}

/// Larger than any index if it is too large for one.
fn to_index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The first of the entries, as many as `budget` has room for.
fn within<'a>(
    entries: impl Iterator<Item = &'a Arc<Entry>>,
    budget: Budget,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    let mut bytes = 0_u64;
    entries.take(budget.entries).take_while(move |entry| {
        let first = bytes == 0;
        bytes = bytes.saturating_add(entry.encoded_len());
        first || bytes <= budget.bytes
    })
}

impl Cursor {
    /// Where the reader stands: what it was given last, or came with.
    pub(crate) fn position(&self) -> Position {
        self.lost.as_ref().map_or(self.at, |lost| lost.0)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn has_missed(&self) -> bool {
        self.has_missed
    }

    /// What decides, besides its offset, what the reader is given; `None` if there is something for it alone.
    pub(crate) fn outlook(&self) -> Option<(Epoch, u64, Policy)> {
        let is_usual = self.lost.is_none() && !self.is_over;
        is_usual.then_some((self.at.epoch, self.forgets, self.policy))
    }

    /// Another cursor at the same place, if there is nothing for this one alone.
    pub(crate) fn fork(&self) -> Option<Self> {
        let Self { at, forgets, policy, .. } = *self;
        self.outlook().map(|_| Self::usual(at, forgets, policy))
    }

    /// One for which there is nothing but what comes behind it.
    pub(crate) fn usual(at: Position, forgets: u64, policy: Policy) -> Self {
        Self { at, forgets, lost: None, policy, is_over: false, has_missed: false }
    }

    /// Passes over what is up to that offset.
    pub(crate) fn pass(&mut self, offset: u64) {
        self.at.offset = self.at.offset.max(offset);
    }
}
