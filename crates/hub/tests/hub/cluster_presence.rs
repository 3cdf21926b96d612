//! Presence of several hubs on one backplane: members at any are seen at all, and go with their node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sockeye_hub::backplane::Backplane;
use sockeye_hub::backplane::fake::{Bounds, Engine, Faults, Node};
use sockeye_hub::{ChannelName, Clock, Hub, Lease, Options, Presence, PresenceChange, Watch};
use tokio::runtime::Builder;
use tokio::time::advance;

use crate::name;

const BOUNDS: Bounds = Bounds { shards: 1, count: 5, age: 4_000, tick: 500 };
/// How often a link lets its hub look at the others.
const TICK: Duration = Duration::from_millis(250);

struct Cluster {
    engine: Engine,
    nodes: Vec<(Arc<Node>, Hub)>,
    options: Options,
}

impl Cluster {
    /// Hubs that know each other.
    async fn new(count: usize, seed: u64) -> Self {
        Self::with(count, seed, Options::default()).await
    }

    async fn with(count: usize, seed: u64, options: Options) -> Self {
        let engine = Engine::new(BOUNDS, seed);
        let clock = engine.clone();
        let options = options.clock(Clock::new(move || clock.now()));
        let mut cluster = Self { engine, nodes: Vec::new(), options };
        for _ in 0..count {
            cluster.start();
        }
        cluster.pass(1_000).await;
        cluster
    }

    fn start(&mut self) {
        let node = self.engine.node();
        let hub = Hub::with_backplane(self.options.clone(), node.clone());
        self.nodes.push((node, hub));
    }

    fn hub(&self, node: usize) -> &Hub {
        &self.nodes[node].1
    }

    /// Ends a node without a word, and starts another in its place.
    fn kill(&mut self, node: usize) {
        self.engine.cut(&self.nodes[node].0);
        self.start();
        self.nodes.swap_remove(node);
    }

    /// All hear what others have told them, and what they answer.
    fn deliver(&self) {
        while self.nodes.iter().fold(false, |any, (node, _)| node.deliver() || any) {}
    }

    /// Lets time pass, in which all hubs do what they do.
    async fn pass(&self, millis: u64) {
        for _ in 0..millis.div_ceil(TICK.as_millis() as u64) {
            advance(TICK).await;
            self.nodes.iter().for_each(|(node, _)| node.look_at_others());
            self.deliver();
        }
    }

    async fn page(&self, node: usize, after: Option<&str>, limit: usize) -> Presence {
        let (hub, chat) = (self.hub(node), chat());
        let asking = hub.presence_of_all(&chat, after, limit);
        tokio::pin!(asking);
        loop {
            tokio::select! {
                biased;
                presence = &mut asking => return presence,
                () = advance(Duration::from_millis(10)) => self.deliver(),
            }
        }
    }

    async fn present(&self, node: usize) -> (u64, Vec<String>) {
        let Presence { count, members, .. } = self.page(node, None, usize::MAX).await;
        (count, members.into_iter().map(|member| member.id.to_string()).collect())
    }
}

