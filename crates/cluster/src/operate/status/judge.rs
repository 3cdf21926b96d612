//! What is wrong with a cluster, in words: each thing once, with what to do.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeStatus, ShardStatus, Status};

/// How many messages a node or operations a follower may be behind: what is under way at a high rate.
const BEHIND: u64 = 10_000;
/// For how long, in seconds, a node may not know whether a shard is complete.
const STALE: f64 = 3.0;

impl Status {
    /// Finds what is wrong.
    pub(super) fn judge(&mut self) {
        let mut trouble = Vec::new();
        self.judge_servers(&mut trouble);
        self.judge_shards(&mut trouble);
        self.judge_records(&mut trouble);
        self.judge_nodes(&mut trouble);
        self.well = trouble.is_empty();
        self.trouble = trouble;
    }

    /// Says so in [`trouble`](Self::trouble) if fewer nodes have answered than there should be. A cluster has no list
    /// of them: by itself it does not know.
    pub fn expect_nodes(&mut self, count: usize) {
        let there = self.nodes.len();
        if there < count {
            let names: Vec<_> = self.nodes.iter().map(|node| &*node.node).collect();
            let names = if names.is_empty() { "none" } else { &*names.join(", ") };
            self.trouble
                .push(format!("{there} of {count} nodes answer ({names}): start the others"));
            self.well = false;
        }
    }

    fn judge_servers(&self, trouble: &mut Vec<String>) {
        for server in &self.servers {
            if let Some(why) = &server.failure {
                trouble.push(format!("{} does not answer: {why}", server.address));
            }
        }
        let versions: BTreeSet<_> =
            self.servers.iter().filter_map(|server| server.version.as_deref()).collect();
        if versions.len() > 1 {
            let versions: Vec<_> = versions.into_iter().collect();
            trouble.push(format!(
                "the servers of NATS have different versions ({}): finish the upgrade",
                versions.join(", ")
            ));
        }
    }

    fn judge_shards(&self, trouble: &mut Vec<String>) {
        let (mut silent, mut behind) = (Vec::new(), BTreeMap::<_, (Vec<u16>, u64)>::new());
        for shard in &self.shards {
            if shard.failure.is_some() || (shard.leader.is_none() && shard.replicas > 1) {
                silent.push(shard.shard);
            }
            for follower in &shard.followers {
                // A server that has died is long taken for one that catches up.
                if follower.offline || !follower.current || follower.lag > BEHIND {
                    let (shards, lag) = behind.entry(&follower.name).or_default();
                    shards.push(shard.shard);
                    *lag = (*lag).max(follower.lag);
                }
            }
            let there = shard.followers.len() as i64 + 1;
            if shard.failure.is_none() && there < shard.replicas {
                trouble.push(format!(
                    "{} is on {there} of {} servers of NATS: start the others",
                    shard.stream, shard.replicas
                ));
            }
            trouble.extend(fullness(shard));
        }
        if !silent.is_empty() {
            trouble.push(format!(
                "{} {} no leader, and nothing is published there: start a majority of the servers of NATS",
                named(&silent),
                if silent.len() == 1 { "has" } else { "have" }
            ));
        }
        for (server, (shards, lag)) in behind {
            trouble.push(format!(
                "the server {server} is away or catches up with {}, at least {lag} operations behind: start \
                 it, and stop no other before it has",
                named(&shards)
            ));
        }
        self.judge_configuration(trouble);
    }

    /// Whether all shards are kept alike.
    fn judge_configuration(&self, trouble: &mut Vec<String>) {
        let answering = || self.shards.iter().filter(|shard| shard.failure.is_none());
        let kinds: BTreeSet<_> = answering()
            .map(|shard| (shard.replicas, &*shard.storage, shard.max_bytes, &*shard.history))
            .collect();
        if kinds.len() > 1 {
            trouble.push(
                "the streams are not configured alike: a change has stopped half-way, repeat \
                 `sockeye cluster apply`"
                    .to_owned(),
            );
        }
    }

