//! The log of one channel: what it keeps, where readers begin, and what they are told.
//!
//! No lock, no clock and no waiting here: [`Channel`](crate::channels::Channel) adds those.

mod reading;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::log::{Content, Dropped, FormCache, Head};
use crate::names::{History, millis};
use crate::{Entry, Epoch, GapReason, Policy, Position, Run};

/// By how much the time in a channel may be ahead of the clock, in milliseconds. A clock that is set
/// back by less is waited for; one that is set back by more is followed.
const AHEAD: u64 = 60_000;
/// How many corrections of the clock are remembered. When one more comes, entries from before the
/// first count as younger than they are, by the time up to the second.
const CORRECTIONS: usize = 8;

/// The time in a channel whose last entry is of the time `last_ts`, by a clock that says `now`.
pub(crate) fn channel_time(last_ts: u64, now: u64) -> u64 {
    if last_ts > now.saturating_add(AHEAD) { now } else { last_ts.max(now) }
}

/// Whether a time is of a clock that was ahead.
pub(crate) fn is_ahead(ts: u64, now: u64) -> bool {
    channel_time(ts, now) < ts
}

/// The earliest timestamp that is not older than `age` at that time.
fn ts_before(age: Duration, ts: u64) -> u64 {
    ts.saturating_sub(millis(age))
}

/// Recent entries in the order of their offsets. Where the hub gives the offsets, each is one more than
/// the one before; where a backplane gives them, they rise with holes that mean nothing.
#[derive(Debug)]
pub(crate) struct Log {
    epoch: Epoch,
    entries: VecDeque<Arc<Entry>>,
    /// All entries after this offset are here: that of the one that was dropped last, or where what is
    /// known of the channel begins.
    start: u64,
    /// What the entries are charged for, in bytes.
    bytes: u64,
    /// The offset of the newest entry there ever was, or where the log began.
    last: u64,
    /// Up to where it is known that nothing else came, if that is after `last`.
    reached: u64,
    /// The time in the channel: the timestamp of the newest entry there ever was, or when it was found
    /// that the clock had been ahead by then.
    last_ts: u64,
    /// Offsets up to which entries are older than their timestamps say, and since when at the latest,
    /// because the clock was set back then: ascending.
    corrections: Vec<(u64, u64)>,
    /// Entries up to this offset were deleted on purpose.
    forgotten: u64,
    /// How often that was done.
    forgets: u64,
    /// Whether the channel has ended.
    ending: Ending,
    /// The offset of its end, behind all entries, if it has.
    ended_at: u64,
    /// Entries after the first and up to the second of these offsets were dropped so that another
    /// account found room.
    evicted: (u64, u64),
    /// What was given last to a reader that is at the end now: most of the others stood where it did,
    /// and get the same.
    recent: Run,
    /// The forms of the entries up to this offset are closed.
    closed: u64,
    /// Where the log was when forms were closed last: what is newer is new until the next time.
    settled: u64,
}

/// Whether a channel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// Not longer ago than a history is kept.
    Ended,
    /// So long ago that the channel may be forgotten with it, or it is known elsewhere.
    Old,
}

/// Where a reader stands in a log. All the state a reader has.
#[derive(Debug)]
pub(crate) struct Cursor {
    at: Position,
    /// The value of `Log::forgets` that the reader has been told of.
    forgets: u64,
    /// What was lost before the reader began and is still to be told. Rare, so it is boxed.
    lost: Option<Box<(Position, GapReason)>>,
    policy: Policy,
    /// Whether it was cut off, by its policy, or told the end of the channel.
    is_over: bool,
    /// Whether the gap that it was told last was of more than what was deleted on purpose.
    has_missed: bool,
}

impl Log {
    /// An empty log whose first entry will have the offset `floor + 1`.
    pub(crate) fn new(epoch: Epoch, floor: u64) -> Self {
        Self {
            epoch,
            entries: VecDeque::new(),
            start: floor,
            bytes: 0,
            last: floor,
            reached: floor,
            last_ts: 0,
            corrections: Vec::new(),
            forgotten: 0,
            forgets: 0,
            ending: Ending::Open,
            ended_at: 0,
            evicted: (0, 0),
            recent: Run::default(),
            closed: floor,
            settled: floor,
        }
    }

    /// The position of the newest entry there ever was, or, if nothing is kept, a later one behind
    /// which nothing came either; of a channel that has ended, that of its end.
    pub(crate) fn end(&self) -> Position {
        if self.has_ended() {
            return self.position(self.ended_at);
        }
        self.position(if self.entries.is_empty() { self.known() } else { self.last })
    }

    /// Up to where everything is known.
    fn known(&self) -> u64 {
        self.last.max(self.reached)
    }

