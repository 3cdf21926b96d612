//! What becomes of a reader that the log no longer reaches back to.

use std::fmt;
use std::str::FromStr;

use crate::{ChannelName, Pattern};

/// What becomes of a reader when the log no longer reaches back to it, after the
/// [`Gap`](crate::Gap) that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It goes on with the oldest entry kept: as little as possible is lost. The default.
    #[default]
    Catchup,
    /// It goes on with the newest entry: for measurements, of which only the last counts. That a
    /// history was [deleted](crate::GapReason::Reset) skips nothing that came after.
    Latest,
    /// One that was connected and did not keep up ([`GapReason::Slow`](crate::GapReason::Slow)) is given
    /// nothing more: its [`Reader`](crate::Reader) [is over](crate::Reader::is_over). One that was
    /// away goes on as with `Catchup`; so a client that comes back to where it was cut off is not refused.
    Close,
}

/// The policies of channels, by pattern: of those whose pattern matches, the first one counts.
/// Written `telemetry:*=latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// The channels meant.
    pub channels: Pattern,
    /// What becomes of their readers.
    pub policy: Policy,
}

impl Policy {
    /// The policy of a channel under these rules.
    pub(crate) fn of(channel: &ChannelName, rules: &[PolicyRule]) -> Self {
        let rule = rules.iter().find(|rule| rule.channels.matches(channel));
        rule.map(|rule| rule.policy).unwrap_or_default()
    }
}

/// The text is not a rule such as `telemetry:*=latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a policy as PATTERN=catchup, PATTERN=latest or PATTERN=close, as in telemetry:*=latest"
)]
pub struct BadPolicy;

impl FromStr for PolicyRule {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let (channels, policy) = text.split_once('=').ok_or(BadPolicy)?;
        let channels = channels.parse().map_err(|_| BadPolicy)?;
        let policy = match policy {
            "catchup" => Policy::Catchup,
            "latest" => Policy::Latest,
            "close" => Policy::Close,
            _ => return Err(BadPolicy),
        };
        Ok(Self { channels, policy })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Catchup => "catchup",
            Self::Latest => "latest",
            Self::Close => "close",
        })
    }
}

impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.channels, self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in ["telemetry:*=latest", "chat=close", "*=catchup"] {
            assert_eq!(text.parse::<PolicyRule>().unwrap().to_string(), text);
        }
        for text in ["", "latest", "chat=", "=latest", "chat=Latest", "chat=latest=", "a*b=close"] {
            assert_eq!(text.parse::<PolicyRule>(), Err(BadPolicy), "{text}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules =
            ["chat:vip=catchup", "chat:*=close", "*=latest"].map(|rule| rule.parse().unwrap());
        let policy = |channel: &str| Policy::of(&channel.parse().unwrap(), &rules);
        assert_eq!(policy("chat:vip"), Policy::Catchup);
        assert_eq!(policy("chat:all"), Policy::Close);
        assert_eq!(policy("telemetry"), Policy::Latest);
        assert_eq!(Policy::of(&"chat".parse().unwrap(), &[]), Policy::Catchup);
    }
}
