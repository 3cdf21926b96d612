//! What holds for some channels only: `--channel`, and `[[channel]]` in `sockeye.toml`.

use std::fmt::Write as _;

use anyhow::ensure;
use sockeye_server::{ChannelName, ChannelRule, Policy, PolicyRule};

use super::Serve;
use crate::flags::units::{Size, Time, number, some_size, some_time};

/// The keys behind the pattern, each with how its value is written.
const KEYS: [(&str, &str); 10] = [
    ("max_message", "write max_message=SIZE, as in max_message=1k"),
    ("policy", "write policy=catchup, policy=latest or policy=close"),
    ("publish", "write publish=true or publish=false"),
    ("publisher", "write publisher=NAME, the sub of a token, as in publisher=backend"),
    ("presence", "write presence=true or presence=false"),
    ("events", "write events=true or events=false"),
    ("anonymous_read", "write anonymous_read=true or anonymous_read=false"),
    ("history_count", "write history_count=N, a whole number above zero"),
    ("history_bytes", "write history_bytes=SIZE, as in history_bytes=64k"),
    ("history_age", "write history_age=TIME, as in history_age=10m"),
];

/// A rule as one line: a pattern, and behind it `KEY=VALUE` for each setting.
pub(super) fn rule(text: &str) -> Result<ChannelRule, String> {
    let mut words = text.split_whitespace();
    let pattern =
        words.next().ok_or("write PATTERN KEY=VALUE …, as in 'device:* publish=false'")?;
    let pattern = pattern.parse().map_err(|wrong| format!("{wrong}"))?;
    let (mut rule, mut seen) = (ChannelRule::new(pattern), Vec::new());
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let key = key.replace('-', "_");
        let Some((_, how)) = KEYS.iter().find(|(known, _)| *known == key) else {
            let known = KEYS.map(|(known, _)| known).join(", ");
            return Err(format!("there is no setting {key} of channels: there are {known}"));
        };
        rule = with(rule, &key, value).ok_or(*how)?;
        if seen.contains(&key) {
            return Err(format!("{key} is there twice: write it once"));
        }
        seen.push(key);
    }
    Ok(rule)
}

/// The rule with this setting; `None` if that is no value of it.
fn with(rule: ChannelRule, key: &str, value: &str) -> Option<ChannelRule> {
    let is_on = match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    Some(match key {
        "max_message" => rule.max_message(some_size(value).ok()?.in_memory()),
        "policy" => rule.policy(format!("*={value}").parse::<PolicyRule>().ok()?.policy),
        "publish" => rule.publish(is_on?),
        "publisher" if (1..=255).contains(&value.len()) => rule.publisher(value),
        "presence" => rule.presence(is_on?),
        "events" => rule.events(is_on?),
        "anonymous_read" => rule.anonymous_read(is_on?),
        "history_count" => rule.history_count(number::<usize>(value).ok()?),
        "history_bytes" => rule.history_bytes(some_size(value).ok()?.0),
        "history_age" => rule.history_age(some_time(value).ok()?.0),
        _ => return None,
    })
}

impl Serve {
    /// Says what is wrong with rules that are good one by one.
    pub(super) fn check_channel_rules(&self) -> anyhow::Result<()> {
        for rule in &self.channel {
            let pattern = &rule.channels;
            let max = rule.max_message.map_or(0, |max| max as u64);
            ensure!(
                max <= self.max_message.0,
                "max_message {} of the channels {pattern} is more than --max-message {}, which bounds \
                 every channel: lower the one or raise the other",
                Size(max),
                self.max_message
            );
            let largest = rule.max_message.map_or(self.max_message.0, |max| max as u64);
            let kept = rule.history_bytes.unwrap_or(u64::MAX);
            ensure!(
                largest <= kept,
                "history_bytes {} of the channels {pattern} has no room for a message of {}: set max_message \
                 there too, or raise history_bytes",
                Size(kept),
                Size(largest)
            );
            ensure!(
                rule.publish || rule.publisher.is_none(),
                "the channels {pattern} have publish=false and a publisher, which contradict each other: leave \
                 publish=false out to let that one alone publish"
            );
            ensure!(
                rule.publisher.is_none() || self.has_tokens() || self.authorize.is_given(),
                "the publisher of the channels {pattern} cannot be known without --auth-key, --jwks or --authorize-url: \
                 give one of these, or publish=false to let no client publish"
            );
            ensure!(
                !rule.anonymous_read || self.has_tokens() || self.authorize.is_given(),
                "anonymous_read of the channels {pattern} changes nothing without --auth-key, --jwks or \
                 --authorize-url: all may read every channel then; leave it out, or give one of these"
            );
        }
        Ok(())
    }