    /// The offset of the newest entry there ever was, or where the log began.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The offset after which all entries are here.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the entries are charged for, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends `content`, published at that [time](Self::channel_time). The last of what was `dropped` for it becomes the new entry if nothing else has it or keeps
    /// forms with it: then none is allocated, and `content` becomes what that one said.
    pub(crate) fn append(
        &mut self,
        ts: u64,
        content: &mut Content,
        dropped: &mut Dropped,
        cache: &FormCache,
    ) -> Position {
        let position = self.position(self.last + 1);
        let spare = dropped.last_mut().and_then(Arc::get_mut);
        let is_renewed = spare.is_some_and(|spare| spare.renew(position, ts, content, cache));
        let renewed = if is_renewed { dropped.pop() } else { None };
        let new = || Arc::new(Entry::new(position, ts, content.take(), cache));
        self.push(renewed.unwrap_or_else(new));
        position
    }

    /// Ends the channel: nothing follows until the history is dropped on purpose. The end has a position
    /// of its own, so that a reader that has been told of it is told from one that has not.
    pub(crate) fn end_channel(&mut self, now: u64) -> Position {
        self.end_at(self.last + 1, self.channel_time(now));
        self.end()
    }

    /// The same with an offset and a time that are known.
    pub(crate) fn end_at(&mut self, offset: u64, ts: u64) {
        self.let_go();
        if ts < self.last_ts {
            self.correct(ts);
        }
        (self.last, self.last_ts, self.ending) = (offset, ts, Ending::Ended);
        self.ended_at = offset;
    }

    /// The channel has ended there, which a backplane knows, also when this log is gone.
    pub(crate) fn end_known(&mut self, offset: u64) {
        self.let_go();
        // Behind it nothing is missing.
        (self.last, self.start) = (self.last.max(offset), self.start.min(offset));
        (self.ending, self.ended_at) = (Ending::Old, offset);
    }

    /// It is open again, as a backplane says at that offset.
    pub(crate) fn open_at(&mut self, offset: u64) {
        self.let_go();
        (self.last, self.ending) = (self.last.max(offset), Ending::Open);
    }

