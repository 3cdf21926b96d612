//! Presence: members at any node are seen and told at every node, and go with their node. Those who watch
//! are present as well, without an id.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sockeye_testing::eventually;
use sockeye_testing::frame::{TEXT, masked};
use sockeye_testing::handshake::request_with;
use sockeye_tests::curl::{Stream, curl};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Running, Sockeye};
use sockeye_tests::tls::Certificates;

use super::{Cluster, json, node};

/// A client of `sockeye.v1` that is told who joins and leaves `chat`.
struct Watcher(Peer);

impl Watcher {
    fn open(node: &Sockeye) -> Self {
        Self::open_at(node, "/connect")
    }

    fn open_at(node: &Sockeye, path: &str) -> Self {
        let mut peer = Peer::connect(node.address());
        let request = request_with(path, "Sec-WebSocket-Protocol: sockeye.v1\r\n");
        peer.send(request.as_bytes(), Chunks::Whole);
        assert_eq!(peer.read_head().status(), 101);
        let mut watcher = Self(peer);
        watcher.command(r#"{"id":1,"op":"sub","ch":"chat","presence":true}"#);
        watcher
    }

    /// Sends a command, and gives what it answers.
    fn command(&mut self, command: &str) -> Value {
        self.0.send(&masked(TEXT, command.as_bytes()), Chunks::Whole);
        loop {
            let frame = self.frame();
            if frame.get("id").is_some() {
                assert!(frame.get("ok").is_some(), "{frame}");
                return frame["ok"].clone();
            }
        }
    }

    /// The ids of the members as `who` tells them.
    fn who(&mut self) -> Vec<String> {
        ids(&self.command(r#"{"id":2,"op":"who","ch":"chat"}"#))
    }

    /// The next that joins, `+ann`, or leaves, `-ann`.
    fn next(&mut self) -> String {
        loop {
            let frame = self.frame();
            for (key, sign) in [("join", '+'), ("leave", '-')] {
                if let Some(id) = frame.get(key).and_then(|member| member["id"].as_str()) {
                    return format!("{sign}{id}");
                }
            }
        }
    }

    /// That many of them, in any order.
    fn next_of(&mut self, count: usize) -> BTreeSet<String> {
        (0..count).map(|_| self.next()).collect()
    }

    fn frame(&mut self) -> Value {
        let payload = self.0.read_past_pings().payload;
        json(&String::from_utf8(payload).expect("text"))
    }
}

fn ids(presence: &Value) -> Vec<String> {
    let members = presence["members"].as_array().expect("members").iter();
    members.map(|member| member["id"].as_str().expect("an id").to_owned()).collect()
}

/// How many are present, and the ids of the members.
fn present(node: &Sockeye) -> (u64, Vec<String>) {
    let presence = json(&curl(&[&node.http("/c/chat/presence")]));
    (presence["count"].as_u64().expect("a count"), ids(&presence))
}

fn becomes(node: &Sockeye, wanted: (u64, &[&str])) {
    let wanted = (wanted.0, wanted.1.iter().map(ToString::to_string).collect::<Vec<_>>());
    eventually("presence is right", || {
        let present = present(node);
        if present == wanted { Ok(()) } else { Err(format!("{present:?}")) }
    });
}

/// An event stream at a node, which has begun.
fn listen(node: &Sockeye, query: &str) -> Stream {
    let mut stream = Stream::open(&[&node.http(&format!("/c/chat?stream=sse{query}"))]);
    stream.until("id: ");
    stream
}

#[test]
fn members_on_every_transport_of_every_node_are_seen_on_every_node() {
    let Cluster { nodes, .. } = &Cluster::start();
    let mut watcher = Watcher::open(&nodes[2]);
    let ann = listen(&nodes[0], "&as=ann");
    let second = listen(&nodes[1], "&as=ann");
    let bob = Peer::open(nodes[1].address(), "/c/chat?as=bob");
    let mut lines = Stream::open(&[&nodes[1].http("/c/chat?stream=ndjson&as=carl&meta=1")]);
    let _nameless = listen(&nodes[2], "");
    let _ = curl(&[&nodes[0].http("/c/chat?presence=1&as=dora")]);
    for node in nodes {
        becomes(node, (6, &["ann", "bob", "carl", "dora"]));
    }
    let mut told: Vec<_> = (0..4).map(|_| watcher.next()).collect();
    told.sort();
    assert_eq!(told, ["+ann", "+bob", "+carl", "+dora"]);
    assert_eq!(watcher.who(), ["ann", "bob", "carl", "dora"]);
    drop((ann, bob));
    assert_eq!(watcher.next(), "-bob", "ann is still at another node");
    drop(second);
    assert_eq!(watcher.next(), "-ann");
    let first = json(&curl(&[&nodes[0].http("/c/chat/presence?limit=1")]));
    assert_eq!((&first["next"], &first["count"]), (&"carl".into(), &4.into()), "{first}");
    let second = json(&curl(&[&nodes[2].http("/c/chat/presence?limit=1&after=carl")]));
    assert_eq!(ids(&second), ["dora"], "{second}");
    let _ = lines.so_far();
}

/// A client that is told that its connection stands is in presence at any node.
#[test]
fn a_stream_that_has_begun_is_present_at_the_next_request_to_any_node() {
    let Cluster { nodes, .. } = &Cluster::start();
    // Nodes that have just started know each other a moment later.
    for node in nodes {
        becomes(node, (0, &[]));
    }
    let mut watcher = Watcher::open(&nodes[1]);
    for round in 0..20 {
        let id = format!("m{round}");
        let stream = listen(&nodes[round % 3], &format!("&as={id}"));
        assert!(present(&nodes[(round + 1) % 3]).1.contains(&id), "{id}");
        assert!(watcher.who().contains(&id), "{id}");
        drop(stream);
    }
}

#[test]
fn members_of_a_node_that_is_killed_are_gone_in_seconds_and_watchers_are_told() {
    let Cluster { nodes, .. } = &mut Cluster::start();
    let mut watchers = [0, 1].map(|node| Watcher::open(&nodes[node]));
    let _stays = listen(&nodes[0], "&as=bob");
    let _gone = ["&as=ann", "&as=bob", ""].map(|query| listen(&nodes[2], query));
    for watcher in &mut watchers {
        let mut told = [watcher.next(), watcher.next()];
        told.sort();
        assert_eq!(told, ["+ann", "+bob"]);
    }
    nodes[2].kill();
    let killed = Instant::now();
    for watcher in &mut watchers {
        assert_eq!(watcher.next(), "-ann");
    }
    println!("told after {:?}", killed.elapsed());
    for node in &nodes[..2] {
        assert_eq!(present(node), (3, vec!["bob".to_owned()]));
    }
    for watcher in &mut watchers {
        assert_eq!(watcher.who(), ["bob"]);
    }
}

/// By whatever transport a member is at a node that dies: a stream, a parked poll, a WebSocket, over HTTP/2, with TLS.
#[test]
fn members_on_every_transport_of_nodes_that_are_killed_are_gone_and_watchers_are_told() {
    let cluster = &mut Cluster::start();
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut secure = node(&cluster.nats, &flags);
    let ca = certificates.authority().display().to_string();
    let mut watchers = [Watcher::open(&cluster.nodes[0]), Watcher::open(&cluster.nodes[1])];
    {
        let (plain, ca) = (&cluster.nodes[2], ca.as_str());
        let path = |way: &str, id: &str| format!("/c/chat?{way}&as={id}");
        let parked = |id: &str| path("wait=60", id);
        let sse = |id: &str| path("stream=sse", id);
        let _streams = [
            Stream::open(&[&plain.http(&sse("sse"))]),
            Stream::open(&[&plain.http(&path("stream=ndjson", "ndjson"))]),
            Stream::open(&[&plain.http(&parked("longpoll"))]),
            Stream::open(&["--http2-prior-knowledge", &plain.http(&sse("sse2"))]),
            Stream::open(&["--http2-prior-knowledge", &plain.http(&parked("longpoll2"))]),
            Stream::open(&["--http1.1", "--cacert", ca, &secure.http(&sse("sse-tls"))]),
            Stream::open(&["--http2", "--cacert", ca, &secure.http(&sse("sse2-tls"))]),
            Stream::open(&["--http2", "--cacert", ca, &secure.http(&parked("longpoll2-tls"))]),
        ];
        let _socket = Peer::open(plain.address(), "/c/chat?as=websocket");
        let _v1 = Watcher::open_at(plain, "/connect?as=v1");
        let _wss =
            Running::start(&["connect", "--cacert", ca, &secure.ws("/c/chat?as=websocket-tls")]);
        let all = ["longpoll", "longpoll2", "longpoll2-tls", "ndjson", "sse", "sse-tls", "sse2"];
        let all = [&all[..], &["sse2-tls", "v1", "websocket", "websocket-tls"]].concat();
        for watcher in &mut watchers {
            assert_eq!(watcher.next_of(all.len()), all.iter().map(|id| format!("+{id}")).collect());
        }
        cluster.nodes[2].kill();
        secure.kill();
        let killed = Instant::now();
        for watcher in &mut watchers {
            assert_eq!(watcher.next_of(all.len()), all.iter().map(|id| format!("-{id}")).collect());
        }
        println!("told of all after {:?}", killed.elapsed());
    }
    for node in &cluster.nodes[..2] {
        assert_eq!(present(node), (2, vec![]));
    }
}

#[test]
fn a_node_that_was_stopped_for_a_while_brings_its_members_back() {
    let Cluster { nodes, .. } = &Cluster::start();
    let mut watcher = Watcher::open(&nodes[0]);
    let _ann = listen(&nodes[1], "&as=ann");
    assert_eq!(watcher.next(), "+ann");
    let id = Pid::from_raw(nodes[1].id().cast_signed()).expect("a process");
    kill_process(id, Signal::STOP).expect("it runs");
    assert_eq!(watcher.next(), "-ann");
    kill_process(id, Signal::CONT).expect("it is stopped");
    assert_eq!(watcher.next(), "+ann");
    for node in nodes {
        becomes(node, (2, &["ann"]));
    }
}

#[test]
fn those_who_polled_at_a_node_that_stops_leave_with_it() {
    let Cluster { nodes, .. } = &mut Cluster::start();
    let mut watcher = Watcher::open(&nodes[0]);
    // It would be present for a minute.
    let _ = curl(&[&nodes[1].http("/c/chat?presence=1&as=ann")]);
    assert_eq!(watcher.next(), "+ann");
    nodes[1].interrupt();
    assert!(nodes[1].wait().success());
    let stopped = Instant::now();
    assert_eq!(watcher.next(), "-ann");
    println!("told {:?} after its end", stopped.elapsed());
    assert_eq!(present(&nodes[2]), (1, vec![]));
}

/// Without NATS each node knows its own members; afterwards all know all again.
#[test]
fn presence_is_that_of_the_node_while_nats_is_away() {
    let cluster = &mut Cluster::start();
    let _streams = [0, 1].map(|node| listen(&cluster.nodes[node], &format!("&as=m{node}")));
    let mut watcher = Watcher::open(&cluster.nodes[0]);
    becomes(&cluster.nodes[0], (3, &["m0", "m1"]));
    assert_eq!(watcher.who(), ["m0", "m1"]);
    (0..3).for_each(|server| cluster.nats.kill(server));
    assert_eq!(watcher.next(), "-m1");
    assert_eq!(present(&cluster.nodes[0]), (2, vec!["m0".to_owned()]));
    (0..3).for_each(|server| cluster.nats.start_one(server));
    cluster.nats.wait_healthy();
    assert_eq!(watcher.next(), "+m1");
    becomes(&cluster.nodes[1], (3, &["m0", "m1"]));
}

/// Joins and leaves at all nodes at once, while a watcher at each is told: in the end all are right.
#[test]
fn watchers_are_right_after_many_have_come_and_gone() {
    let Cluster { nodes, .. } = &Cluster::start();
    let mut watchers = nodes.each_ref().map(Watcher::open);
    thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..30 {
                    let path = format!("/c/chat?as=m{}", (round + number) % 7);
                    drop(Peer::open(node.address(), &path));
                }
            });
        }
    });
    let _last = Peer::open(nodes[1].address(), "/c/chat?as=last");
    for node in nodes {
        becomes(node, (4, &["last"]));
    }
    for watcher in &mut watchers {
        let mut there = BTreeSet::new();
        loop {
            let told = watcher.next();
            match told.split_at(1) {
                ("+", id) => drop(there.insert(id.to_owned())),
                (_, id) => drop(there.remove(id)),
            }
            if there.len() == 1 && there.contains("last") {
                break;
            }
        }
    }
}
