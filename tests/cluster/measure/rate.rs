//! How much can be published with 256 messages under way.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_tests::nats::Nats;
use sockeye_tests::program::Sockeye;

use crate::node::{self, LOG, Socket, publication};
use crate::{Rounds, bare, median};

/// A connection of `sockeye.v1` has 16 publications under way at most.
const CONNECTIONS: usize = 16;
const EACH: usize = 16;

pub(crate) fn measure(rounds: Rounds) -> String {
    let nats = Nats::start();
    // The first makes the stream.
    drop(node::start(&nats, 0, "1"));
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds.count {
        // What is bare has no node beside it, which would get all messages too.
        bare.push(through_nats(&nats, rounds.time));
        ours.push(through_node(&node::start(&nats, 0, "1"), rounds.time));
    }
    let (bare, ours) = (median(bare), median(ours));
    format!(
        "### Publishing with 256 messages of 128 B under way\n\n\
         To be reached: at least 0.7 of the bare client.\n\n\
         | | messages/s |\n|---|---|\n\
         | `async-nats` | {bare:.0} |\n\
         | through a node, {CONNECTIONS} connections of `sockeye.v1` | {ours:.0} |\n\
         | ratio | {:.2} |\n",
        ours / bare,
    )
}

fn through_nats(nats: &Nats, time: Duration) -> f64 {
    let runtime = bare::runtime();
    runtime.block_on(async {
        let client = bare::connect(&nats.url(0)).await;
        let publisher = bare::Publisher::new(client, CONNECTIONS * EACH).await;
        let begun = Instant::now();
        while begun.elapsed() < time {
            publisher.publish(LOG.to_owned(), vec![b'x'; 128]).await;
        }
        publisher.acknowledged() as f64 / begun.elapsed().as_secs_f64()
    })
}

fn through_node(node: &Sockeye, time: Duration) -> f64 {
    let (is_over, acknowledged, begun) =
        (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    thread::scope(|threads| {
        for _ in 0..CONNECTIONS {
            threads.spawn(|| publish(node.address(), &is_over, &acknowledged));
        }
        thread::sleep(time);
        let rate = acknowledged.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
        is_over.store(true, Relaxed);
        rate
    })
}

/// One connection, which always has as many under way as it may.
fn publish(address: SocketAddr, is_over: &AtomicBool, acknowledged: &AtomicU64) {
    let mut socket = Socket::open(address, "/connect", "sockeye.v1");
    let mut sender = socket.sender();
    let _hello = socket.receive().expect("hello");
    let command = publication("bench", &"x".repeat(128));
    sender.write_all(&command.repeat(EACH)).expect("the node reads");
    while !is_over.load(Relaxed) {
        let mut answers = 0;
        // As many as have come with one read are followed by one write, as in the bare client.
        while answers == 0 || socket.has_more() {
            let answer = socket.receive().expect("an answer");
            assert!(answer.windows(4).any(|part| part == b"\"ok\""), "{answer:?}");
            answers += 1;
        }
        acknowledged.fetch_add(answers as u64, Relaxed);
        sender.write_all(&command.repeat(answers)).expect("the node reads");
    }
    let _ = sender.shutdown(Shutdown::Both);
}
