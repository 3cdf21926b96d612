//! The names of a cluster in NATS: streams, subjects, and the channel behind a subject.

use std::fmt::Write as _;

use sockeye_hub::ChannelName;
use sockeye_hub::backplane::NodeId;

use crate::ClusterName;

/// The token of a shard's clock. No channel's name begins with `_`.
pub(crate) const CLOCK: &str = "_clock";

/// The last token of the subject of a channel's end.
const END: &str = "end";

/// The names of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: ClusterName,
    shards: u16,
}

/// What a subject speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A channel.
    Channel(ChannelName),
    /// The end of a channel.
    End(ChannelName),
    /// The clock of the shard.
    Clock,
}

impl Names {
    /// The names of that cluster with that many shards, of which there is one at least.
    pub(crate) fn new(prefix: ClusterName, shards: u16) -> Self {
        Self { prefix, shards: shards.max(1) }
    }

    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// The shard of a channel: FNV-1a of its name, the halves folded into each other.
    ///
    /// Every node of every version has to come to the same: this never changes.
    pub(crate) fn shard(&self, channel: &ChannelName) -> u16 {
        let hash = fnv1a(channel.as_str().as_bytes());
        let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
        // The remainder is below `shards`, which is a `u16`.
        (folded % u64::from(self.shards)) as u16
    }

    /// The stream of a shard: `sockeye_c0`.
    pub(crate) fn stream(&self, shard: u16) -> String {
        format!("{}_c{shard}", self.prefix)
    }

    /// All subjects of a shard's stream: `sockeye.c.0.>`.
    pub(crate) fn log_subjects(&self, shard: u16) -> String {
        format!("{}.c.{shard}.>", self.prefix)
    }

    /// What the server publishes again from the stream of a shard, and under which subjects.
    pub(crate) fn republish(&self, shard: u16) -> [String; 2] {
        [format!("{}.c.{shard}.>", self.prefix), format!("{}.l.{shard}.>", self.prefix)]
    }

    /// All subjects under which a shard's messages are published again: `sockeye.l.0.>`.
    pub(crate) fn live_subjects(&self, shard: u16) -> String {
        format!("{}.l.{shard}.>", self.prefix)
    }

    /// The subject of a channel's log: `sockeye.c.0.chat`.
    pub(crate) fn log_subject(&self, channel: &ChannelName) -> String {
        let mut subject = format!("{}.c.{}.", self.prefix, self.shard(channel));
        push_token(&mut subject, channel);
        subject
    }

    /// The subject of a channel's end: `sockeye.c.0.chat.end`.
    pub(crate) fn end_subject(&self, channel: &ChannelName) -> String {
        format!("{}.{END}", self.log_subject(channel))
    }

    /// Those of all channels of a shard: `sockeye.c.0.*.end`.
    pub(crate) fn end_subjects(&self, shard: u16) -> String {
        format!("{}.c.{shard}.*.{END}", self.prefix)
    }

    /// The subject of a shard's clock.
    pub(crate) fn clock_subject(&self, shard: u16) -> String {
        format!("{}.c.{shard}.{CLOCK}", self.prefix)
    }

    /// The subject under which nodes talk to one of them, or to all: `sockeye.n.all`.
    pub(crate) fn node_subject(&self, node: Option<NodeId>) -> String {
        match node {
            Some(node) => format!("{}.n.{node}", self.prefix),
            None => format!("{}.n.all", self.prefix),
        }
    }

    /// The subject under which nodes show each other that they are alive: `sockeye.n.signs`.
    pub(crate) fn signs_subject(&self) -> String {
        format!("{}.n.signs", self.prefix)
    }

    /// The stream of what all nodes share for a time: `sockeye_t`.
    pub(crate) fn records_stream(&self) -> String {
        format!("{}_t", self.prefix)
    }

    /// The subject of a record there: `sockeye.t.KEY`.
    pub(crate) fn record_subject(&self, key: &str) -> String {
        format!("{}.t.{key}", self.prefix)
    }

    /// The subject under which the nodes are asked how they are: `sockeye.s`.
    pub(crate) fn question_subject(&self) -> String {
        format!("{}.s", self.prefix)
    }

