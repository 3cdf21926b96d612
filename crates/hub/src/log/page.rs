//! What a reader is given: entries, and gaps that say what is missing.

use std::fmt;
use std::sync::Arc;

use crate::{Entry, Position, Run};

/// What a [`Reader`](crate::Reader) yields.
#[derive(Clone, Debug)]
pub enum Item {
    /// The next entry.
    Entry(Arc<Entry>),
    /// Entries are missing here.
    Gap(Gap),
    /// The channel has ended, at this position. Nothing follows.
    End(Position),
}

/// Entries in order, all that follow each other without a hole.
#[derive(Clone, Debug)]
pub struct Page {
    /// What is missing before the first of the entries.
    pub gap: Option<Gap>,
    /// The entries, oldest first.
    pub entries: Run,
    /// Where to go on from: behind the last of the entries.
    pub at: Position,
    /// Whether the channel has ended and nothing follows: then `at` is the position of its end.
    pub end: bool,
}

/// A hole in what a reader gets. It is always told, never silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where the reader stood. After a [`GapReason::Reset`] possibly in another epoch.
    pub after: Position,
    /// The position just before what follows: where the reader stands now.
    pub next: Position,
    /// How it came to be.
    pub why: GapReason,
}

/// Why there is no message at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// There never was one, as far as is known here: it is not there yet, or the position is of another
    /// epoch, or of another channel, or that of an end.
    Never,
    /// It is not kept any more: it has expired, or the history was deleted.
    Gone,
}

/// How far a reader is behind, all at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Where the channel is: the position of its newest entry.
    pub end: Position,
    /// How many entries up to there the reader will be given.
    pub entries: u64,
    /// Why a gap comes before these, if one does. `None` right after subscribing means that
    /// nothing was missed.
    pub gap: Option<GapReason>,
    /// Whether the channel has ended: behind these entries the reader is told so.
    pub ended: bool,
}

/// How a [`Gap`] came to be. Written in lower case: `expired`, `slow`, `reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The history was trimmed while the reader was away, or made room for another account.
    Expired,
    /// The epoch changed, the position is one that is not there yet, or the history was deleted.
    Reset,
    /// The history was trimmed while the reader was connected: it did not keep up.
    Slow,
}

/// How much a reader takes at once, at most. The first entry of a page may be larger than the bytes
/// say: nothing is too large to be read.
///
/// What a reader has taken stays in memory until the reader lets go of it, even when the log has
/// dropped it: the bytes bound what a stalled reader can pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// The most entries. Default 64. With 0 a reader waits for a gap only.
    pub entries: usize,
    /// The most bytes, as [`Entry::encoded_len`] counts them: what is made of a page for the wire is
    /// never longer, whatever the payloads are. Default 256 KiB.
    pub bytes: u64,
}

impl Page {
    /// Nothing, for a reader that stands there.
    pub fn empty(at: Position) -> Self {
        Self { gap: None, entries: Run::default(), at, end: false }
    }

    /// This page and the one that the same reader is given next in one, if that is within `budget` and nothing but
    /// entries.
    pub fn followed_by(&self, next: &Self, budget: Budget) -> Option<Self> {
        if self.end || next.gap.is_some() || next.end {
            return None;
        }
        let entries = self.entries.followed_by(&next.entries);
        entries.fits(budget).then_some(Self { gap: self.gap, entries, ..*next })
    }

    /// The same without what a reader that stands at that offset has been given.
    pub fn after(&self, offset: u64) -> Self {
        Self { entries: self.entries.after(offset), ..*self }
    }

    /// The page, if it says anything.
    pub(crate) fn news(self) -> Option<Self> {
        (self.gap.is_some() || !self.entries.is_empty() || self.end).then_some(self)
    }
}

impl Budget {
    /// At most that many entries, of any size.
    pub const fn entries(entries: usize) -> Self {
        Self { entries, bytes: u64::MAX }
    }

    /// Sets [`bytes`](Self::bytes).
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { entries: 64, bytes: 256 << 10 }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Reset => "reset",
            Self::Slow => "slow",
        })
    }
}
