//! What a token grants: rights, on channels that a pattern names.
//!
//! Only what is written down is granted, and no line takes anything away: the rights on a channel are
//! those of all patterns that match it, together.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use sockeye_hub::{ChannelName, Pattern};

/// What can be done with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// `presence`: seeing the members.
    Presence,
    /// `read`: messages, now and from the history, and the position.
    Read,
    /// `write`: publishing, and deleting the history.
    Write,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Presence];

    /// The word a token has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Right {
    type Err = BadRight;

    fn from_str(text: &str) -> Result<Self, BadRight> {
        Self::ALL.into_iter().find(|right| right.name() == text).ok_or(BadRight)
    }
}

/// The text is not `read`, `write` or `presence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a right is `read`, `write` or `presence`")]
pub struct BadRight;

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Whether the right is one of them.
    pub fn contains(self, right: Right) -> bool {
        self.0 & Self::bit(right) != 0
    }

    fn bit(right: Right) -> u8 {
        1 << right as u8
    }

    fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.contains(*right))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |set, right| set | Self::bit(right)))
    }
}

/// The claim `channels`: rights by pattern, at most 1000 patterns and rights together.
///
/// In a token a pattern may have `{sub}` once, in the place of which stands the token's `sub`: `user:{sub}:*`. Such a
/// line grants nothing before the token is [verified](super::AuthKey::verify), and nothing if the `sub` has a `:`, the
/// character behind `{sub}`, or one that no channel's name has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    patterns: Vec<(Pattern, Rights)>,
    /// Lines with [`SUB`], as they are written.
    templates: Vec<(Box<str>, Rights)>,
}

/// Stands for the token's `sub`.
const SUB: &str = "{sub}";

impl Grants {
    /// Patterns and rights, together, in one token.
    pub const MAX_ITEMS: usize = 1000;

    /// Whether the right on the channel is granted.
    pub fn allow(&self, right: Right, channel: &ChannelName) -> bool {
        let grants = |(pattern, rights): &(Pattern, Rights)| {
            rights.contains(right) && pattern.matches(channel)
        };
        self.patterns.iter().any(grants)
    }

    /// The same with the subject in the place of `{sub}`.
    pub(super) fn of_subject(mut self, subject: Option<&str>) -> Self {
        let templates = std::mem::take(&mut self.templates);
        let of =
            |(template, rights): (Box<str>, Rights)| Some((with(&template, subject?)?, rights));
        self.patterns.extend(templates.into_iter().filter_map(of));
        self
    }

    /// The patterns and their rights, in the order in which they were written; without those that have `{sub}`.
    pub fn iter(&self) -> impl Iterator<Item = &(Pattern, Rights)> {
        self.patterns.iter()
    }
}

/// The pattern with this subject in it, unless the name could then be another's.
fn with(template: &str, subject: &str) -> Option<Pattern> {
    let (before, behind) = template.split_once(SUB)?;
    let is_apart = |char| char != ':' && !behind.starts_with(char);
    let is_name = !subject.is_empty() && subject.chars().all(is_apart) && !subject.contains('*');
    is_name.then(|| format!("{before}{subject}{behind}").parse().ok())?
}

/// Whether the pattern is good for subjects: it has `{sub}` once, and no `*` right behind it, which would take `anna`
/// for `ann`.
fn is_template(text: &str) -> bool {
    let is_pattern = text.replacen(SUB, "a", 1).parse::<Pattern>().is_ok();
    text.contains(SUB) && is_pattern && !text.contains(&format!("{SUB}*"))
}

impl FromIterator<(Pattern, Rights)> for Grants {
    fn from_iter<I: IntoIterator<Item = (Pattern, Rights)>>(grants: I) -> Self {
        Self { patterns: grants.into_iter().collect(), templates: Vec::new() }
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = self.patterns.len() + self.templates.len();
        let mut map = serializer.serialize_map(Some(length))?;
        for (pattern, rights) in &self.patterns {
            map.serialize_entry(&pattern.to_string(), rights)?;
        }
        for (template, rights) in &self.templates {
            map.serialize_entry(template, rights)?;
        }
        map.end()
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for right in self.iter() {
            list.serialize_element(right.name())?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(GrantsVisitor)
    }
}

struct GrantsVisitor;

impl<'de> Visitor<'de> for GrantsVisitor {
    type Value = Grants;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of patterns to lists of rights")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Grants, A::Error> {
        let (mut grants, mut items) = (Grants::default(), 0);
        while let Some(text) = map.next_key::<String>()? {
            let pattern = match is_template(&text) {
                true => None,
                false => Some(text.parse::<Pattern>().map_err(de::Error::custom)?),
            };
            let List { rights, length } = map.next_value()?;
            items += 1 + length;
            if items > Grants::MAX_ITEMS {
                return Err(de::Error::custom("more than 1000 patterns and rights"));
            }
            match pattern {
                Some(pattern) => grants.patterns.push((pattern, rights)),
                None => grants.templates.push((text.into(), rights)),
            }
        }
        Ok(grants)
    }
}

