//! The members of a channel at other nodes, as long as a client watches it here.
//!
//! No lock, no clock and no waiting here: [`Peers`](super::peers::Peers) adds those.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::budget::member_charge;
use super::set::PresenceSet;
use super::{Member, PresenceChange};
use crate::backplane::NodeId;

/// The most changes that are kept while a snapshot is waited for.
const EARLY: usize = 4096;

/// A node, and what its members take here.
#[derive(Debug)]
pub(super) struct NodeAccount {
    pub(super) id: NodeId,
    max_bytes: u64,
    bytes: AtomicU64,
}

impl NodeAccount {
    pub(super) fn new(id: NodeId, max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { id, max_bytes, bytes: AtomicU64::new(0) })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    fn admit(&self, id: &str) -> bool {
        let admitted =
            |bytes| Some(bytes + member_charge(id)).filter(|bytes| *bytes <= self.max_bytes);
        self.bytes.fetch_update(Relaxed, Relaxed, admitted).is_ok()
    }

    fn dismiss(&self, id: &str) {
        self.bytes.fetch_sub(member_charge(id), Relaxed);
    }
}

/// The members at other nodes.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// At which nodes each is, and since when.
    pub(super) members: BTreeMap<Arc<str>, Vec<(NodeId, u64)>>,
    nodes: HashMap<NodeId, Followed>,
}

/// One node, as this channel follows it.
#[derive(Debug)]
struct Followed {
    account: Arc<NodeAccount>,
    /// Those without an id.
    others: u64,
    /// Whether there was no room for some of its members.
    is_partial: bool,
    wait: Option<Wait>,
}

/// A snapshot that is waited for.
#[derive(Debug)]
struct Wait {
    request: u64,
    /// Whether those in it were there before the channel was watched: they are not told.
    is_first: bool,
    /// What changes meanwhile, by numbers: the snapshot may be older.
    early: Vec<(u64, PresenceChange)>,
    parts: Vec<Member>,
    next: u32,
    /// How many changes had been told when it was made.
    changes: u64,
    others: u64,
    is_whole: bool,
}

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is not whole yet, or was not asked for.
    No,
    /// It waits for the changes before it.
    Early,
    Yes,
}

impl Remote {
    pub(super) fn has(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    /// Those without an id, as they were last counted.
    pub(super) fn others(&self) -> u64 {
        self.nodes.values().map(|followed| followed.others).sum()
    }

    /// Enters a member. Whether it was at no other node; `None` if it is not held.
    fn enter(&mut self, node: NodeId, member: &Member) -> Option<bool> {
        let Followed { account, is_partial, .. } = self.nodes.get_mut(&node)?;
        let stays = match self.members.get_mut(&member.id) {
            Some(stays) => stays,
            None if account.admit(&member.id) => {
                self.members.insert(Arc::clone(&member.id), vec![(node, member.since)]);
                return Some(true);
            }
            None => {
                *is_partial = true;
                return None;
            }
        };
        match stays.iter_mut().find(|(at, _)| *at == node) {
            Some((_, since)) => *since = member.since,
            None if account.admit(&member.id) => stays.push((node, member.since)),
            None => {
                *is_partial = true;
                return None;
            }
        }
        Some(false)
    }

    /// A leave is told: a node that has the member and has not shown it yet tells of it as of a new one.
    pub(super) fn tell_of_all(&mut self) {
        for wait in self.nodes.values_mut().filter_map(|followed| followed.wait.as_mut()) {
            wait.is_first = false;
        }
    }

    /// Undoes it. Whether it was there and is at no node now.
    fn remove(&mut self, node: NodeId, id: &str) -> bool {
        let Some(stays) = self.members.get_mut(id) else { return false };
        let Some(index) = stays.iter().position(|(at, _)| *at == node) else { return false };
        stays.swap_remove(index);
        let is_gone = stays.is_empty();
        if is_gone {
            self.members.remove(id);
        }
        if let Some(followed) = self.nodes.get(&node) {
            followed.account.dismiss(id);
        }
        is_gone
    }

    /// How many without an id there are at a node, as far as it is known, and whether there was no room for
    /// some of its members. Those that come with the first snapshot are new from now on, and are told.
    pub(super) fn known(&mut self, node: NodeId) -> Option<(u64, bool)> {
        let followed = self.nodes.get_mut(&node)?;
        if let Some(wait) = &mut followed.wait {
            wait.is_first = false;
        }
        Some((followed.others, followed.is_partial))
    }

    /// Those of one node.
    fn of(&self, node: NodeId) -> BTreeMap<Arc<str>, u64> {
        let since = |stays: &Vec<(NodeId, u64)>| {
            stays.iter().find(|(at, _)| *at == node).map(|(_, since)| *since)
        };
        let all = self.members.iter();
        all.filter_map(|(id, stays)| Some((Arc::clone(id), since(stays)?))).collect()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        for (id, stays) in &self.members {
            for (node, _) in stays {
                if let Some(followed) = self.nodes.get(node) {
                    followed.account.dismiss(id);
                }
            }
        }
    }
}

impl PresenceSet {
    /// Waits for a snapshot of that node from now on: the first since the channel is watched, or one that
    /// tells what has changed.
    pub(super) fn expect(&mut self, account: &Arc<NodeAccount>, request: u64, is_first: bool) {
        let Some(remote) = &mut self.remote else { return };
        let (account, id) = (Arc::clone(account), account.id);
        let followed = remote.nodes.entry(id).or_insert(Followed {
            account,
            others: 0,
            is_partial: false,
            wait: None,
        });
        followed.wait = Some(Wait::new(request, is_first));
    }