    /// Whether the channel has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending != Ending::Open
    }

    /// Whether it has ended, and that is to be remembered though no entry is left.
    pub(crate) fn keeps_end(&self) -> bool {
        self.ending == Ending::Ended
    }

    /// Nothing is known of an end any more: the channel is one on which nothing was published.
    pub(crate) fn reopen(&mut self) {
        self.ending = Ending::Open;
        if self.entries.is_empty() {
            self.start = self.last;
        }
    }

    /// Appends an entry whose position is the next.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        self.let_go();
        if entry.ts < self.last_ts {
            self.correct(entry.ts);
        }
        self.last = entry.position.offset;
        self.last_ts = entry.ts;
        self.ending = Ending::Open;
        self.bytes += entry.charge();
        self.entries.push_back(entry);
    }

    /// Puts in place of everything what was kept: the newest entries without a hole before them.
    /// Readers of this log go on reading.
    pub(crate) fn restore(&mut self, head: &Head, entries: impl Iterator<Item = Arc<Entry>>) {
        self.empty(head.start);
        (self.last, self.last_ts, self.corrections) = (head.start, 0, Vec::new());
        self.let_go();
        for entry in entries {
            if entry.position.offset != self.last + 1 {
                self.empty(entry.position.offset - 1);
            }
            self.push(entry);
        }
        let newest = head.newest();
        if self.last != newest {
            self.empty(newest);
        }
        self.last = head.last;
        self.ending = if head.ended { Ending::Ended } else { Ending::Open };
        self.ended_at = head.last;
        if head.last_ts < self.last_ts {
            self.correct(head.last_ts);
        }
        (self.last_ts, self.forgotten) = (head.last_ts, head.forgotten);
        // What was published before is read by the reader that comes back, not by many at once.
        (self.closed, self.settled) = (self.last, self.last);
    }

    /// Drops all entries: what is known begins at `start`.
    fn empty(&mut self, start: u64) {
        (self.entries, self.bytes, self.start) = (VecDeque::new(), 0, start);
    }

    /// Where the log stands, for a store.
    pub(crate) fn head(&self) -> Head {
        let Self { start, bytes, last, last_ts, forgotten, .. } = *self;
        Head { start, last, last_ts, forgotten, bytes, keys_start: last, ended: self.has_ended() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter()
    }

    /// The timestamp of the entry that was appended last.
    pub(crate) fn last_ts(&self) -> u64 {
        self.last_ts
    }

    /// The time in the channel by a clock that says `now`.
    pub(crate) fn channel_time(&self, now: u64) -> u64 {
        channel_time(self.last_ts, now)
    }

    /// Follows a clock that was ahead and is not any more. Whether it was.
    pub(crate) fn follow(&mut self, now: u64) -> bool {
        let was_ahead = is_ahead(self.last_ts, now);
        if was_ahead {
            self.correct(now);
        }
        was_ahead
    }

    /// All entries are from before `time`, whatever their timestamps say.
    fn correct(&mut self, time: u64) {
        if self.corrections.len() == CORRECTIONS {
            self.corrections.remove(0);
        }
        self.corrections.push((self.last, time));
        self.last_ts = time;
    }

    /// When what has this offset and timestamp was published at the latest. This never goes backwards
    /// from one entry to the next.
    pub(crate) fn published(&self, offset: u64, ts: u64) -> u64 {
        let later = self.corrections.iter().rev().take_while(|(last, _)| *last >= offset);
        later.fold(ts, |earliest, (_, time)| earliest.min(*time))
    }

    /// Drops the oldest entries, at most `limit`, until the rest is within these bounds, and
    /// gives back what was dropped so that its memory is freed without the lock.
    pub(crate) fn trim(&mut self, history: History, now: u64, limit: usize) -> Dropped {
        let oldest = self.ts_before(history.age, now);
        if self.keeps_end() && self.published(self.last, self.last_ts) < oldest {
            self.ending = Ending::Old;
        }
        let mut dropped = Dropped::default();
        self.drop_while(&mut dropped, limit, |log, entry| {
            log.entries.len() > history.count.max(1)
                || log.bytes > history.bytes
                || log.published(entry.position.offset, entry.ts) < oldest
        });
        self.shrink();
        dropped
    }

    /// Drops the oldest entries until one that is charged that much can be appended at that
    /// [time](Self::channel_time) within these bounds.
    pub(crate) fn trim_for(
        &mut self,
        charge: u64,
        history: History,
        ts: u64,
        dropped: &mut Dropped,
    ) {
        let oldest = ts_before(history.age, ts);
        let bytes = history.bytes.saturating_sub(charge);
        self.drop_while(dropped, usize::MAX, |log, entry| {
            log.entries.len() >= history.count.max(1)
                || log.bytes > bytes
                || log.published(entry.position.offset, entry.ts) < oldest
        });
    }

    /// Drops the oldest entries until at least `bytes` are free, or nothing is left.
    pub(crate) fn make_room(&mut self, bytes: u64, dropped: &mut Dropped) {
        if bytes > 0 {
            let enough = self.bytes.saturating_sub(bytes);
            self.drop_while(dropped, usize::MAX, |log, _| log.bytes > enough);
        }
    }

    /// Drops the oldest entries, that many, so that another account finds room. It is not the fault of
    /// the readers: those that have not read them are told `expired`.
    pub(crate) fn evict(&mut self, count: usize) -> Dropped {
        let from = self.start;
        let keep = self.entries.len().saturating_sub(count);
        let mut dropped = Dropped::default();
        self.drop_while(&mut dropped, usize::MAX, |log, _| log.entries.len() > keep);
        self.shrink();
        let start = if self.evicted.1 == from { self.evicted.0 } else { from };
        if !dropped.is_empty() {
            self.evicted = (start, self.start);
        }
        dropped
    }

    fn drop_while(
        &mut self,
        dropped: &mut Dropped,
        limit: usize,
        surplus: impl Fn(&Self, &Entry) -> bool,
    ) {
        let mut count = 0;
        while count < limit
            && let Some(oldest) = self.entries.front()
            && surplus(self, oldest)
        {
            self.bytes -= oldest.charge();
            self.start = oldest.position.offset;
            if let Some(oldest) = self.entries.pop_front() {
                dropped.push(oldest);
            }
            count += 1;
        }
        if count > 0 {
            self.let_go();
            if !self.corrections.is_empty() {
                let start = self.start;
                self.corrections.retain(|(last, _)| *last > start);
            }
        }
    }

    /// A burst of small entries leaves a large buffer behind; an idle channel shall be small.
    fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// The entries, of a log that is not needed any more.
    pub(crate) fn into_entries(self) -> VecDeque<Arc<Entry>> {
        self.entries
    }

    /// Drops everything on purpose: readers in or before it are told `reset`.
    pub(crate) fn forget(&mut self) -> VecDeque<Arc<Entry>> {
        (self.forgotten, self.start, self.ending) = (self.last, self.last, Ending::Open);
        self.forgets += 1;
        self.bytes = 0;
        self.let_go();
        std::mem::take(&mut self.entries)
    }

    /// A marker at that offset drops everything before it on purpose.
    pub(crate) fn forget_at(&mut self, offset: u64, ts: u64) -> VecDeque<Arc<Entry>> {
        (self.last, self.last_ts) = (offset, ts.max(self.last_ts));
        self.forget()
    }

    /// Everything up to that position is known to be here.
    pub(crate) fn raise(&mut self, to: Position) {
        if to.epoch == self.epoch {
            self.reached = self.reached.max(to.offset);
        }
    }

    /// Begins again behind that position, in another epoch: every reader is told `reset`.
    pub(crate) fn restart(&mut self, at: Position) -> VecDeque<Arc<Entry>> {
        let dropped = std::mem::take(&mut self.entries);
        let forgets = self.forgets + 1;
        *self = Self { forgets, ..Self::new(at.epoch, at.offset) };
        dropped
    }

    /// Begins again behind that offset, for what came up to there is not known: readers before it
    /// are told `expired`.
    pub(crate) fn skip(&mut self, upto: u64) -> VecDeque<Arc<Entry>> {
        let dropped = std::mem::take(&mut self.entries);
        self.empty(upto);
        self.ending = Ending::Open;
        (self.last, self.evicted, self.closed, self.settled) = (upto, (0, upto), upto, upto);
        self.corrections.clear();
        self.let_go();
        dropped
    }

    /// Puts older entries before those that are here. Nothing is missing between them, nor after
    /// `start`; up to `forgotten` everything was deleted on purpose.
    pub(crate) fn prepend(&mut self, start: u64, forgotten: u64, entries: Vec<Arc<Entry>>) {
        self.let_go();
        self.start = start;
        self.forgotten = self.forgotten.max(forgotten);
        if self.entries.is_empty() {
            self.last_ts = self.last_ts.max(entries.last().map_or(0, |newest| newest.ts));
        }
        for entry in entries.into_iter().rev() {
            self.bytes += entry.charge();
            self.entries.push_front(entry);
        }
    }

    /// Keeps nothing for readers that may come to the same place.
    fn let_go(&mut self) {
        self.recent = Run::default();
    }

    /// The entries, at most `limit`, whose forms are to be closed now, so that their memory is freed
    /// without the lock: those that were there already when all of them had been given out the last
    /// time. None when all have been given out.
    pub(crate) fn old_entries(&mut self, limit: usize) -> Vec<Arc<Entry>> {
        self.let_go();
        let (first, end) = (self.index_after(self.closed), self.index_after(self.settled));
        let some: Vec<_> = self.entries.range(first..end.max(first)).take(limit).cloned().collect();
        match some.last() {
            Some(newest) => self.closed = newest.position.offset,
            None => (self.closed, self.settled) = (self.settled, self.last),
        }
        some
    }

    /// The earliest timestamp that is not older than `age`.
    fn ts_before(&self, age: Duration, now: u64) -> u64 {
        ts_before(age, self.channel_time(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntryForm, Payload};

    const ONE: History = History { count: 1, bytes: 1 << 20, age: Duration::from_hours(1) };

    /// Appends a text in place of the one that is kept; gives the entry.
    fn append(log: &mut Log, text: &'static str, cache: &FormCache) -> *const Entry {
        let mut content = Content::new(Payload::Text(text.into()), None, 7);
        let mut dropped = Dropped::default();
        log.trim_for(64, ONE, 1000, &mut dropped);
        log.append(1000, &mut content, &mut dropped, cache);
        let entry = log.entries().next().unwrap();
        assert_eq!((log.len(), entry.payload.as_bytes().as_ref()), (1, text.as_bytes()));
        assert_eq!(entry.position.offset, log.last());
        Arc::as_ptr(entry)
    }

    #[test]
    fn an_entry_that_nothing_has_becomes_the_next_one() {
        static FORM: EntryForm = EntryForm::new();
        let cache = FormCache::new(1 << 20);
        let mut log = Log::new(Epoch::random(), 0);
        let first = append(&mut log, "first", &cache);
        assert_eq!(append(&mut log, "second", &cache), first);

        let held = Arc::clone(log.entries().next().unwrap());
        let third = append(&mut log, "third", &cache);
        assert_ne!(third, first);
        assert_eq!((held.payload.as_bytes().as_ref(), held.position.offset), (&b"second"[..], 2));

        let make = || bytes::Bytes::from_static(b"form");
        log.entries().next().unwrap().form(&FORM, make);
        assert_ne!(append(&mut log, "its forms are freed without the lock", &cache), third);
        let fourth = append(&mut log, "as are those of none", &cache);
        log.entries().next().unwrap().close_forms(&cache);
        assert_eq!(append(&mut log, "which is as good as none", &cache), fourth);
        let kept = log.entries().next().unwrap().form(&FORM, make);
        assert_eq!((kept.as_ref(), cache.bytes() > 0), (&b"form"[..], true), "it is new");
    }
}
