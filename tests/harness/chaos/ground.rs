//! What a run happens on: one server with a disk, or three nodes of a cluster; and what happens to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::Plan;
use crate::nats::{Nats, SERVERS};
use crate::network::Network;
use crate::program::{self, Sockeye};

/// What a run happens on.
#[derive(Clone, Debug)]
pub enum Ground {
    /// One server that keeps its channels in `data`, an empty directory, and is killed with SIGKILL and started
    /// again that often.
    Disk {
        /// The directory.
        data: PathBuf,
        /// How often it is killed.
        kills: usize,
    },
    /// Three nodes on three servers of NATS, to which this happens in this order. Between the faults the leader
    /// of the stream steps down every two seconds.
    Cluster(Vec<Fault>),
}

/// What happens to a cluster. A node is drawn by lot; the leader is that of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and a new start.
    KillLeader,
    /// SIGKILL, and a new start.
    KillFollower,
    /// SIGKILL, and a new start.
    KillNode,
    /// SIGSTOP, and SIGCONT some seconds later.
    PauseLeader,
    /// SIGSTOP, and SIGCONT some seconds later.
    PauseFollower,
    /// SIGSTOP, and SIGCONT some seconds later.
    PauseNode,
    /// SIGTERM, and a new start.
    TerminateLeader,
    /// SIGTERM, and a new start.
    TerminateFollower,
    /// SIGTERM, and a new start.
    TerminateNode,
    /// SIGKILL of all servers of NATS at once, and new starts.
    KillAllServers,
    /// All servers of NATS are away for a minute.
    AMinuteWithoutServers,
    /// Nothing goes between a node and the servers of NATS for some seconds.
    CutNode,
    /// Nothing goes between the leader and the other servers of NATS for some seconds; nodes reach all.
    CutLeader,
    /// The same with a server that follows.
    CutFollower,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillNode,
        Self::TerminateNode,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::PauseNode,
        Self::CutNode,
        Self::TerminateLeader,
        Self::TerminateFollower,
        Self::CutLeader,
        Self::CutFollower,
        Self::KillAllServers,
        Self::AMinuteWithoutServers,
    ];

    /// Those of the run that each test run has.
    pub const FEW: [Self; 4] =
        [Self::KillLeader, Self::KillFollower, Self::KillNode, Self::TerminateNode];

    fn needs_network(self) -> bool {
        matches!(self, Self::CutNode | Self::CutLeader | Self::CutFollower)
    }
}

/// The servers of a run.
#[derive(Debug)]
pub(super) enum Running {
    Disk { server: Sockeye, data: PathBuf, kills: usize },
    Cluster(Box<Cluster>),
}

/// Nodes end before their servers, and these before their hosts.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: Vec<Sockeye>,
    nats: Nats,
    faults: Vec<Fault>,
    /// Hosts of their own, or why there are none.
    network: Result<Arc<Network>, String>,
}

/// The stream that has the channel, as there is only one.
const STREAM: &str = "sockeye_c0";
/// How long what is stopped or cut off stays so: longer than an election takes.
const AWAY: Duration = Duration::from_secs(10);
const NODES: usize = 3;

/// The servers, with room for the whole run in the history.
pub(super) fn start(plan: &Plan) -> Running {
    match &plan.ground {
        Ground::Disk { data, kills } => {
            Running::Disk { server: on_disk(plan, data), data: data.clone(), kills: *kills }
        }
        Ground::Cluster(faults) => {
            let is_cut = faults.iter().any(|fault| fault.needs_network());
            let network = match is_cut {
                true => Network::new(SERVERS + NODES).map(Arc::new),
                false => Err("it is not asked for".to_owned()),
            };
            let nats = network.as_ref().map_or_else(|_| Nats::start(), Nats::start_on);
            let faults = faults.clone();
            let mut cluster = Cluster { nodes: Vec::new(), nats, faults, network };
            cluster.nodes = (0..NODES).map(|node| cluster.node(plan, node)).collect();
            Running::Cluster(Box::new(cluster))
        }
    }
}

fn history(plan: &Plan) -> [String; 4] {
    let count = (plan.messages + plan.messages / 10 + 100).to_string();
    ["--history-count".to_owned(), count, "--history-bytes".to_owned(), "1G".to_owned()]
}

fn on_disk(plan: &Plan, data: &Path) -> Sockeye {
    let history = history(plan);
    let history = history.each_ref().map(String::as_str);
    let data = ["--data", data.to_str().expect("a path in UTF-8")];
    Sockeye::serve(&[&data[..], &history].concat())
}

impl Running {
    pub(super) fn urls(&self) -> Vec<String> {
        match self {
            Self::Disk { server, .. } => vec![server.http("")],
            Self::Cluster(cluster) => cluster.nodes.iter().map(|node| node.http("")).collect(),
        }
    }

    /// Whether offsets rise by one.
    pub(super) fn is_dense(&self) -> bool {
        matches!(self, Self::Disk { .. })
    }

