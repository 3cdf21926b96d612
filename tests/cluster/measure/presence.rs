//! What presence costs a cluster: 10,000 members of one channel at two nodes, a third that watches them.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye_testing::frame::{TEXT, masked};
use sockeye_tests::nats::Nats;
use sockeye_tests::program::Sockeye;

use crate::cost::cpu_time;
use crate::node::{self, Socket};
use crate::{Rounds, share};

/// The members at each of the two nodes.
const MEMBERS: u64 = 5_000;
/// How many pages are asked for, each of this many members.
const PAGES: usize = 300;
const LIMIT: usize = 100;
const WATCH: &str = r#"{"id":1,"op":"sub","ch":"chat","presence":true}"#;
/// How long the last changes may take.
const SETTLES: Duration = Duration::from_secs(60);

pub(crate) fn measure(_: Rounds) -> String {
    let nats = Nats::start();
    let mut nodes = [0, 1, 2].map(|server| node::start(&nats, server, "1"));
    wait("the nodes know each other", || count(&nodes[0], "sockeye_cluster_nodes") == 3.0);
    let mut watcher = Socket::open(nodes[0].address(), "/connect", "sockeye.v1");
    let command = masked(TEXT, WATCH.as_bytes());
    watcher.sender().write_all(&command).expect("the node reads");
    // It reads what it is told, as a client does.
    thread::spawn(move || while watcher.receive().is_ok() {});
    let before = [0, 2].map(|node: usize| cpu_time(nodes[node].id()));
    let begun = Instant::now();
    join(&nodes[1], 0);
    let rate = MEMBERS as f64 / begun.elapsed().as_secs_f64();
    wait("the joins are known", || present(&nodes[0]) == MEMBERS + 1);
    let after = [0, 2].map(|node: usize| cpu_time(nodes[node].id()));
    let cpu = [0, 1].map(|node: usize| (after[node] - before[node]) / MEMBERS as f64);
    join(&nodes[2], MEMBERS);
    wait("all are known", || present(&nodes[0]) == 2 * MEMBERS + 1);
    let bytes = count(&nodes[0], "sockeye_cluster_followed_bytes") / (2 * MEMBERS) as f64;
    let [watched, unwatched] = [0, 1].map(|node: usize| pages(&nodes[node]));
    nodes[1].kill();
    let killed = Instant::now();
    wait("its members are gone", || present(&nodes[0]) == MEMBERS + 1);
    let gone = killed.elapsed().as_secs_f64();
    format!(
        "### Presence: a channel with 10,000 members at two nodes, and a third\n\n\
         Each member polls once (`?presence=1`), one after the other.\n\n\
         | | |\n|---|---|\n\
         | joins at one node | {rate:.0} in a second |\n\
         | processor time for a join at another node, where a client watches the channel | {:.1} µs |\n\
         | the same where none does | {:.1} µs |\n\
         | charged for a member at another node, where a client watches | {bytes:.0} B |\n\
         | a page of {LIMIT} where a client watches, p50 / p99 | {:.2} / {:.2} ms |\n\
         | the same where none does | {:.2} / {:.2} ms |\n\
         | after kill -9 of a node with 5,000 members: gone from pages after | {gone:.1} s |\n",
        cpu[0], cpu[1], watched[0], watched[1], unwatched[0], unwatched[1],
    )
}

fn join(node: &Sockeye, from: u64) {
    let agent = ureq::Agent::new_with_defaults();
    for number in from..from + MEMBERS {
        let url = node.http(&format!("/c/chat?presence=1&limit=1&as=member-{number:05}"));
        let mut answer = agent.get(&url).call().expect("the node answers");
        // To the end: the connection is used again.
        answer.body_mut().read_to_string().expect("a page");
    }
}

fn page(node: &Sockeye, limit: usize) -> Value {
    let url = node.http(&format!("/c/chat/presence?limit={limit}"));
    let mut answer = ureq::get(&url).call().expect("the node answers");
    let text = answer.body_mut().read_to_string().expect("a page");
    serde_json::from_str(&text).expect("JSON")
}

fn present(node: &Sockeye) -> u64 {
    page(node, 1)["count"].as_u64().expect("a count")
}

/// The time of a page, p50 and p99, in milliseconds.
fn pages(node: &Sockeye) -> [f64; 2] {
    let timed = (0..PAGES).map(|_| {
        let begun = Instant::now();
        let page = page(node, LIMIT);
        assert_eq!(page["members"].as_array().map(Vec::len), Some(LIMIT));
        begun.elapsed().as_secs_f64() * 1000.0
    });
    let mut timed: Vec<_> = timed.collect();
    [500, 990].map(|part| share(&mut timed, part))
}

/// A figure of the node for operators.
fn count(node: &Sockeye, name: &str) -> f64 {
    let shown = node.shows_operators("/metrics");
    let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).expect("a figure")
}

fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < SETTLES, "{what}: not in {SETTLES:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
