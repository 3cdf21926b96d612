//! What each node has of a channel's presence, and all of it together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::message::{MEMBERS, size};
use crate::backplane::NodeId;
use crate::presence::set::PresenceSet;
use crate::presence::{Member, Presence};

/// The most hashes of a kind in one.
pub(super) const HASHES: usize = 16 << 10;

/// What one node has of a channel's presence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodePresence {
    /// How many changes it had told.
    pub(super) changes: u64,
    /// How many members there are.
    pub(super) count: u64,
    /// How many others.
    pub(super) others: u64,
    /// A page of the members.
    pub(super) page: Vec<Member>,
    /// The id after which the next page begins, if there is one.
    pub(super) next: Option<Arc<str>>,
    /// Hashes of all members, if they are not all in the page.
    pub(super) ids: Vec<u64>,
    /// Hashes of the keys of polling clients without an id.
    pub(super) pollers: Vec<u64>,
}

/// What is asked for. The seed makes the hashes of each question others: no client can choose ids that have
/// the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest<'a> {
    pub(super) after: Option<&'a str>,
    pub(super) limit: usize,
    pub(super) seed: u64,
}

impl PresenceSet {
    /// What this node has.
    pub(super) fn presence(&self, wanted: PageRequest<'_>, changes: u64) -> NodePresence {
        NodePresence {
            changes,
            others: self.nameless + self.pollers.len() as u64,
            pollers: hashes(self.pollers.keys(), wanted.seed),
            ..NodePresence::of(&self.members, |stay| stay.since, wanted)
        }
    }

    /// Gives what clients that watch are told of the members at other nodes, for the place of what those have
    /// answered of them: nothing in it is newer, nothing older, and what is missing is told when it comes.
    pub(super) fn stand_in(
        &mut self,
        nodes: &HashSet<NodeId>,
        answers: &mut HashMap<NodeId, NodePresence>,
        wanted: PageRequest<'_>,
    ) -> NodePresence {
        let Some(remote) = &mut self.remote else { return NodePresence::default() };
        // Those of a node that is not known yet are told when it is.
        answers.retain(|node, _| nodes.contains(node));
        let mut answered = HashSet::new();
        for node in nodes {
            let Some((others, is_partial)) = remote.known(*node) else { continue };
            let presence = match answers.remove(node) {
                // What was not told for lack of room is counted all the same.
                Some(answer) if is_partial => {
                    answered.insert(*node);
                    answer
                }
                Some(NodePresence { others, pollers, .. }) => {
                    NodePresence { others, pollers, ..NodePresence::default() }
                }
                None => NodePresence { others, ..NodePresence::default() },
            };
            answers.insert(*node, presence);
        }
        let least = |stays: &Vec<(_, u64)>| stays.iter().map(|(_, since)| *since).min();
        let since = |stays: &Vec<_>| least(stays).unwrap_or_default();
        if answered.is_empty() {
            return NodePresence::of(&remote.members, since, wanted);
        }
        let is_told = |stays: &[(NodeId, u64)]| stays.iter().any(|(at, _)| !answered.contains(at));
        let told = remote.members.iter().filter(|(_, stays)| is_told(stays));
        let told: BTreeMap<_, _> = told.map(|(id, stays)| (Arc::clone(id), since(stays))).collect();
        NodePresence::of(&told, |since| *since, wanted)
    }

    /// The first members here and at other nodes, as far as they are known, and how many there are.
    pub(in crate::presence) fn view(&self, limit: usize) -> Presence {
        let mut presence = self.page(None, limit);
        let Some(remote) = &self.remote else { return presence };
        let elsewhere = remote.members.keys().filter(|id| !self.members.contains_key(&**id));
        presence.count += elsewhere.count() as u64 + remote.others();
        let least = |stays: &[(_, u64)]| stays.iter().map(|(_, since)| *since).min().unwrap_or(0);
        let first = remote.members.iter().take(limit.saturating_add(1));
        let first = first.map(|(id, stays)| Member { id: Arc::clone(id), since: least(stays) });
        let next = presence.next.take();
        let all = vec![(presence.members, next), (first.collect(), None)];
        (presence.members, presence.next) = merge(all, limit);
        presence
    }
}

impl NodePresence {
    /// A page of these, as large as a message takes, and hashes of all of them if there are more.
    fn of<S>(
        members: &BTreeMap<Arc<str>, S>,
        since: impl Fn(&S) -> u64,
        PageRequest { after, limit, seed }: PageRequest<'_>,
    ) -> Self {
        let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut page, mut next, mut bytes) = (Vec::<Member>::new(), None, 0);
        for (id, stay) in members.range::<str, _>((bound, Bound::Unbounded)) {
            let member = Member { id: Arc::clone(id), since: since(stay) };
            bytes += size(&member);
            if page.len() == limit || bytes > MEMBERS {
                next = page.last().map(|last| Arc::clone(&last.id));
                break;
            }
            page.push(member);
        }
        let is_all = after.is_none() && next.is_none();
        let ids = if is_all { Vec::new() } else { hashes(members.keys(), seed) };
        Self { count: members.len() as u64, page, next, ids, ..Self::default() }
    }
}