    /// Whether a snapshot of that node is waited for.
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        let followed = self.remote.as_ref().and_then(|remote| remote.nodes.get(&node));
        followed.is_none_or(|followed| followed.wait.is_some())
    }

    /// Whether the first snapshot of that node is waited for.
    pub(super) fn waits_for_first(&self, node: NodeId) -> bool {
        let followed = self.remote.as_ref().and_then(|remote| remote.nodes.get(&node));
        followed.and_then(|followed| followed.wait.as_ref()).is_some_and(|wait| wait.is_first)
    }

    /// Whether something is known of the node, or asked.
    pub(super) fn follows(&self, node: NodeId) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.nodes.contains_key(&node))
    }

    /// A member has come or left there. An error if too much has changed to wait for the snapshot any
    /// longer.
    pub(super) fn changed_at(
        &mut self,
        node: NodeId,
        number: u64,
        change: PresenceChange,
    ) -> Result<(), ()> {
        let Some(remote) = &mut self.remote else { return Ok(()) };
        let Some(followed) = remote.nodes.get_mut(&node) else { return Ok(()) };
        let mut outcome = Ok(());
        if let Some(wait) = &mut followed.wait {
            match wait.early.len() {
                EARLY.. => outcome = Err(()),
                _ => wait.early.push((number, change.clone())),
            }
        }
        match change {
            PresenceChange::Join(member) => {
                if remote.enter(node, &member) == Some(true)
                    && !self.members.contains_key(&member.id)
                {
                    self.tell(PresenceChange::Join(member));
                }
            }
            PresenceChange::Leave(member) => {
                if remote.remove(node, &member.id) && !self.members.contains_key(&member.id) {
                    self.tell(PresenceChange::Leave(member));
                }
            }
            PresenceChange::Anew(_) => {}
        }
        outcome
    }

    /// A part of a snapshot has come.
    pub(super) fn snapshot_part(
        &mut self,
        node: NodeId,
        request: u64,
        (changes, others): (u64, u64),
        (index, is_last): (u32, bool),
        members: Vec<Member>,
    ) {
        let followed = self.remote.as_mut().and_then(|remote| remote.nodes.get_mut(&node));
        let wait = followed.and_then(|followed| followed.wait.as_mut());
        let Some(wait) = wait.filter(|wait| wait.request == request && !wait.is_whole) else {
            return;
        };
        if index == 0 {
            (wait.next, wait.changes, wait.others) = (0, changes, others);
            wait.parts.clear();
        }
        if (index, changes) != (wait.next, wait.changes) {
            return;
        }
        wait.next += 1;
        wait.parts.extend(members);
        wait.is_whole = is_last;
    }

    /// Takes the snapshot of the node, if all changes before it have come.
    pub(super) fn settle(&mut self, node: NodeId, changes: u64) -> Settled {
        let Some(remote) = &mut self.remote else { return Settled::No };
        let Some(followed) = remote.nodes.get_mut(&node) else { return Settled::No };
        match &followed.wait {
            Some(wait) if wait.is_whole && wait.changes <= changes => {}
            Some(wait) if wait.is_whole => return Settled::Early,
            _ => return Settled::No,
        }
        let Some(wait) = followed.wait.take() else { return Settled::No };
        (followed.others, followed.is_partial) = (wait.others, false);
        let (is_first, there) = (wait.is_first, wait.with_early());
        let before = remote.of(node);
        let mut told = Vec::new();
        for (id, since) in &before {
            if !there.contains_key(id) && remote.remove(node, id) {
                told.push(PresenceChange::Leave(Member { id: Arc::clone(id), since: *since }));
            }
        }
        for (id, since) in there {
            let member = Member { id, since };
            let is_new = remote.enter(node, &member) == Some(true);
            if is_new && !is_first {
                told.push(PresenceChange::Join(member));
            }
        }
        for change in told {
            let (PresenceChange::Join(member) | PresenceChange::Leave(member)) = &change else {
                continue;
            };
            if !self.members.contains_key(&member.id) {
                self.tell(change);
            }
        }
        Settled::Yes
    }

    /// The node is gone, and all that were there.
    pub(super) fn drop_node(&mut self, node: NodeId) {
        let Some(remote) = &mut self.remote else { return };
        let mut gone = Vec::new();
        for (id, since) in remote.of(node) {
            if remote.remove(node, &id) && !self.members.contains_key(&id) {
                gone.push(PresenceChange::Leave(Member { id, since }));
            }
        }
        remote.nodes.remove(&node);
        gone.into_iter().for_each(|change| self.tell(change));
    }
}

impl Wait {
    fn new(request: u64, is_first: bool) -> Self {
        Self {
            request,
            is_first,
            early: Vec::new(),
            parts: Vec::new(),
            next: 0,
            changes: 0,
            others: 0,
            is_whole: false,
        }
    }

    /// The members of the snapshot with what has changed after it.
    fn with_early(self) -> BTreeMap<Arc<str>, u64> {
        let Self { early, parts, changes, .. } = self;
        let mut there: BTreeMap<_, _> = parts.into_iter().map(|m| (m.id, m.since)).collect();
        for (_, change) in early.into_iter().filter(|(number, _)| *number > changes) {
            match change {
                PresenceChange::Join(member) => drop(there.insert(member.id, member.since)),
                PresenceChange::Leave(member) => drop(there.remove(&member.id)),
                PresenceChange::Anew(_) => {}
            }
        }
        there
    }
}
