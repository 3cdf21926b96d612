//! The other nodes of a cluster: telling them of the members here, and knowing those there.
//!
//! Each node owns its members and tells all others of each that comes or leaves, in messages with numbers
//! in a row. A node that watches a channel has a copy of the others' members of it: a snapshot from each,
//! and the changes since. A hole in the numbers has it ask for snapshots again. A request that only has to know
//! who is present asks all nodes at that moment.
//!
//! - `membership`: how the hub joins the others, hears them and leaves
//! - `message`: what they tell each other, as bytes
//! - `node_presence`: what each has of a channel, and all together
//! - `asks`: questions that are under way

mod asks;
mod membership;
mod message;
mod node_presence;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use self::asks::Asks;
use self::message::{Body, MEMBERS, Message, Part, Sign, size};
use self::node_presence::{NodePresence, PageRequest, unite};
use super::registry::PresenceRegistry;
use super::remote::{NodeAccount, Settled};
use super::set::PresenceSet;
use super::{Presence, PresenceChange};
use crate::ChannelName;
use crate::backplane::{NodeId, NodeLink};

/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// After how long without a word a node is gone, and all its members.
const SILENT: Duration = Duration::from_secs(6);
/// After how long without a word questions do not wait for a node.
const DOUBTFUL: Duration = Duration::from_millis(2500);
/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long until other nodes are known.
const SETTLING: Duration = Duration::from_millis(700);
/// How late a look at the others may be, until it is not their silence but a pause of this node.
const LATE: Duration = Duration::from_secs(2);
/// After how long a snapshot is asked for again.
const AGAIN: Duration = Duration::from_secs(2);
/// How many snapshots are asked for at once.
const AT_ONCE: usize = 1000;
/// How many questions to all nodes are under way at once; others wait.
const QUESTIONS: usize = 256;
/// The most nodes that are known.
const NODES: usize = 1024;

/// A snapshot that is waited for: what it is asked by, and when it was.
type Due = BTreeMap<(ChannelName, NodeId), (u64, Option<Instant>)>;