    /// Whether tickets are there, and on as many servers as messages.
    fn judge_records(&self, trouble: &mut Vec<String>) {
        let Some(records) = &self.records else { return };
        let stream = &records.stream;
        let silent = match &records.failure {
            Some(why) => Some(format!(": {why}")),
            None => (records.leader.is_none() && records.replicas > 1).then(String::new),
        };
        let shards = self.shards.iter().filter(|shard| shard.failure.is_none());
        let replicas = shards.map(|shard| shard.replicas).min().unwrap_or(0);
        if let Some(why) = silent {
            trouble.push(format!(
                "{stream} cannot be asked, and no ticket is issued or taken{why}: start the servers of NATS \
                 that have it"
            ));
        } else if records.replicas < replicas {
            trouble.push(format!(
                "{stream} is made for {} of {replicas} servers of NATS: `sockeye cluster apply \
                 --cluster-replicas {replicas}`",
                records.replicas
            ));
        }
    }

    fn judge_nodes(&self, trouble: &mut Vec<String>) {
        if self.nodes.is_empty() {
            trouble.push(
                "no node answers: start `sockeye serve --cluster`, or allow its user to subscribe to \
                 the subjects of the cluster and to publish to _INBOX.>"
                    .to_owned(),
            );
        }
        let mut versions = BTreeSet::new();
        for node in &self.nodes {
            versions.insert(&*node.version);
            trouble.extend(lateness(node));
        }
        if versions.len() > 1 {
            let versions: Vec<_> = versions.into_iter().collect();
            trouble.push(format!(
                "the nodes have different versions ({}): finish the upgrade",
                versions.join(", ")
            ));
        }
    }
}

/// Whether a stream refuses messages, or is about to.
fn fullness(shard: &ShardStatus) -> Option<String> {
    let max = shard.max_bytes.filter(|max| *max > 0)?;
    let percent = shard.bytes.saturating_mul(100) / max;
    let what = match percent {
        ..90 => return None,
        90..100 => "is nearly full",
        _ => "is full",
    };
    Some(format!(
        "{} {what}, {percent} % of its bytes: raise --cluster-bytes by `sockeye cluster apply`",
        shard.stream
    ))
}

fn lateness(node: &NodeStatus) -> Option<String> {
    if let Some(why) = &node.failure {
        let how = if node.ready { "cannot do all" } else { "is not ready" };
        return Some(format!("the node {} {how}: {why}", node.node));
    }
    if node.stale > STALE {
        return Some(format!(
            "the node {} has not known for {:.0} s whether it has everything: see its log",
            node.node, node.stale
        ));
    }
    (node.behind > BEHIND).then(|| {
        format!(
            "the node {} is {} messages behind: it is too slow for the rate of the cluster, or catches up",
            node.node, node.behind
        )
    })
}

