//! What a hub keeps, and the clock it goes by.

use std::fmt;
#[cfg(feature = "fjall")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::names::{History, millis};
use crate::{ChannelName, HistoryRule, PolicyRule};

/// What a hub keeps. The history of a channel is bounded by count, bytes *and* age: what one of
/// them no longer covers is dropped, oldest first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The most entries of a channel. Default 1000. At least the newest is kept whatever this
    /// says, for what never was in the log reaches no reader.
    pub history_count: usize,
    /// The most bytes of a channel, each entry charged as [`Entry::charge`](crate::Entry::charge)
    /// says. Default 16 MiB. An entry that is larger all alone is refused.
    pub history_bytes: u64,
    /// The greatest age of an entry. Default 24 h. Older ones are dropped when their channel is
    /// next used, or by [`Hub::sweep`](crate::Hub::sweep), even if a slow reader has not come to
    /// them.
    pub history_age: Duration,
    /// How much is kept of some channels only: the first rule whose pattern matches counts. With a
    /// backplane there are none. Default none.
    pub history: Vec<HistoryRule>,
    /// What becomes of readers that the log no longer reaches back to, by channel: the first rule
    /// whose pattern matches counts. Default none: [`Policy::Catchup`](crate::Policy) for all.
    pub policies: Vec<PolicyRule>,
    /// The most channels remembered that something was ever published on. Default 100,000. When
    /// they are all taken, the account that has most of them makes room for those that have fewer,
    /// with those without readers, longest unused first.
    /// Past half of it a sweep forgets those with neither entries nor readers. With a store it
    /// bounds those that are kept, too, and past half of it a sweep lets go of the memory of those
    /// that are unused.
    pub max_channels: u64,
    /// The most bytes of all channels together, with the idempotency keys that are remembered. Default
    /// 1 GiB. When it is reached the account that holds most makes room for those that hold less:
    /// with channels without readers, then with the oldest entries of others (whose readers are
    /// told [`GapReason::Expired`](crate::GapReason::Expired)), then with keys. For an account that holds as
    /// much as any other a channel makes room out of its own history, and one that cannot is
    /// refused. With a store it bounds what is in memory of the channels in use; past half of it
    /// a sweep lets go of unused ones. Publishers on many channels at once may pass it by an entry each.
    pub max_bytes: u64,
    /// The most bytes of wire forms that are kept for further readers: see
    /// [`Entry::form`](crate::Entry::form). Default `None`: an eighth of `max_bytes`. Beyond it a form
    /// is made for each reader that takes it. The forms that are being made at the same time may
    /// pass it.
    pub max_form_bytes: Option<u64>,
    /// The most members of a channel's [`Presence`](crate::Presence), clients that poll without an id
    /// among them. Default 10,000. Connections beyond it are only counted, polls are not.
    pub max_members: usize,
    /// The most bytes of presence on all channels together: each channel with a member on it
    /// charged with 256 and its name, each member with 128 and its id. Default 64 MiB. Beyond it
    /// connections are only counted, polls are not.
    pub max_presence_bytes: u64,
    /// The directory to keep channels in, for `Hub::open`: of the feature `fjall`. Default: none, they
    /// live in memory. It belongs to one hub at a time.
    #[cfg(feature = "fjall")]
    pub data: Option<PathBuf>,
    /// Where the time comes from. Default [`Clock::system`].
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_count: 1000,
            history_bytes: 16 << 20,
            history_age: Duration::from_hours(24),
            history: Vec::new(),
            policies: Vec::new(),
            max_channels: 100_000,
            max_bytes: 1 << 30,
            max_form_bytes: None,
            max_members: 10_000,
            max_presence_bytes: 64 << 20,
            #[cfg(feature = "fjall")]
            data: None,
            clock: Clock::system(),
        }
    }
}

impl Options {
    /// Sets [`history_count`](Self::history_count).
    pub fn history_count(mut self, count: usize) -> Self {
        self.history_count = count;
        self
    }

    /// Sets [`history_bytes`](Self::history_bytes).
    pub fn history_bytes(mut self, bytes: u64) -> Self {
        self.history_bytes = bytes;
        self
    }

    /// Sets [`history_age`](Self::history_age).
    pub fn history_age(mut self, time: Duration) -> Self {
        self.history_age = time;
        self
    }

    /// Sets [`history`](Self::history).
    pub fn history(mut self, rules: impl IntoIterator<Item = HistoryRule>) -> Self {
        self.history = rules.into_iter().collect();
        self
    }

    /// Sets [`policies`](Self::policies).
    pub fn policies(mut self, rules: impl IntoIterator<Item = PolicyRule>) -> Self {
        self.policies = rules.into_iter().collect();
        self
    }

    /// Sets [`max_channels`](Self::max_channels).
    pub fn max_channels(mut self, channels: u64) -> Self {
        self.max_channels = channels;
        self
    }

    /// Sets [`max_bytes`](Self::max_bytes).
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`max_form_bytes`](Self::max_form_bytes).
    pub fn max_form_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_form_bytes = bytes.into();
        self
    }

    /// Sets [`max_members`](Self::max_members).
    pub fn max_members(mut self, members: usize) -> Self {
        self.max_members = members;
        self
    }

    /// Sets [`max_presence_bytes`](Self::max_presence_bytes).
    pub fn max_presence_bytes(mut self, bytes: u64) -> Self {
        self.max_presence_bytes = bytes;
        self
    }

    /// Sets [`data`](Self::data).
    #[cfg(feature = "fjall")]
    pub fn data(mut self, directory: impl Into<Option<PathBuf>>) -> Self {
        self.data = directory.into();
        self
    }

    /// Sets [`clock`](Self::clock).
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How much is kept of the channel.
    pub(crate) fn history_of(&self, channel: &ChannelName) -> History {
        let Self { history_count: count, history_bytes: bytes, history_age: age, .. } = *self;
        History { count, bytes, age }.under(&self.history, channel)
    }

    /// The bound of the wire forms, given or by default.
    pub(crate) fn form_budget(&self) -> u64 {
        self.max_form_bytes.unwrap_or(self.max_bytes / 8)
    }
}

/// Tells the time, in milliseconds since the Unix epoch. Cloning is cheap.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Given(Arc<dyn Fn() -> u64 + Send + Sync>),
}

impl Clock {
    /// A clock that `now` tells, in milliseconds since the Unix epoch. It is called with a
    /// channel locked: it must neither use the hub nor take long. It may step back: up to
    /// a minute the time within a channel waits for it; by more it follows, and what was published
    /// before counts as published then at the latest.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Source::Given(Arc::new(now)))
    }

    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The time, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        match &self.0 {
            Source::System => {
                // A clock set before 1970 reads as 1970: nothing worse follows than odd timestamps.
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                millis(since)
            }
            Source::Given(now) => now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