fn chat() -> ChannelName {
    name("chat")
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// What a watch has told: `+ann` for a join, `-ann` for a leave.
fn told(watch: &mut Watch) -> Vec<String> {
    let text = |change| match change {
        PresenceChange::Join(member) => format!("+{}", member.id),
        PresenceChange::Leave(member) => format!("-{}", member.id),
        PresenceChange::Anew(presence) => format!("={}", presence.count),
    };
    std::iter::from_fn(|| watch.try_next()).map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn members_at_any_node_are_seen_and_told_at_every_node_each_once() {
    let cluster = Cluster::new(3, 1).await;
    let mut watch = cluster.hub(2).watch(&chat());
    cluster.deliver();
    let ann = [0, 1].map(|node| cluster.hub(node).join(&chat(), Some("ann")));
    let bob = cluster.hub(1).join(&chat(), Some("bob"));
    let _nameless = [0, 1, 1].map(|node| cluster.hub(node).join(&chat(), None));
    for node in [0, 1] {
        // One address that polls at two nodes.
        cluster.hub(node).renew(&chat(), "192.0.2.1", None, Duration::from_mins(1));
    }
    cluster.deliver();
    assert_eq!(told(&mut watch), ["+ann", "+bob"]);
    for node in 0..3 {
        assert_eq!(cluster.present(node).await, (6, ids(&["ann", "bob"])), "at {node}");
    }
    let [first, second] = ann;
    drop((first, bob));
    cluster.deliver();
    assert_eq!(told(&mut watch), ["-bob"], "ann is still at another node");
    drop(second);
    cluster.deliver();
    assert_eq!(told(&mut watch), ["-ann"]);
    assert_eq!(cluster.present(0).await, (4, vec![]));
}

#[tokio::test(start_paused = true)]
async fn those_who_were_there_before_are_not_told_as_joining() {
    let cluster = Cluster::new(2, 1).await;
    let ann = cluster.hub(0).join(&chat(), Some("ann"));
    cluster.deliver();
    let mut watch = cluster.hub(1).watch(&chat());
    assert_eq!(cluster.present(1).await, (1, ids(&["ann"])));
    cluster.deliver();
    assert_eq!(told(&mut watch), [""; 0]);
    // A member that is there already neither joins by a connection here nor leaves with it.
    drop(cluster.hub(1).join(&chat(), Some("ann")));
    assert_eq!(told(&mut watch), [""; 0]);
    drop(ann);
    cluster.deliver();
    assert_eq!(told(&mut watch), ["-ann"]);
}

#[tokio::test(start_paused = true)]
async fn pages_go_through_the_members_of_all_nodes() {
    let cluster = Cluster::new(3, 1).await;
    let names: Vec<_> = (0..250).map(|number| format!("{number:03}")).collect();
    let _all: Vec<_> = (0..)
        .zip(&names)
        // Every fifth is at two nodes.
        .flat_map(|(number, id)| {
            let nodes = if number % 5 == 0 { vec![0, 1] } else { vec![number % 3] };
            nodes.into_iter().map(|node| cluster.hub(node).join(&chat(), Some(id)))
        })
        .collect();
    let (mut seen, mut after) = (Vec::new(), None::<Arc<str>>);
    loop {
        let page = cluster.page(2, after.as_deref(), 60).await;
        assert_eq!(page.count, 250);
        seen.extend(page.members.into_iter().map(|member| member.id.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
}

#[tokio::test(start_paused = true)]
async fn members_of_a_node_that_died_are_gone_within_ten_seconds_and_watchers_are_told() {
    let mut cluster = Cluster::new(3, 1).await;
    let mut watch = cluster.hub(0).watch(&chat());
    let _stays = cluster.hub(1).join(&chat(), Some("bob"));
    // Its leases end with it, and are told to no other node.
    let _dead = [Some("ann"), Some("bob"), None].map(|id| cluster.hub(2).join(&chat(), id));
    cluster.deliver();
    assert_eq!(told(&mut watch), ["+bob", "+ann"]);
    cluster.kill(2);
    cluster.pass(9_000).await;
    assert_eq!(told(&mut watch), ["-ann"]);
    for node in 0..3 {
        assert_eq!(cluster.present(node).await, (1, ids(&["bob"])), "at {node}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_brings_its_members_back() {
    let cluster = Cluster::new(3, 1).await;
    let mut watches = [0, 2].map(|node| cluster.hub(node).watch(&chat()));
    let _ann = cluster.hub(1).join(&chat(), Some("ann"));
    let bob = cluster.hub(2).join(&chat(), Some("bob"));
    cluster.deliver();
    // Each is told of its own first.
    assert_eq!(watches.each_mut().map(told), [["+ann", "+bob"], ["+bob", "+ann"]]);
    cluster.engine.cut(&cluster.nodes[2].0);
    cluster.pass(9_000).await;
    assert_eq!(watches.each_mut().map(told), [["-bob"], ["-ann"]]);
    assert_eq!(cluster.present(2).await, (1, ids(&["bob"])), "it sees its own");
    drop(bob);
    let _carl = cluster.hub(2).join(&chat(), Some("carl"));
    cluster.engine.mend(&cluster.nodes[2].0);
    cluster.pass(2_000).await;
    assert_eq!(watches.each_mut().map(told), [vec!["+carl"], vec!["-bob", "+carl", "+ann"]]);
    for node in 0..3 {
        assert_eq!(cluster.present(node).await, (2, ids(&["ann", "carl"])), "at {node}");
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_a_node_that_leaves_go_at_once() {
    let cluster = Cluster::new(2, 1).await;
    let mut watch = cluster.hub(0).watch(&chat());
    cluster.hub(1).renew(&chat(), "192.0.2.1", Some("ann"), Duration::from_mins(1));
    cluster.deliver();
    cluster.hub(1).leave_cluster().await;
    cluster.deliver();
    assert_eq!(told(&mut watch), ["+ann", "-ann"]);
    assert_eq!(cluster.present(0).await, (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_the_way_is_asked_for() {
    let cluster = Cluster::new(2, 1).await;
    let mut watch = cluster.hub(0).watch(&chat());
    cluster.deliver();
    cluster.engine.set_faults(Faults { lost: 100, ..Faults::default() });
    let ann = cluster.hub(1).join(&chat(), Some("ann"));
    cluster.engine.set_faults(Faults::default());
    cluster.pass(1_250).await;
    assert_eq!(told(&mut watch), ["+ann"], "the next sign of life tells that something is missing");
    let figures = cluster.nodes[0].0.figures();
    assert!(figures.is_empty(), "the fake counts nothing");
    drop(ann);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_members_at_one_node_leaves_room_for_those_of_others() {
    let max_presence_bytes = 8 * 64 * 1024;
    let cluster =
        Cluster::with(3, 1, Options::default().max_presence_bytes(max_presence_bytes)).await;
    let mut watch = cluster.hub(0).watch(&chat());
    cluster.deliver();
    let flood: Vec<_> =
        (0..2000).map(|number| cluster.hub(1).join(&chat(), Some(&format!("{number}")))).collect();
    cluster.deliver();
    // More of it than a node may take is not held: a part of the whole is told.
    let seen = told(&mut watch);
    assert!(seen.last().is_some_and(|last| last.starts_with('=')), "{seen:?}");
    let _ann = cluster.hub(2).join(&chat(), Some("ann"));
    cluster.deliver();
    assert_eq!(told(&mut watch), ["+ann"]);
    let (count, _) = cluster.present(0).await;
    assert_eq!(count, 2001, "asked, all nodes tell of all");
    drop(flood);
}

/// What happens in a run of the model.
#[derive(Clone, Debug)]
enum Act {
    Join(usize, u8),
    Leave(prop::sample::Index),
    Watch(usize),
    Deliver(usize),
    Pass(u16),
    Cut(usize),
    Mend(usize),
    Kill(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let node = || 0..3_usize;
    prop_oneof![
        6 => (node(), 0..5_u8).prop_map(|(node, id)| Act::Join(node, id)),
        6 => any::<prop::sample::Index>().prop_map(Act::Leave),
        2 => node().prop_map(Act::Watch),
        4 => node().prop_map(Act::Deliver),
        2 => (0..8000_u16).prop_map(Act::Pass),
        1 => node().prop_map(Act::Cut),
        1 => node().prop_map(Act::Mend),
        1 => node().prop_map(Act::Kill),
    ]
}

/// A client that watches the channel, and has asked for the members when it began.
struct Client {
    watch: Watch,
    known: BTreeSet<String>,
}

impl Client {
    fn hear(&mut self) {
        while let Some(change) = self.watch.try_next() {
            match change {
                PresenceChange::Join(member) => drop(self.known.insert(member.id.to_string())),
                PresenceChange::Leave(member) => drop(self.known.remove(&*member.id)),
                PresenceChange::Anew(presence) => {
                    let ids = presence.members.into_iter().map(|member| member.id.to_string());
                    self.known = ids.collect();
                }
            }
        }
    }
}

async fn run(acts: Vec<Act>, faults: Faults, seed: u64) {
    let mut cluster = Cluster::new(3, seed).await;
    cluster.engine.set_faults(faults);
    let mut leases: Vec<(usize, String, Lease)> = Vec::new();
    let mut clients: Vec<(usize, Client)> = Vec::new();
    // What was on a node that was killed ends with it, without a word.
    let mut dead = Vec::new();
    for act in acts {
        match act {
            Act::Join(node, id) => {
                let id = format!("{id}");
                let lease = cluster.hub(node).join(&chat(), Some(&id));
                leases.push((node, id, lease));
            }
            Act::Leave(index) if !leases.is_empty() => {
                drop(leases.swap_remove(index.index(leases.len())));
            }
            Act::Leave(_) => {}
            Act::Watch(node) => {
                let watch = cluster.hub(node).watch(&chat());
                let (_, known) = cluster.present(node).await;
                clients.push((node, Client { watch, known: known.into_iter().collect() }));
            }
            Act::Deliver(node) => drop(cluster.nodes[node].0.deliver()),
            Act::Pass(millis) => cluster.pass(u64::from(millis)).await,
            Act::Cut(node) => cluster.engine.cut(&cluster.nodes[node].0),
            Act::Mend(node) => cluster.engine.mend(&cluster.nodes[node].0),
            Act::Kill(node) => {
                let is_of = |at: &usize| *at == node;
                dead.extend(leases.extract_if(.., |(at, ..)| is_of(at)).map(|(.., lease)| lease));
                clients.retain(|(at, _)| !is_of(at));
                cluster.kill(node);
            }
        }
        clients.iter_mut().for_each(|(_, client)| client.hear());
    }
    cluster.engine.set_faults(Faults::default());
    cluster.nodes.iter().for_each(|(node, _)| cluster.engine.mend(node));
    cluster.pass(10_000).await;
    let there: BTreeSet<_> = leases.iter().map(|(_, id, _)| id.clone()).collect();
    for (node, client) in &mut clients {
        client.hear();
        assert_eq!(client.known, there, "to a client at {node}");
    }
    for node in 0..3 {
        let (count, members) = cluster.present(node).await;
        assert_eq!(count, there.len() as u64);
        assert_eq!(members.into_iter().collect::<BTreeSet<_>>(), there, "at {node}");
    }
    drop(dead);
}

proptest! {
    #[test]
    fn every_client_knows_in_the_end_who_is_there(
        acts in prop::collection::vec(act(), 1..60),
        lost in 0..30_u8,
        repeated in 0..30_u8,
        swapped in 0..30_u8,
        seed: u64,
    ) {
        let faults = Faults { lost, repeated, swapped, ..Faults::default() };
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(acts, faults, seed));
    }
}