    /// How much happens.
    pub(super) fn faults(&self) -> usize {
        match self {
            Self::Disk { kills, .. } => *kills,
            Self::Cluster(cluster) => cluster.faults.len(),
        }
    }

    /// Lets the fault with this number happen. It is over when this returns.
    pub(super) fn suffer(&mut self, plan: &Plan, number: usize, random: &mut StdRng) -> String {
        match self {
            Self::Disk { server, data, .. } => {
                server.kill();
                *server = on_disk(plan, data);
                "killed".to_owned()
            }
            Self::Cluster(cluster) => cluster.suffer(plan, number, random),
        }
    }

    /// What happens between the faults.
    pub(super) fn disturb(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.nats.step_down(STREAM);
        }
    }

    pub(super) fn assert_sound(&mut self) {
        match self {
            Self::Disk { server, .. } => server.assert_sound(),
            Self::Cluster(cluster) => cluster.nodes.iter_mut().for_each(Sockeye::assert_sound),
        }
    }
}

impl Cluster {
    fn node(&self, plan: &Plan, number: usize) -> Sockeye {
        let urls = self.nats.urls();
        let cluster = ["--cluster", &urls, "--cluster-shards", "1", "--drain", "3s"];
        let history = history(plan);
        let options = [&cluster[..], &history.each_ref().map(String::as_str)].concat();
        let Ok(network) = &self.network else { return Sockeye::serve(&options) };
        let (host, program) = (SERVERS + number, program::path());
        let [ip, before @ ..] = network.on(host);
        let listen = format!("{}:0", network.address(host));
        let program = program.to_str().expect("a path in UTF-8");
        let serve = [program, "serve", "--open", "--admin", "off", "--listen", &listen];
        let before = before.each_ref().map(String::as_str);
        Sockeye::serve_by(&ip, &[&before[..], &serve, &options].concat())
    }

    fn suffer(&mut self, plan: &Plan, number: usize, random: &mut StdRng) -> String {
        let fault = self.faults[number];
        let node = random.random_range(0..NODES);
        let leader = self.nats.leader_of(STREAM);
        let follower = (leader + random.random_range(1..SERVERS)) % SERVERS;
        match fault {
            Fault::KillLeader => self.restart(leader, Nats::kill),
            Fault::KillFollower => self.restart(follower, Nats::kill),
            Fault::TerminateLeader => self.restart(leader, Nats::terminate),
            Fault::TerminateFollower => self.restart(follower, Nats::terminate),
            Fault::PauseLeader => self.pause(leader),
            Fault::PauseFollower => self.pause(follower),
            Fault::KillAllServers => self.without_servers(Duration::ZERO),
            Fault::AMinuteWithoutServers => self.without_servers(Duration::from_secs(60)),
            Fault::KillNode => {
                self.nodes[node].kill();
                self.nodes[node] = self.node(plan, node);
            }
            Fault::TerminateNode => {
                self.nodes[node].terminate();
                let _ = self.nodes[node].wait();
                self.nodes[node] = self.node(plan, node);
            }
            Fault::PauseNode => {
                self.nodes[node].pause();
                thread::sleep(AWAY);
                self.nodes[node].resume();
            }
            Fault::CutNode => return self.cut(fault, SERVERS + node, &[0, 1, 2]),
            Fault::CutLeader => return self.cut(fault, leader, &others(leader)),
            Fault::CutFollower => return self.cut(fault, follower, &others(follower)),
        }
        format!("{fault:?}")
    }

    fn restart(&mut self, server: usize, end: fn(&mut Nats, usize)) {
        end(&mut self.nats, server);
        // There is a majority, and a leader again, before the next one goes.
        let _ = self.nats.leader_of(STREAM);
        self.nats.start_one(server);
        self.nats.wait_healthy();
    }

    fn pause(&self, server: usize) {
        self.nats.pause(server);
        thread::sleep(AWAY);
        self.nats.resume(server);
        self.nats.wait_healthy();
    }

    fn without_servers(&mut self, time: Duration) {
        (0..SERVERS).for_each(|server| self.nats.kill(server));
        thread::sleep(time);
        self.nats.start_all();
    }

    fn cut(&self, fault: Fault, host: usize, others: &[usize]) -> String {
        match &self.network {
            Ok(network) => {
                network.cut(host, others);
                thread::sleep(AWAY);
                network.heal(host, others);
                self.nats.wait_healthy();
                format!("{fault:?}")
            }
            Err(why) => {
                format!("NOT TRIED: {fault:?}, for this machine has no network to cut: {why}")
            }
        }
    }
}

fn others(server: usize) -> [usize; 2] {
    [(server + 1) % SERVERS, (server + 2) % SERVERS]
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { kills, .. } => write!(f, "on a disk with {kills} kills"),
            Self::Cluster(faults) => write!(f, "on a cluster with {} faults", faults.len()),
        }
    }
}