/// `shard 3`, `shards 1, 2 and 5`, `8 shards`.
pub(crate) fn named(shards: &[u16]) -> String {
    let numbers: Vec<_> = shards.iter().map(ToString::to_string).collect();
    match &numbers[..] {
        [one] => format!("shard {one}"),
        [most @ .., last] if numbers.len() < 5 => format!("shards {} and {last}", most.join(", ")),
        many => format!("{} shards", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::connection::ServerStatus;
    use crate::operate::status::FollowerStatus;

    fn follower(name: &str) -> FollowerStatus {
        FollowerStatus { name: name.to_owned(), current: true, ..FollowerStatus::default() }
    }

    fn well() -> Status {
        let shard = |shard| ShardStatus {
            shard,
            stream: format!("sockeye_c{shard}"),
            leader: Some("n1".to_owned()),
            followers: vec![follower("n2"), follower("n3")],
            replicas: 3,
            max_bytes: Some(100),
            bytes: 50,
            ..ShardStatus::default()
        };
        let node = |name: &str| NodeStatus {
            node: name.to_owned(),
            version: "1".to_owned(),
            ready: true,
            ..NodeStatus::default()
        };
        let server = |version: &str| ServerStatus {
            address: "nats://a:4222".to_owned(),
            version: Some(version.to_owned()),
            ..ServerStatus::default()
        };
        Status {
            servers: vec![server("2.15.1"), server("2.15.1")],
            shards: (0..8).map(shard).collect(),
            nodes: vec![node("a"), node("b")],
            records: Some(ShardStatus { stream: "sockeye_t".to_owned(), ..shard(0) }),
            ..Status::default()
        }
    }

    /// What is wrong after this change.
    fn trouble(change: impl FnOnce(&mut Status)) -> String {
        let mut status = well();
        change(&mut status);
        status.judge();
        assert_eq!(status.well, status.trouble.is_empty());
        status.trouble.join("\n")
    }

    type Change = fn(&mut Status);

    #[test]
    fn a_cluster_that_is_well_has_no_trouble() {
        assert_eq!(trouble(|_| {}), "");
    }

    #[test]
    fn each_trouble_is_said_once_with_what_to_do() {
        let changes: [(&str, Change); 14] = [
            ("nats://a:4222 does not answer: refused", |status| {
                status.servers[0].failure = Some("refused".to_owned());
            }),
            ("different versions (2.14.6, 2.15.1): finish the upgrade", |status| {
                status.servers[0].version = Some("2.14.6".to_owned());
            }),
            ("shards 1 and 2 have no leader", |status| {
                status.shards[1].failure = Some("no answer".to_owned());
                status.shards[2].leader = None;
            }),
            (
                "the server n3 is away or catches up with 8 shards, at least 0 operations",
                |status| {
                    status.shards.iter_mut().for_each(|shard| shard.followers[1].offline = true);
                },
            ),
            (
                "the server n2 is away or catches up with shard 4, at least 7 operations behind",
                |status| {
                    status.shards[4].followers[0].current = false;
                    status.shards[4].followers[0].lag = 7;
                },
            ),
            ("sockeye_c5 is on 2 of 3 servers", |status| {
                status.shards[5].followers.pop();
            }),
            ("sockeye_c0 is nearly full, 95 % of its bytes", |status| status.shards[0].bytes = 95),
            ("sockeye_c0 is full, 100 % of its bytes", |status| status.shards[0].bytes = 100),
            ("no ticket is issued or taken: stream is offline: start", |status| {
                let records = status.records.as_mut().expect("a stream");
                records.failure = Some("stream is offline".to_owned());
            }),
            ("sockeye_t is made for 1 of 3 servers", |status| {
                status.records.as_mut().expect("a stream").replicas = 1;
            }),
            ("not configured alike", |status| status.shards[3].history = "1".to_owned()),
            ("the node a is 50000 messages behind", |status| status.nodes[0].behind = 50_000),
            ("the node b is not ready: it waits", |status| {
                status.nodes[1].ready = false;
                status.nodes[1].failure = Some("it waits".to_owned());
            }),
            ("the node b cannot do all: NATS forbids it", |status| {
                status.nodes[1].failure = Some("NATS forbids it".to_owned());
            }),
        ];
        for (expected, change) in changes {
            let said = trouble(change);
            assert!(said.contains(expected) && said.lines().count() == 1, "{expected}: {said}");
        }
        assert!(trouble(|status| status.nodes.clear()).contains("no node answers"));
        assert!(trouble(|status| status.nodes[0].stale = 4.0).contains("not known for 4 s"));
        let upgrade = trouble(|status| status.nodes[0].version = "2".to_owned());
        assert!(upgrade.contains("the nodes have different versions (1, 2)"), "{upgrade}");
    }

    #[test]
    fn fewer_nodes_than_there_should_be_is_trouble() {
        let mut status = well();
        status.judge();
        status.expect_nodes(2);
        assert!(status.well && status.trouble.is_empty());
        status.expect_nodes(3);
        assert_eq!(status.trouble, ["2 of 3 nodes answer (a, b): start the others"]);
        assert!(!status.well);
    }
}