/// The rights on one pattern, and how many items they took to say.
struct List {
    rights: Rights,
    length: usize,
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rights")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
        let (mut rights, mut length) = (Vec::new(), 0);
        while let Some(right) = list.next_element::<String>()? {
            rights.push(right.parse::<Right>().map_err(de::Error::custom)?);
            length += 1;
            if length > Grants::MAX_ITEMS {
                return Err(de::Error::custom("more than 1000 rights"));
            }
        }
        Ok(List { rights: rights.into_iter().collect(), length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(json: &str) -> Result<Grants, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_one() {
        let cases = [
            ("chat", "chat", true),
            ("chat", "chat:a", false),
            ("chat", "Chat", false),
            ("chat:*", "chat:a", true),
            ("chat:*", "chat:", true),
            ("chat:*", "chat", false),
            ("chat:*", "chats:a", false),
            ("chat*", "chats:a", true),
            ("*", "anything", true),
        ];
        for (pattern, channel, expected) in cases {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(&channel.parse().unwrap()), expected, "{pattern} {channel}");
            assert_eq!(parsed.to_string(), pattern);
        }
        for bad in ["", "**", "*a", "a*b", "a**", "a b", ":*", "a/*", "chat:?", "ch\u{e4}t", "a\0*"]
        {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_granted_that_is_not_written() {
        let grants = grants(r#"{"a":["read"],"a*":["write"],"b":[]}"#).unwrap();
        let may = |right, channel: &str| grants.allow(right, &channel.parse().unwrap());
        assert!(may(Right::Read, "a") && may(Right::Write, "a") && may(Right::Write, "ab"));
        assert!(!may(Right::Read, "ab") && !may(Right::Presence, "a") && !may(Right::Read, "b"));
        assert!(Right::ALL.iter().all(|right| !may(*right, "c")));
    }

    #[test]
    fn a_subject_stands_in_its_place_and_reaches_no_other() {
        let of = |subject: Option<&str>, pattern: &str, channel: &str| {
            let grants = grants(&format!("{{\"{pattern}\":[\"read\"]}}")).unwrap();
            assert!(!grants.allow(Right::Read, &channel.parse().unwrap()), "before");
            grants.of_subject(subject).allow(Right::Read, &channel.parse().unwrap())
        };
        let cases = [
            ("user:{sub}:*", "ann", "user:ann:inbox", true),
            ("user:{sub}:*", "ann", "user:anna:inbox", false),
            ("user:{sub}", "ann", "user:ann", true),
            ("user:{sub}", "ann", "user:ann:inbox", false),
            ("{sub}", "ann", "ann", true),
            ("{sub}-*", "ann", "ann-x", true),
            // In the name of another, or no name.
            ("user:{sub}:*", "ann:x", "user:ann:x:inbox", false),
            ("user:{sub}", "ann:x", "user:ann:x", false),
            ("{sub}-*", "ann-x", "ann-x-y", false),
            ("user:{sub}", "*", "user:x", false),
            ("user:{sub}", "an*", "user:ann", false),
            ("user:{sub}", "an n", "user:ann", false),
            ("user:{sub}", "{sub}", "user:sub", false),
            ("{sub}", "-ann", "ann", false),
        ];
        for (pattern, subject, channel, expected) in cases {
            assert_eq!(
                of(Some(subject), pattern, channel),
                expected,
                "{pattern} {subject} {channel}"
            );
        }
        assert!(!of(None, "user:{sub}:*", "user:x:y") && !of(Some(""), "u{sub}", "u"));
        let json = r#"{"news":["read"],"user:{sub}:*":["read","write"]}"#;
        assert_eq!(serde_json::to_string(&grants(json).unwrap()).unwrap(), json);
        for bad in ["user:{sub}*", "{sub}*", "{sub}{sub}", "{id}", "a{sub}/", "{sub"] {
            assert!(grants(&format!("{{\"{bad}\":[\"read\"]}}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_understood_grants_nothing_at_all() {
        for bad in [
            r#"{"a":["reed"]}"#,
            r#"{"a":["READ"]}"#,
            r#"{"a":"read"}"#,
            r#"{"a":[["read"]]}"#,
            r#"{"a":[null]}"#,
            r#"{"a":{"read":true}}"#,
            r#"{"a b":["read"]}"#,
            r#"["a"]"#,
            r#"null"#,
        ] {
            assert!(grants(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_lists_a_thousand_items_at_most() {
        let of = |patterns: usize, rights: usize| {
            let rights = vec!["\"read\""; rights].join(",");
            let lines: Vec<_> = (0..patterns).map(|n| format!("\"c{n}\":[{rights}]")).collect();
            grants(&format!("{{{}}}", lines.join(",")))
        };
        assert!(of(1000, 0).is_ok() && of(500, 1).is_ok() && of(1, 999).is_ok());
        assert!(of(1001, 0).is_err() && of(501, 1).is_err() && of(1, 1000).is_err());
    }

    #[test]
    fn grants_are_written_as_they_are_read() {
        let json = r#"{"chat:*":["read","write"],"news":["presence"]}"#;
        assert_eq!(serde_json::to_string(&grants(json).unwrap()).unwrap(), json);
    }
}
