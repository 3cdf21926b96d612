//! How much of a channel is kept.

use std::time::Duration;

use crate::{ChannelName, Pattern};

/// How much is kept of the channels that a pattern matches, where that is not what the
/// [`Options`](crate::Options) say for all channels. Of several rules the first one whose pattern matches a channel
/// counts for it, and the others do not; what it does not say is as in the options.
///
/// ```
/// use sockeye_hub::{HistoryRule, Options};
///
/// let states = HistoryRule::new("state:*".parse()?).count(1);
/// let options = Options::default().history([states]);
/// # Ok::<(), sockeye_hub::BadPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryRule {
    /// The channels meant.
    pub channels: Pattern,
    /// The most entries of a channel, at least one. Default: [`Options::history_count`](crate::Options::history_count).
    pub count: Option<usize>,
    /// The most bytes of a channel; a larger entry is refused. Default:
    /// [`Options::history_bytes`](crate::Options::history_bytes).
    pub bytes: Option<u64>,
    /// The greatest age of an entry. Default: [`Options::history_age`](crate::Options::history_age).
    pub age: Option<Duration>,
}

impl HistoryRule {
    /// A rule for these channels that says nothing yet: it keeps later rules from them.
    pub fn new(channels: Pattern) -> Self {
        Self { channels, count: None, bytes: None, age: None }
    }

    /// Sets [`count`](Self::count).
    pub fn count(mut self, entries: impl Into<Option<usize>>) -> Self {
        self.count = entries.into();
        self
    }

    /// Sets [`bytes`](Self::bytes).
    pub fn bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.bytes = bytes.into();
        self
    }

    /// Sets [`age`](Self::age).
    pub fn age(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.age = time.into();
        self
    }
}

/// How much is kept of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) count: usize,
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
}

/// The whole milliseconds of a span, or as many as a number holds.
pub(crate) fn millis(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1000).saturating_add(u64::from(span.subsec_millis()))
}

impl History {
    /// The same with what the rules say of the channel.
    pub(crate) fn under(self, rules: &[HistoryRule], channel: &ChannelName) -> Self {
        let Some(rule) = rules.iter().find(|rule| rule.channels.matches(channel)) else {
            return self;
        };
        Self {
            count: rule.count.unwrap_or(self.count),
            bytes: rule.bytes.unwrap_or(self.bytes),
            age: rule.age.unwrap_or(self.age),
        }
    }
}
