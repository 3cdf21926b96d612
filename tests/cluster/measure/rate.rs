//! How much can be published with 256 messages under way.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_tests::nats::Nats;
use sockeye_tests::program::{self, Sockeye};

use crate::node::{self, LOG, Socket, publication};
use crate::{Rounds, bare, median};

/// A connection of `sockeye.v1` has 64 publications under way at most.
const CONNECTIONS: usize = 4;
const EACH: usize = 64;

/// Acknowledged messages in a second, and the processor time for each of them: of the servers of NATS, and of what
/// publishes through them.
type Published = [f64; 3];

pub(crate) fn measure(rounds: Rounds) -> String {
    let nats = Nats::start();
    // The first makes the stream.
    drop(node::start(&nats, 0, "1"));
    // Not at the leader: most nodes are not.
    let server = (nats.leader_of(node::STREAM) + 1) % 3;
    let mut all = [const { [const { Vec::new() }; 3] }; 2];
    for _ in 0..rounds.count {
        // What is bare has no node beside it, which would get all messages too.
        let bare =
            published(&nats, std::process::id(), || through_nats(&nats, server, rounds.time));
        let node = node::start(&nats, server, "1");
        let ours = published(&nats, node.id(), || through_node(&node, rounds.time));
        for (figures, published) in all.iter_mut().zip([bare, ours]) {
            figures.iter_mut().zip(published).for_each(|(figures, figure)| figures.push(figure));
        }
    }
    let [bare, ours] = all.map(|figures| figures.map(median));
    let line = |[rate, servers, own]: Published| format!("{rate:.0} | {servers:.1} | {own:.1} |");
    format!(
        "### Publishing with 256 messages of 128 B under way\n\n\
         To be reached: at least 0.7 of the bare client. Processor time for a message: of the three servers of NATS, and of \
         the bare client or the node.\n\n\
         | | messages/s | servers, µs | itself, µs |\n|---|---|---|---|\n\
         | `async-nats` | {}\n\
         | through a node, {CONNECTIONS} connections of `sockeye.v1` | {}\n\
         | ratio | {:.2} | | |\n",
        line(bare),
        line(ours),
        ours[0] / bare[0],
    )
}

/// `process` is what publishes.
fn published(nats: &Nats, process: u32, publish: impl FnOnce() -> (u64, Duration)) -> Published {
    let spent = || {
        let cpu_time = |process: u32| program::cpu_time(process).as_secs_f64() * 1e6;
        [nats.ids(), vec![process]].map(|all| all.into_iter().map(cpu_time).sum::<f64>())
    };
    let before = spent();
    let (count, time) = publish();
    let after = spent();
    let each = |index: usize| (after[index] - before[index]) / count as f64;
    [count as f64 / time.as_secs_f64(), each(0), each(1)]
}

fn through_nats(nats: &Nats, server: usize, time: Duration) -> (u64, Duration) {
    let runtime = bare::runtime();
    runtime.block_on(async {
        let client = bare::connect(&nats.url(server)).await;
        bare::reach(&client, LOG).await;
        let publisher = bare::Publisher::new(client, CONNECTIONS * EACH).await;
        let begun = Instant::now();
        while begun.elapsed() < time {
            publisher.publish(LOG.to_owned(), vec![b'x'; 128]).await;
        }
        (publisher.acknowledged(), begun.elapsed())
    })
}

fn through_node(node: &Sockeye, time: Duration) -> (u64, Duration) {
    let (is_over, acknowledged, begun) =
        (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    thread::scope(|threads| {
        for _ in 0..CONNECTIONS {
            threads.spawn(|| publish(node.address(), &is_over, &acknowledged));
        }
        thread::sleep(time);
        let published = (acknowledged.load(Relaxed), begun.elapsed());
        is_over.store(true, Relaxed);
        published
    })
}

/// One connection, which always has as many under way as it may.
fn publish(address: SocketAddr, is_over: &AtomicBool, acknowledged: &AtomicU64) {
    let mut socket = Socket::open(address, "/connect", "sockeye.v1");
    let mut sender = socket.sender();
    let _hello = socket.receive().expect("hello");
    let command = publication("bench", &"x".repeat(128));
    let commands = command.repeat(EACH);
    sender.write_all(&commands).expect("the node reads");
    let is_ok = |answer: &[u8]| {
        assert!(answer.windows(4).any(|part| part == b"\"ok\""), "{}", answer.escape_ascii());
    };
    while !is_over.load(Relaxed) {
        // As many as have come with one read are followed by one write, as in the bare client.
        let answers = socket.receive_all(is_ok).expect("an answer");
        acknowledged.fetch_add(answers as u64, Relaxed);
        sender.write_all(&commands[..answers * command.len()]).expect("the node reads");
    }
    let _ = sender.shutdown(Shutdown::Both);
}