fn hashes<'i>(ids: impl Iterator<Item = &'i Arc<str>>, seed: u64) -> Vec<u64> {
    ids.take(HASHES).map(|id| xxh3_64_with_seed(id.as_bytes(), seed)).collect()
}

/// All of it together: each member, and each client that polls, once, though it is at several nodes.
pub(super) fn unite(
    answers: impl IntoIterator<Item = NodePresence>,
    PageRequest { limit, seed, .. }: PageRequest<'_>,
) -> Presence {
    let (mut count, mut twice) = (0_u64, 0_u64);
    let (mut ids, mut pollers) = (HashSet::new(), HashSet::new());
    let mut pages = Vec::new();
    for NodePresence {
        count: members, others, page, next, ids: hashes, pollers: polling, ..
    } in answers
    {
        count += members + others;
        let in_page = page.iter().filter(|_| hashes.is_empty());
        let in_page = in_page.map(|member| xxh3_64_with_seed(member.id.as_bytes(), seed));
        for hash in in_page.chain(hashes.iter().copied()) {
            twice += u64::from(!ids.insert(hash));
        }
        for hash in polling {
            twice += u64::from(!pollers.insert(hash));
        }
        pages.push((page, next));
    }
    let (members, next) = merge(pages, limit);
    Presence { count: count.saturating_sub(twice), members, next }
}

/// The first members of several pages, each with the id after which it goes on if it does.
fn merge(
    pages: Vec<(Vec<Member>, Option<Arc<str>>)>,
    limit: usize,
) -> (Vec<Member>, Option<Arc<str>>) {
    // Behind the end of a page that goes on the members are not known.
    let end = pages.iter().filter_map(|(_, next)| next.clone()).min();
    let mut all = BTreeMap::<Arc<str>, u64>::new();
    for member in pages.into_iter().flat_map(|(members, _)| members) {
        let since = all.entry(member.id).or_insert(member.since);
        *since = member.since.min(*since);
    }
    let bound = end.as_deref().map_or(Bound::Unbounded, Bound::Included);
    let mut rest = all.range::<str, _>((Bound::Unbounded, bound));
    let member = |(id, since): (&Arc<str>, &u64)| Member { id: Arc::clone(id), since: *since };
    let members: Vec<_> = rest.by_ref().take(limit).map(member).collect();
    let goes_on = end.is_some() || rest.next().is_some();
    let next = members.last().filter(|_| goes_on).map(|last| Arc::clone(&last.id));
    (members, next)
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::Options;
    use crate::presence::budget::PresenceBudget;

    proptest! {
        /// Pages of many nodes, one after the other, give what one node with all of them would.
        #[test]
        fn pages_of_many_nodes_are_those_of_one(
            nodes in vec(btree_set("[a-f]{1,2}", 0..40), 1..5),
            nameless in vec(0..3_usize, 5),
            pollers in vec(btree_set("[a-c]", 0..3), 5),
            limit in 1..20_usize,
            seed: u64,
        ) {
            let budget = PresenceBudget::new(&Options::default());
            let (mut sets, mut one) = (Vec::new(), PresenceSet::default());
            for (node, ids) in nodes.iter().enumerate() {
                let mut set = PresenceSet::default();
                let names = ids.iter().map(|id| Some(id.as_str()));
                for id in names.chain(std::iter::repeat_n(None, nameless[node])) {
                    let _ = (set.join(id, 7, &budget), one.join(id, 7, &budget));
                }
                for key in &pollers[node] {
                    let minute = std::time::Duration::from_mins(1);
                    set.renew(key, None, minute, 7, &budget);
                    one.renew(key, None, minute, 7, &budget);
                }
                sets.push(set);
            }
            let mut after = None::<Arc<str>>;
            loop {
                let wanted = PageRequest { after: after.as_deref(), limit, seed };
                let united = unite(sets.iter().map(|set| set.presence(wanted, 0)), wanted);
                prop_assert_eq!(&united, &one.page(after.as_deref(), limit));
                after = united.next;
                if after.is_none() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_share_is_no_larger_than_a_message() {
        let options = Options::default().max_members(usize::MAX);
        let (budget, mut set) = (PresenceBudget::new(&options), PresenceSet::default());
        for number in 0..40_000 {
            set.join(Some(&format!("{number:0>250}")), 1, &budget);
        }
        let wanted = PageRequest { after: None, limit: usize::MAX, seed: 1 };
        let presence = set.presence(wanted, 0);
        assert!(presence.next.is_some() && presence.ids.len() == HASHES);
        let united = unite([presence], wanted);
        assert_eq!((united.count, united.next.is_some()), (40_000, true));
    }
}
