//! What holds for some channels only, by pattern.

use std::time::Duration;

use sockeye_hub::{ChannelName, HistoryRule, Pattern, Policy, PolicyRule};

/// What holds for the channels that a pattern matches. Of several rules the first one whose pattern matches a channel
/// counts for it, and the others do not, whatever they say. What a rule does not say is as in the options.
///
/// ```
/// use sockeye_server::{ChannelOptions, ChannelRule};
///
/// let prices = ChannelRule::new("price:*".parse()?).publish(false).anonymous_read(true);
/// let devices = ChannelRule::new("device:*".parse()?).max_message(1024).presence(false);
/// let options = ChannelOptions::default().channel([prices, devices]);
/// # Ok::<(), sockeye_server::BadPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelRule {
    /// The channels that are meant.
    pub channels: Pattern,
    /// The largest message, in bytes, on every transport. The options' `max_message` bounds it. Default: that.
    pub max_message: Option<usize>,
    /// Whether requests and connections may publish, end the channel and delete its history, whatever rights they
    /// have. The program itself always may, by [`Hub::publish`](sockeye_hub::Hub::publish). Default: yes.
    pub publish: bool,
    /// The name that may publish, end the channel and delete its history, if its token or the authoriser grants that:
    /// the `sub` of a token, or the subject that an authoriser gives. Everyone else is refused; so are all where there
    /// are no tokens, for a name that a client gives itself is not verified. Default: every name may.
    pub publisher: Option<Box<str>>,
    /// Whether there is presence: else no client is a member of the channel, and one that asks for its members is
    /// refused. Default: yes.
    pub presence: bool,
    /// Whether the options' `events` are told who comes to the channel and goes. Default: yes.
    pub events: bool,
    /// Whether all may read the channel, without a token, and with any. Default: no.
    ///
    /// Danger: what is published there is public, its history included.
    pub anonymous_read: bool,
    /// What happens to readers whose position the history no longer reaches. Default: as the options' `policy` says.
    pub policy: Option<Policy>,
    /// Messages kept of the channel. Default: the options' `history_count`. Not with a `backplane`.
    pub history_count: Option<usize>,
    /// Bytes kept of the channel; a message that takes more is refused. Default: the options' `history_bytes`. Not with
    /// a `backplane`.
    pub history_bytes: Option<u64>,
    /// How long a message is kept. Default: the options' `history_age`. Not with a `backplane`.
    pub history_age: Option<Duration>,
}

impl ChannelRule {
    /// A rule for these channels that says nothing yet: it keeps later rules from them.
    pub fn new(channels: Pattern) -> Self {
        Self {
            channels,
            max_message: None,
            publish: true,
            publisher: None,
            presence: true,
            events: true,
            anonymous_read: false,
            policy: None,
            history_count: None,
            history_bytes: None,
            history_age: None,
        }
    }

    /// Sets [`max_message`](Self::max_message), in bytes.
    pub fn max_message(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_message = bytes.into();
        self
    }

    /// Sets [`publish`](Self::publish).
    pub fn publish(mut self, is_allowed: bool) -> Self {
        self.publish = is_allowed;
        self
    }

    /// Sets [`publisher`](Self::publisher).
    pub fn publisher(mut self, subject: impl Into<String>) -> Self {
        self.publisher = Some(subject.into().into());
        self
    }

    /// Sets [`presence`](Self::presence).
    pub fn presence(mut self, is_on: bool) -> Self {
        self.presence = is_on;
        self
    }

    /// Sets [`events`](Self::events).
    pub fn events(mut self, is_told: bool) -> Self {
        self.events = is_told;
        self
    }

    /// Sets [`anonymous_read`](Self::anonymous_read).
    pub fn anonymous_read(mut self, is_allowed: bool) -> Self {
        self.anonymous_read = is_allowed;
        self
    }

    /// Sets [`policy`](Self::policy).
    pub fn policy(mut self, policy: impl Into<Option<Policy>>) -> Self {
        self.policy = policy.into();
        self
    }

    /// Sets [`history_count`](Self::history_count).
    pub fn history_count(mut self, count: impl Into<Option<usize>>) -> Self {
        self.history_count = count.into();
        self
    }

    /// Sets [`history_bytes`](Self::history_bytes).
    pub fn history_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.history_bytes = bytes.into();
        self
    }

    /// Sets [`history_age`](Self::history_age).
    pub fn history_age(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.history_age = time.into();
        self
    }

    /// Whether it says how much history is kept.
    pub fn bounds_history(&self) -> bool {
        self.history_count.is_some() || self.history_bytes.is_some() || self.history_age.is_some()
    }
}

/// The rules of one server, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChannelRules(Vec<ChannelRule>);