    /// What a subject of a log, or of the same published again, speaks of. `None` if it is neither, or
    /// of another shard than the channel's, or names no channel: another program has published it.
    pub(crate) fn topic(&self, subject: &str, shard: u16) -> Option<Topic> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix('.')?;
        let rest = rest.strip_prefix("c.").or_else(|| rest.strip_prefix("l."))?;
        let (number, token) = rest.split_once('.')?;
        if number.parse() != Ok(shard) {
            return None;
        }
        if token == CLOCK {
            return Some(Topic::Clock);
        }
        let (token, is_end) = match token.split_once('.') {
            Some((token, END)) => (token, true),
            _ => (token, false),
        };
        let channel = channel_of_token(token).filter(|channel| self.shard(channel) == shard)?;
        Some(if is_end { Topic::End(channel) } else { Topic::Channel(channel) })
    }
}

/// Appends a channel's name as one token: its dots, which would separate tokens, become slashes, which
/// no name has.
fn push_token(subject: &mut String, channel: &ChannelName) {
    for (index, part) in channel.as_str().split('.').enumerate() {
        let separator = if index > 0 { "/" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(subject, "{separator}{part}");
    }
}

/// The channel whose token this is.
fn channel_of_token(token: &str) -> Option<ChannelName> {
    if token.contains('.') {
        return None;
    }
    match token.contains('/') {
        true => token.replace('/', ".").parse().ok(),
        false => token.parse().ok(),
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(shards: u16) -> Names {
        Names::new("sockeye".parse().unwrap(), shards)
    }

    #[test]
    fn subjects_are_what_the_documentation_says() {
        let (names, chat) = (names(1), "room.42".parse().unwrap());
        assert_eq!(names.stream(0), "sockeye_c0");
        assert_eq!(names.log_subject(&chat), "sockeye.c.0.room/42");
        assert_eq!(names.live_subjects(0), "sockeye.l.0.>");
        assert_eq!(names.end_subject(&chat), "sockeye.c.0.room/42.end");
        assert_eq!(names.end_subjects(0), "sockeye.c.0.*.end");
        assert_eq!(names.clock_subject(0), "sockeye.c.0._clock");
        assert_eq!(names.node_subject(None), "sockeye.n.all");
        assert_eq!(names.node_subject(Some(NodeId(0xab))), "sockeye.n.00000000000000ab");
        assert_eq!(
            (&*names.records_stream(), &*names.record_subject("k")),
            ("sockeye_t", "sockeye.t.k")
        );
        assert_eq!(names.question_subject(), "sockeye.s");
    }

    /// The test vectors of FNV's authors. A change here would lose every channel.
    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let shards = ["chat", "a.b", "user:ann@example", "7"];
        let shards = shards.map(|channel| names(8).shard(&channel.parse().unwrap()));
        assert_eq!(shards, [2, 5, 5, 2]);
    }

    #[test]
    fn a_subject_of_another_program_has_no_topic() {
        let names = names(1);
        for subject in [
            "",
            "sockeye",
            "sockeye.",
            "sockeye.c",
            "sockeye.c.",
            "sockeye.c.0",
            "sockeye.c.0.",
            "sockeye.c.0._other",
            "sockeye.c.0.a.b",
            "sockeye.c.0..end",
            "sockeye.c.0._clock.end",
            "sockeye.c.0.a.b.end",
            "sockeye.c.0.a.end.end",
            "sockeye.c.0.a b",
            "sockeye.c.1.a",
            "sockeye.c.x.a",
            "sockeye.t.0.a",
            "sockeyes.c.0.a",
            "other.c.0.a",
        ] {
            assert_eq!(names.topic(subject, 0), None, "{subject}");
        }
        assert_eq!(names.topic("sockeye.l.0._clock", 0), Some(Topic::Clock));
    }

    proptest! {
        #[test]
        fn a_channel_is_found_again_by_its_subject(
            name in "[a-zA-Z0-9][a-zA-Z0-9_.:~@-]{0,254}",
            shards in 1_u16..64,
        ) {
            let (names, channel): (_, ChannelName) = (names(shards), name.parse().unwrap());
            let (shard, subject) = (names.shard(&channel), names.log_subject(&channel));
            prop_assert!(shard < shards);
            prop_assert_eq!(subject.split('.').count(), 4);
            let end = names.topic(&names.end_subject(&channel), shard);
            prop_assert_eq!(end, Some(Topic::End(channel.clone())));
            prop_assert_eq!(names.topic(&subject, shard), Some(Topic::Channel(channel)));
        }

        #[test]
        fn any_subject_speaks_of_something_or_nothing(subject in "\\PC{0,40}|sockeye\\.[cl]\\.[0-9.]{0,4}\\PC{0,20}") {
            let names = names(8);
            for shard in 0..8 {
                if let Some(Topic::Channel(channel) | Topic::End(channel)) = names.topic(&subject, shard) {
                    prop_assert_eq!(names.shard(&channel), shard);
                }
            }
        }
    }
}
