//! `--events-url` on several nodes: each tells of its own clients, and of nodes that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sockeye_testing::eventually;
use sockeye_tests::curl::Stream as Curl;
use sockeye_tests::nats::Nats;
use sockeye_tests::webhook::{Posted, Stream, listen};

use super::node;

/// What a program knows that applies the events as the guide does.
#[derive(Default)]
struct Known {
    /// Of each node, who is on which channel.
    online: BTreeMap<String, BTreeSet<(String, String)>>,
    /// The events, as `NAME CHANNEL MEMBER`, with the node they are of.
    events: Vec<(String, String)>,
}

impl Known {
    fn apply(&mut self, event: &Value) {
        let word = |key: &str| event[key].as_str().unwrap_or("").to_owned();
        let (name, node) = (word("event"), word("node"));
        let line = format!("{name} {} {}", word("channel"), word("member"));
        self.events.push((node.clone(), line.trim_end().to_owned()));
        let here = self.online.entry(node).or_default();
        match &*name {
            "member.joined" => drop(here.insert((word("channel"), word("member")))),
            "member.left" => drop(here.remove(&(word("channel"), word("member")))),
            "server.started" | "server.stopped" => here.clear(),
            "node.lost" => drop(self.online.remove(&word("other"))),
            _ => {}
        }
    }

    fn members(&self) -> BTreeSet<String> {
        self.online.values().flatten().map(|(_, member)| member.clone()).collect()
    }
}

/// A program that takes everything.
fn receiver() -> (String, Arc<Mutex<Known>>) {
    let known = Arc::<Mutex<Known>>::default();
    let shared = Arc::clone(&known);
    let address = listen(None, move |mut stream: BufReader<Box<dyn Stream>>| {
        while let Some(posted) = Posted::read(&mut stream) {
            let mut known = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let events = posted.json();
            events["events"]
                .as_array()
                .expect("events")
                .iter()
                .for_each(|event| known.apply(event));
            drop(known);
            if stream.get_mut().write_all(b"HTTP/1.1 204 X\r\n\r\n").is_err() {
                return;
            }
        }
    });
    (format!("http://{address}/"), known)
}

#[test]
fn each_node_tells_of_its_own_members_and_the_others_that_it_was_killed() {
    let nats = Nats::start_with("");
    let (url, known) = receiver();
    let options = ["--events-url", &*url, "--drain", "3s"];
    let mut nodes = [(); 3].map(|()| node(&nats, &options));
    let read = |index: usize, id: &str, nodes: &[sockeye_tests::program::Sockeye; 3]| {
        let mut open =
            Curl::open(&["-N", &nodes[index].http(&format!("/c/chat?stream=sse&as={id}"))]);
        open.until("retry");
        open
    };
    let _ann = read(0, "ann", &nodes);
    let _bob = read(1, "bob", &nodes);
    let _again = read(1, "ann", &nodes);
    let until = |what: &str, is_so: &dyn Fn(&Known) -> bool| {
        eventually(what.to_owned(), || {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if is_so(&known) { Ok(()) } else { Err(format!("{:?}", known.events)) }
        });
    };
    let joined = |known: &Known, member: &str| {
        let line = format!("member.joined chat {member}");
        known.events.iter().filter(|(_, told)| *told == line).count()
    };
    until("ann has joined at two nodes, bob at one", &|known| {
        joined(known, "ann") == 2 && joined(known, "bob") == 1
    });
    until("each node tells which it is", &|known| {
        known.online.len() == 3 && known.online.keys().all(|node| node.len() == 16)
    });
    let occupied = |known: &Known| {
        known.events.iter().filter(|(_, told)| told == "channel.occupied chat").count()
    };
    until("the channel is occupied at two nodes", &|known| occupied(known) == 2);
    nodes[1].kill();
    nodes[1].wait();
    until("the two others say that it is gone", &|known| {
        known.events.iter().filter(|(_, told)| told == "node.lost").count() == 2
    });
    until("ann is still there, and bob is not", &|known| {
        known.members() == BTreeSet::from(["ann".to_owned()])
    });
}