/// The other nodes.
///
/// Locks are taken in this order: a stripe of the registry, then any one of these.
#[derive(Debug)]
pub(super) struct Peers {
    node: NodeId,
    link: Arc<dyn NodeLink>,
    since: Instant,
    max_bytes: u64,
    /// How many changes were told. Held while one is sent, so they go out in the order of their numbers.
    told: Mutex<u64>,
    nodes: Mutex<HashMap<NodeId, PeerNode>>,
    /// The channels that are watched here.
    followed: Mutex<BTreeSet<ChannelName>>,
    due: Mutex<Due>,
    asks: Asks,
    questions: Semaphore,
    /// Told when something has come of a node.
    progressed: Notify,
    requests: AtomicU64,
    ticked: Mutex<Ticked>,
    has_left: AtomicBool,
    /// The nodes that left last. What they have said before may come after their last word.
    gone: Mutex<VecDeque<NodeId>>,
    unanswered: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
struct PeerNode {
    account: Arc<NodeAccount>,
    heard: Instant,
    /// How many changes it has told, as far as they came.
    changes: u64,
    /// Channels whose snapshot waits for changes before it.
    early: Vec<ChannelName>,
}

#[derive(Debug)]
struct Ticked {
    at: Instant,
    beat: Option<Instant>,
}

impl Peers {
    fn new(node: NodeId, link: Arc<dyn NodeLink>, max_bytes: u64) -> Self {
        let now = Instant::now();
        Self {
            node,
            link,
            since: now,
            max_bytes,
            told: Mutex::default(),
            nodes: Mutex::default(),
            followed: Mutex::default(),
            due: Mutex::default(),
            asks: Asks::default(),
            questions: Semaphore::new(QUESTIONS),
            progressed: Notify::new(),
            requests: AtomicU64::new(0),
            ticked: Mutex::new(Ticked { at: now, beat: None }),
            has_left: AtomicBool::new(false),
            gone: Mutex::default(),
            unanswered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    fn count(&self) -> u64 {
        lock(&self.nodes).len() as u64 + 1
    }

    fn bytes(&self) -> u64 {
        lock(&self.nodes).values().map(|node| node.account.bytes()).sum()
    }

    /// A number by which answers are known.
    fn request(&self) -> u64 {
        self.requests.fetch_add(1, Relaxed) + 1
    }

    fn send(&self, to: Option<NodeId>, body: Body) {
        self.link.send(to, Message { from: self.node, body }.encode());
    }

    /// Tells all of what has changed here. To be called with the channel's stripe locked.
    pub(super) fn tell(&self, channel: &ChannelName, changes: Vec<PresenceChange>) {
        let mut told = lock(&self.told);
        for change in changes {
            *told += 1;
            if !self.has_left.load(Relaxed) {
                let channel = channel.clone();
                self.send(None, Body::Change { number: *told, channel, change });
            }
        }
    }

    /// The channel is watched. To be called with its stripe locked.
    pub(super) fn follow(&self, channel: &ChannelName, set: &mut PresenceSet) {
        set.remote = Some(Box::default());
        // First this: a node that comes from now on finds the channel here.
        lock(&self.followed).insert(channel.clone());
        let accounts: Vec<_> =
            lock(&self.nodes).values().map(|node| Arc::clone(&node.account)).collect();
        for account in accounts {
            self.expect(channel, set, &account, true);
        }
    }

    /// The channel is not watched any more. To be called with its stripe locked.
    pub(super) fn unfollow(&self, channel: &ChannelName, set: &mut PresenceSet) {
        set.remote = None;
        lock(&self.followed).remove(channel);
        // Those of a node that is just being dropped, too.
        let of_all = [NodeId(0), NodeId(u64::MAX)].map(|node| (channel.clone(), node));
        let [first, last] = of_all;
        let mut due = lock(&self.due);
        let ended: Vec<_> = due.range(first..=last).map(|(key, _)| key.clone()).collect();
        for key in ended {
            due.remove(&key);
        }
    }

    /// Has a snapshot asked for.
    fn expect(
        &self,
        channel: &ChannelName,
        set: &mut PresenceSet,
        account: &Arc<NodeAccount>,
        is_first: bool,
    ) {
        let request = self.request();
        set.expect(account, request, is_first);
        lock(&self.due).insert((channel.clone(), account.id), (request, None));
    }

    /// Asks for the snapshots that are waited for.
    pub(super) fn ask_due(&self) {
        let now = Instant::now();
        let mut asked = Vec::new();
        for ((channel, node), (request, at)) in lock(&self.due).iter_mut() {
            if at.is_none_or(|at| now - at > AGAIN) {
                *at = Some(now);
                asked.push((*node, Body::Follow { request: *request, channel: channel.clone() }));
                if asked.len() == AT_ONCE {
                    break;
                }
            }
        }
        for (node, body) in asked {
            self.send(Some(node), body);
        }
    }

    /// All of what is to be known again of a node.
    fn follow_all(&self, registry: &PresenceRegistry, account: &Arc<NodeAccount>, only_new: bool) {
        let followed: Vec<_> = lock(&self.followed).iter().cloned().collect();
        for channel in followed {
            registry.look(&channel, |set| {
                if let Some(set) = set.filter(|set| set.remote.is_some())
                    && !(only_new && set.follows(account.id))
                {
                    self.expect(&channel, set, account, false);
                }
            });
        }
        self.ask_due();
    }

    fn heard(&self, registry: &PresenceRegistry, bytes: &[u8]) {
        let Some(Message { from, body }) = Message::decode(bytes) else {
            tracing::debug!("a message of another node makes no sense: is it of another version?");
            return;
        };
        if from == self.node || self.has_left.load(Relaxed) {
            return;
        }
        match body {
            Body::Alive { changes, sign } => self.alive(registry, from, changes, sign),
            Body::Gone => {
                self.remove_node(from);
                if self.drop_node(registry, from) {
                    tracing::info!(node = %from, "a node has left the cluster");
                }
            }
            Body::Change { number, channel, change } => {
                self.changed(registry, from, number, &channel, change);
            }
            Body::Follow { request, channel } => self.show(registry, from, request, &channel),
            Body::Snapshot { request, channel, part } => {
                self.snapshot(registry, from, request, &channel, part);
            }
            Body::Ask { request, channel, after, limit } => {
                let (after, limit) = (after.as_deref(), limit as usize);
                let wanted = PageRequest { after, limit, seed: request };
                let presence = registry.look(&channel, |set| {
                    let changes = *lock(&self.told);
                    let nothing = || NodePresence { changes, ..NodePresence::default() };
                    set.map_or_else(nothing, |set| set.presence(wanted, changes))
                });
                self.send(Some(from), Body::Page { request, presence });
            }
            Body::Page { request, presence } => self.asks.answer(request, from, presence),
        }
        self.progressed.notify_waiters();
    }

    /// A node has left for good: each life of one has another id.
    fn remove_node(&self, node: NodeId) {
        let mut gone = lock(&self.gone);
        if !gone.contains(&node) {
            gone.push_front(node);
            gone.truncate(NODES);
        }
    }

    /// A node is there.
    fn alive(&self, registry: &PresenceRegistry, from: NodeId, changes: u64, sign: Sign) {
        if sign == Sign::Hello {
            let told = *lock(&self.told);
            self.send(Some(from), Body::Alive { changes: told, sign: Sign::Answer });
        }
        if lock(&self.gone).contains(&from) {
            return;
        }
        let heard = Instant::now();
        let (account, is_new) = {
            let mut nodes = lock(&self.nodes);
            let is_full = nodes.len() >= NODES;
            match nodes.get_mut(&from) {
                Some(node) => {
                    node.heard = heard;
                    if sign == Sign::Answer || changes <= node.changes {
                        return;
                    }
                    node.changes = changes;
                    (Arc::clone(&node.account), false)
                }
                None if is_full => return,
                None => {
                    let account = NodeAccount::new(from, self.max_bytes);
                    let node =
                        PeerNode { account: Arc::clone(&account), heard, changes, early: vec![] };
                    nodes.insert(from, node);
                    (account, true)
                }
            }
        };
        if is_new {
            tracing::info!(node = %from, "a node is in the cluster");
            if let Some(observer) = registry.observer.get() {
                observer.node_found(from);
            }
        } else {
            self.lost.fetch_add(1, Relaxed);
        }
        self.follow_all(registry, &account, is_new);
        self.settle(registry, from);
    }

    /// A member has come at a node, or left.
    fn changed(
        &self,
        registry: &PresenceRegistry,
        from: NodeId,
        number: u64,
        channel: &ChannelName,
        change: PresenceChange,
    ) {
        let (account, is_next) = {
            let mut nodes = lock(&self.nodes);
            let Some(node) = nodes.get_mut(&from) else { return };
            node.heard = Instant::now();
            if number <= node.changes {
                return;
            }
            let is_next = number == node.changes + 1;
            node.changes = number;
            (Arc::clone(&node.account), is_next)
        };
        registry.look(channel, |set| {
            let Some(set) = set else { return };
            if set.changed_at(from, number, change).is_err() {
                let is_first = set.waits_for_first(from);
                self.expect(channel, set, &account, is_first);
            }
        });
        if !is_next {
            self.lost.fetch_add(1, Relaxed);
            self.follow_all(registry, &account, false);
        }
        self.settle(registry, from);
    }

    /// Shows a node all members of a channel.
    fn show(&self, registry: &PresenceRegistry, to: NodeId, request: u64, channel: &ChannelName) {
        let (members, others, changes) = registry.look(channel, |set| {
            let changes = *lock(&self.told);
            let Some(set) = set else { return (Vec::new(), 0, changes) };
            let others = set.pollers.len() as u64 + set.nameless;
            (set.page(None, usize::MAX).members, others, changes)
        });
        let mut parts = vec![Vec::new()];
        let mut bytes = 0;
        for member in members {
            bytes += size(&member);
            if bytes > MEMBERS {
                bytes = size(&member);
                parts.push(Vec::new());
            }
            if let Some(part) = parts.last_mut() {
                part.push(member);
            }
        }
        let count = parts.len();
        for (index, members) in (0..).zip(parts) {
            let is_last = index as usize + 1 == count;
            let part = Part { changes, others, index, is_last, members };
            self.send(Some(to), Body::Snapshot { request, channel: channel.clone(), part });
        }
    }

    /// A part of a snapshot has come.
    fn snapshot(
        &self,
        registry: &PresenceRegistry,
        from: NodeId,
        request: u64,
        channel: &ChannelName,
        part: Part,
    ) {
        let Some(changes) = lock(&self.nodes).get(&from).map(|node| node.changes) else { return };
        let settled = registry.look(channel, |set| {
            let Some(set) = set else { return Settled::No };
            let Part { changes: at, others, index, is_last, members } = part;
            set.snapshot_part(from, request, (at, others), (index, is_last), members);
            self.settle_one(channel, set, from, changes)
        });
        if settled == Settled::Early
            && let Some(node) = lock(&self.nodes).get_mut(&from)
            && !node.early.contains(channel)
        {
            node.early.push(channel.clone());
        }
    }

    /// Takes the snapshots that have waited for changes before them.
    fn settle(&self, registry: &PresenceRegistry, from: NodeId) {
        let (early, changes) = match lock(&self.nodes).get_mut(&from) {
            Some(node) if !node.early.is_empty() => (std::mem::take(&mut node.early), node.changes),
            _ => return,
        };
        let still: Vec<_> = early
            .into_iter()
            .filter(|channel| {
                let settled = registry.look(channel, |set| match set {
                    Some(set) => self.settle_one(channel, set, from, changes),
                    None => Settled::No,
                });
                settled == Settled::Early
            })
            .collect();
        if let Some(node) = lock(&self.nodes).get_mut(&from) {
            node.early.extend(still);
        }
    }

    fn settle_one(
        &self,
        channel: &ChannelName,
        set: &mut PresenceSet,
        from: NodeId,
        changes: u64,
    ) -> Settled {
        let settled = set.settle(from, changes);
        if settled == Settled::Yes {
            lock(&self.due).remove(&(channel.clone(), from));
        }
        settled
    }

    /// A node is gone, and all its members. Whether it was known.
    fn drop_node(&self, registry: &PresenceRegistry, id: NodeId) -> bool {
        if lock(&self.nodes).remove(&id).is_none() {
            return false;
        }
        let followed: Vec<_> = lock(&self.followed).iter().cloned().collect();
        for channel in followed {
            registry.look(&channel, |set| {
                if let Some(set) = set {
                    set.drop_node(id);
                }
                lock(&self.due).remove(&(channel.clone(), id));
            });
        }
        self.asks.drop_node(id);
        if let Some(observer) = registry.observer.get() {
            observer.node_lost(id);
        }
        true
    }

    /// Says that this node is there, and looks which others are.
    fn tick(&self, registry: &PresenceRegistry) {
        if self.has_left.load(Relaxed) {
            return;
        }
        let now = Instant::now();
        let (beat, was_late) = {
            let mut ticked = lock(&self.ticked);
            let was_late = now - std::mem::replace(&mut ticked.at, now) > LATE;
            let is_due = ticked.beat.is_none_or(|beat| now - beat >= BEAT);
            let sign = if ticked.beat.is_none() { Sign::Hello } else { Sign::Beat };
            if is_due {
                ticked.beat = Some(now);
            }
            (is_due.then_some(sign), was_late)
        };
        if let Some(sign) = beat {
            let told = lock(&self.told);
            // Nothing is said after the last word.
            if !self.has_left.load(Relaxed) {
                let alive = |sign| {
                    let body = Body::Alive { changes: *told, sign };
                    Message { from: self.node, body }.encode()
                };
                self.link.show_life(alive(Sign::Answer));
                self.link.send(None, alive(sign));
            }
        }
        let mut silent = Vec::new();
        for (id, node) in lock(&self.nodes).iter_mut() {
            if was_late {
                // This node has paused, and what the others said meanwhile is still on its way.
                node.heard = now;
            }
            if now - node.heard > SILENT {
                silent.push(*id);
            }
        }
        for id in silent {
            tracing::warn!(node = %id, "a node is silent: its members are gone");
            self.drop_node(registry, id);
        }
        self.ask_due();
    }

    /// Asks all nodes for the members of the channel.
    async fn ask(
        &self,
        registry: &PresenceRegistry,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Presence {
        if self.since.elapsed() < SETTLING {
            sleep_until(self.since + SETTLING).await;
        }
        // It is never closed.
        let _permit = self.questions.acquire().await;
        let wanted = PageRequest { after, limit, seed: self.request() };
        let now = Instant::now();
        let nodes: HashMap<_, _> =
            lock(&self.nodes).iter().map(|(id, node)| (*id, now - node.heard)).collect();
        if nodes.is_empty() {
            return registry.page(channel, after, limit);
        }
        let hears = nodes.iter().filter(|(_, silence)| **silence <= DOUBTFUL);
        let ask = self.asks.ask(wanted.seed, hears.map(|(id, _)| *id).collect());
        let (after, limit) = (after.map(Arc::from), u32::try_from(limit).unwrap_or(u32::MAX));
        let asked = Body::Ask { request: wanted.seed, channel: channel.clone(), after, limit };
        self.send(None, asked);
        if timeout(ANSWER_TIMEOUT, ask.answered()).await.is_err() {
            self.unanswered.fetch_add(ask.missing() as u64, Relaxed);
        }
        let mut answers = ask.answers();
        // Watches are told after this what they have not been told.
        let deadline = now + ANSWER_TIMEOUT;
        let _ = timeout_at(deadline, self.caught_up(registry, channel, &answers)).await;
        let own = registry.look(channel, |set| {
            let Some(set) = set else { return [NodePresence::default(), NodePresence::default()] };
            let nodes = nodes.keys().copied().collect();
            [set.stand_in(&nodes, &mut answers, wanted), set.presence(wanted, 0)]
        });
        unite(answers.into_values().chain(own), wanted)
    }

    /// Waits until what watches of the channel are told is as new as these answers.
    async fn caught_up(
        &self,
        registry: &PresenceRegistry,
        channel: &ChannelName,
        answers: &HashMap<NodeId, NodePresence>,
    ) {
        loop {
            // It counts from here on, so nothing that comes between the look and the wait is missed.
            let progressed = self.progressed.notified();
            if !lock(&self.followed).contains(channel) || self.has(registry, channel, answers) {
                return;
            }
            progressed.await;
        }
    }

    fn has(
        &self,
        registry: &PresenceRegistry,
        channel: &ChannelName,
        answers: &HashMap<NodeId, NodePresence>,
    ) -> bool {
        let waits_for =
            |node| registry.look(channel, |set| set.is_some_and(|set| set.waits_for(node)));
        answers.iter().all(|(node, presence)| {
            let heard = lock(&self.nodes).get(node).map(|node| node.changes);
            heard.is_none_or(|changes| changes >= presence.changes && !waits_for(*node))
        })
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is whole between any two statements.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