impl ChannelRules {
    pub(crate) fn new(rules: &[ChannelRule]) -> Self {
        Self(rules.to_vec())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule that counts for the channel.
    pub(crate) fn of(&self, channel: &ChannelName) -> Option<&ChannelRule> {
        self.0.iter().find(|rule| rule.channels.matches(channel))
    }

    /// The largest message on the channel, where it is this on the others.
    pub(crate) fn max_message(&self, channel: &ChannelName, otherwise: usize) -> usize {
        let own = self.of(channel).and_then(|rule| rule.max_message);
        own.map_or(otherwise, |max| max.min(otherwise))
    }

    /// Whether the channel has presence.
    pub(crate) fn has_presence(&self, channel: &ChannelName) -> bool {
        self.of(channel).is_none_or(|rule| rule.presence)
    }

    /// Whether it is told who comes to the channel and goes.
    pub(crate) fn has_events(&self, channel: &ChannelName) -> bool {
        self.of(channel).is_none_or(|rule| rule.events)
    }
}

/// The policies of these rules and, where those say nothing, of `policies`: as a list of which the first rule that
/// matches counts.
pub(crate) fn policies(rules: &[ChannelRule], policies: &[PolicyRule]) -> Vec<PolicyRule> {
    if rules.iter().all(|rule| rule.policy.is_none()) {
        return policies.to_vec();
    }
    let mut all = Vec::new();
    for rule in rules {
        let otherwise = match rule.policy {
            Some(policy) => policy,
            None => {
                // As the policies say for the channels that both mean, before a later rule is looked at.
                all.extend(policies.iter().filter_map(|policy| {
                    let channels = narrower(&rule.channels, &policy.channels)?;
                    Some(PolicyRule { channels, policy: policy.policy })
                }));
                Policy::default()
            }
        };
        all.push(PolicyRule { channels: rule.channels.clone(), policy: otherwise });
    }
    all.extend_from_slice(policies);
    all
}

/// What the rules say of how much is kept, as the hub takes it.
pub(crate) fn histories(rules: &[ChannelRule]) -> Vec<HistoryRule> {
    if !rules.iter().any(ChannelRule::bounds_history) {
        return Vec::new();
    }
    let history = |rule: &ChannelRule| {
        HistoryRule::new(rule.channels.clone())
            .count(rule.history_count)
            .bytes(rule.history_bytes)
            .age(rule.history_age)
    };
    rules.iter().map(history).collect()
}

/// The channels that both patterns mean: those of one of them, or none.
fn narrower(one: &Pattern, other: &Pattern) -> Option<Pattern> {
    if one.includes(other) {
        Some(other.clone())
    } else if other.includes(one) {
        Some(one.clone())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    fn channel(text: &str) -> ChannelName {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_counts_alone() {
        let rules = [
            ChannelRule::new(pattern("device:boss")),
            ChannelRule::new(pattern("device:*")).max_message(10).presence(false),
            ChannelRule::new(pattern("*")).publish(false).events(false).max_message(99),
        ];
        let rules = ChannelRules::new(&rules);
        let cases = [
            ("device:boss", 50, true, true),
            ("device:7", 10, false, true),
            // A rule never raises what bounds all channels.
            ("other", 50, true, false),
        ];
        for (name, max, presence, publish) in cases {
            let name = channel(name);
            assert_eq!(rules.max_message(&name, 50), max, "{name}");
            assert_eq!(rules.has_presence(&name), presence, "{name}");
            assert_eq!(rules.has_events(&name), publish, "{name}");
            assert_eq!(rules.of(&name).unwrap().publish, publish, "{name}");
        }
        assert!(ChannelRules::default().of(&channel("a")).is_none());
    }

    #[test]
    fn a_policy_of_a_rule_goes_before_the_others_and_no_rule_hides_them() {
        let given: Vec<PolicyRule> =
            ["news:a=close", "news:*=latest", "x*=close"].map(|rule| rule.parse().unwrap()).into();
        let rules = [
            ChannelRule::new(pattern("news:*")),
            ChannelRule::new(pattern("xy")),
            ChannelRule::new(pattern("quiet:*")),
            ChannelRule::new(pattern("*")).policy(Policy::Catchup),
        ];
        let policy = |name: &str, all: &[PolicyRule]| {
            let found = all.iter().find(|rule| rule.channels.matches(&channel(name)));
            found.map(|rule| rule.policy)
        };
        let all = policies(&rules, &given);
        let cases = [
            ("news:a", Policy::Close),
            ("news:b", Policy::Latest),
            ("xy", Policy::Close),
            ("quiet:x", Policy::Catchup),
            ("xyz", Policy::Catchup),
            ("other", Policy::Catchup),
        ];
        for (name, expected) in cases {
            assert_eq!(policy(name, &all), Some(expected), "{name}");
        }
        // Rules without a policy change none.
        assert_eq!(policies(&rules[..3], &given), given);
    }
}
