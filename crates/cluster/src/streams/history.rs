//! How much of each channel a cluster keeps, as its streams say it and as people read it.

use std::fmt;
use std::time::Duration;

use crate::ClusterOptions;

/// What is kept of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) count: usize,
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
}

impl History {
    pub(crate) fn of(options: &ClusterOptions) -> Self {
        let ClusterOptions { history_count, history_bytes, history_age, .. } = options;
        Self { count: *history_count, bytes: *history_bytes, age: *history_age }
    }

    /// What the metadata of a stream says: count, bytes and milliseconds.
    pub(crate) fn parse(metadata: &str) -> Option<Self> {
        let mut numbers = metadata.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (count, bytes, age) = (next()?, next()?, next()?);
        let count = usize::try_from(count).ok()?;
        numbers.next().is_none().then_some(Self { count, bytes, age: Duration::from_millis(age) })
    }

    pub(crate) fn metadata(&self) -> String {
        format!("{} {} {}", self.count, self.bytes, self.age.as_millis())
    }

    /// The options that would be less than they are.
    pub(crate) fn lowered(&self, to: &Self) -> Vec<String> {
        let Self { count, bytes, age } = to;
        let options = [
            (*count < self.count, format!("--history-count {count}")),
            (*bytes < self.bytes, format!("--history-bytes {bytes}")),
            (*age < self.age, format!("--history-age {}ms", age.as_millis())),
        ];
        options.into_iter().filter(|(is_less, _)| *is_less).map(|(_, option)| option).collect()
    }

    /// Whether something is to be more than it is.
    pub(crate) fn is_raised(&self, to: &Self) -> bool {
        to.count > self.count || to.bytes > self.bytes || to.age > self.age
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, bytes, age } = self;
        let age = age.as_millis();
        write!(f, "{count} messages, {bytes} bytes and {age} ms of a channel")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_what_the_metadata_says() {
        let history = History { count: 7, bytes: 16, age: Duration::from_millis(1500) };
        assert_eq!(history.metadata(), "7 16 1500");
        assert_eq!(History::parse("7 16 1500"), Some(history));
        for text in ["", "7 16", "7 16 x", "7 16 1500 1", "-7 16 1500"] {
            assert_eq!(History::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_less_is_named_by_its_option() {
        let there = History { count: 7, bytes: 16, age: Duration::from_secs(2) };
        let here = History { count: 8, bytes: 15, age: Duration::from_secs(1) };
        assert_eq!(there.lowered(&here), ["--history-bytes 15", "--history-age 1000ms"]);
        assert!(there.is_raised(&here));
        assert!(there.lowered(&there).is_empty() && !there.is_raised(&there));
    }
}