    /// What holds for one channel, as lines of `sockeye.toml`.
    ///
    /// # Errors
    ///
    /// A line that says which options contradict each other.
    pub(crate) fn settings_of(&self, channel: &ChannelName) -> anyhow::Result<String> {
        self.check()?;
        let found = self.channel.iter().find(|rule| rule.channels.matches(channel));
        let rule = match found {
            Some(rule) => rule.clone(),
            None => rule("*").map_err(anyhow::Error::msg)?,
        };
        let of_options = self.policy.iter().find(|rule| rule.channels.matches(channel));
        let of_options = of_options.map_or(Policy::default(), |rule| rule.policy);
        let max = rule.max_message.map_or(self.max_message, |max| Size(max as u64));
        let mut shown = match found {
            Some(rule) => {
                format!("# {channel}: the first rule that matches is of {}\n", rule.channels)
            }
            None => format!("# {channel}: no rule matches\n"),
        };
        // One for all channels has no value to be shown.
        let publisher = rule.publisher.as_deref();
        let publisher =
            publisher.map_or_else(String::new, |name| format!("publisher = {name:?}\n"));
        // Writing to a string does not fail.
        let _ = write!(
            shown,
            "max_message = \"{max}\"\npolicy = \"{}\"\npublish = {}\n{publisher}presence = {}\nevents = {}\n\
             anonymous_read = {}\nhistory_count = {}\nhistory_bytes = \"{}\"\nhistory_age = \"{}\"",
            rule.policy.unwrap_or(of_options),
            rule.publish,
            rule.presence,
            rule.events,
            rule.anonymous_read,
            rule.history_count.unwrap_or(self.history_count),
            rule.history_bytes.map_or(self.history_bytes, Size),
            rule.history_age.map_or(self.history_age, Time)
        );
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_pattern_and_settings() {
        let read = |text| rule(text).unwrap();
        let device = read("device:* max-message=1k  policy=latest publish=false");
        assert_eq!(device.channels.to_string(), "device:*");
        assert_eq!((device.max_message, device.policy), (Some(1024), Some(Policy::Latest)));
        assert!(!device.publish && device.presence && !device.anonymous_read);
        assert!(device.events);
        assert_eq!(read("log:* publisher=api").publisher.as_deref(), Some("api"));
        let news = read(" news presence=false events=false anonymous_read=true");
        assert!(news.publish && !news.presence && !news.events && news.anonymous_read);
        assert_eq!((news.max_message, news.policy), (None, None));
        assert!(!news.bounds_history());
        let state = read("state:* history_count=1 history_bytes=64k history_age=10m");
        assert_eq!((state.history_count, state.history_bytes), (Some(1), Some(64 << 10)));
        assert_eq!(state.history_age, Some(std::time::Duration::from_secs(600)));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        for (text, told) in [
            ("", "write PATTERN"),
            ("publish=false", "a pattern is"),
            ("a*b publish=false", "a pattern is"),
            ("a publish=no", "write publish=true or publish=false"),
            ("a presence", "write presence=true"),
            ("a publisher=", "write publisher=NAME"),
            ("a publisher", "write publisher=NAME"),
            ("a events=off", "write events=true or events=false"),
            ("a max_message=0", "write max_message=SIZE"),
            ("a policy=newest", "policy=latest"),
            ("a history_count=0", "a whole number above zero"),
            ("a history_bytes=1X", "write history_bytes=SIZE"),
            ("a history_age=0s", "write history_age=TIME"),
            ("a anonymous_write=true", "there is no setting anonymous_write"),
            ("a publish=true publish=false", "publish is there twice"),
        ] {
            let why = rule(text).unwrap_err();
            assert!(why.contains(told), "{text}: {why}");
        }
    }
}
