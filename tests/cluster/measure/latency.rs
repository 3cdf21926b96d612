//! From publishing to a reader on another node, at a steady rate.

use std::io::Write as _;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use sockeye_testing::PATIENCE;
use sockeye_tests::nats::Nats;
use sockeye_tests::program::Sockeye;
use tokio::time::timeout;

use crate::node::{self, LIVE, LOG, Socket, publication};
use crate::{Rounds, bare, median, share};

/// Messages in a second.
const RATE: u32 = 1_000;
const SIZE: usize = 128;
/// More than comes at once after a pause of a busy machine: or a reader has a gap, for which its WebSocket is closed.
const HISTORY: [&str; 2] = ["--history-count", "100000"];
/// How long nodes that were stopped may take to be up to date.
const CATCH_UP: Duration = Duration::from_secs(2);

pub(crate) fn measure(rounds: Rounds) -> String {
    let nats = Nats::start();
    let nodes = [0, 1].map(|server| node::start_with(&nats, server, "1", &HISTORY));
    let mut all = [const { Vec::new() }; 4];
    for _ in 0..rounds.count {
        // They would take the processors from what is bare.
        nodes.iter().for_each(Sockeye::pause);
        let bare = through_nats(&nats, rounds.time);
        nodes.iter().for_each(Sockeye::resume);
        thread::sleep(CATCH_UP);
        let ours = through_nodes(&nodes, rounds.time);
        for (figures, mut late) in [(0, bare), (2, ours)] {
            all[figures].push(share(&mut late, 500));
            all[figures + 1].push(share(&mut late, 990));
        }
    }
    let [p50, p99, our_p50, our_p99] = all.map(median);
    format!(
        "### From publishing to a reader on another node, {RATE} messages/s of {SIZE} B\n\n\
         To be reached: at most 1.5 of the bare client.\n\n\
         | | p50, ms | p99, ms |\n|---|---|---|\n\
         | `async-nats`, publisher and subscriber on two servers | {p50:.2} | {p99:.2} |\n\
         | Sockeye, a WebSocket on each of two nodes | {our_p50:.2} | {our_p99:.2} |\n\
         | ratio | {:.2} | {:.2} |\n",
        our_p50 / p50,
        our_p99 / p99,
    )
}

/// What messages of the bare client begin with, and what those of nodes do: nodes that were stopped get the others late.
const BARE: char = 'b';
const OURS: char = 'o';

/// The time in a message, in microseconds, and filling.
fn stamp(whose: char, begun: Instant) -> String {
    format!("{:<SIZE$}", format!("{whose}{}", begun.elapsed().as_micros()))
}

/// How old a message is, in milliseconds, if it is one of these.
fn age(whose: char, begun: Instant, text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix(whose)?;
    let sent: f64 = text.trim().parse().ok()?;
    Some((begun.elapsed().as_micros() as f64 - sent) / 1000.0)
}

/// Sends at the rate.
fn steadily(time: Duration, mut send: impl FnMut()) {
    let begun = Instant::now();
    for number in 0..(time.as_secs_f64() * f64::from(RATE)) as u32 {
        let due = Duration::from_secs(1) / RATE * number;
        thread::sleep(due.saturating_sub(begun.elapsed()));
        send();
    }
}

fn through_nats(nats: &Nats, time: Duration) -> Vec<f64> {
    let (runtime, begun) = (bare::runtime(), Instant::now());
    let (client, listening) = runtime.block_on(async {
        let subscriber = bare::subscribe(&bare::connect(&nats.url(1)).await, LIVE).await;
        let count = (time.as_secs_f64() * f64::from(RATE)) as usize;
        let listening = tokio::spawn(
            subscriber
                .take(count)
                .map(move |message| age(BARE, begun, &message.payload).expect("a time"))
                .collect::<Vec<_>>(),
        );
        (bare::connect(&nats.url(0)).await, listening)
    });
    let publisher = runtime.block_on(bare::Publisher::new(client, 1 << 20));
    steadily(time, || {
        runtime.block_on(publisher.publish(LOG.to_owned(), stamp(BARE, begun).into_bytes()));
    });
    let listening = runtime.block_on(async { timeout(PATIENCE, listening).await });
    listening.expect("the last message comes").expect("it listens")
}

fn through_nodes(nodes: &[Sockeye; 2], time: Duration) -> Vec<f64> {
    let begun = Instant::now();
    let mut reader = Socket::open(nodes[1].address(), "/c/bench", "");
    let mut publisher = Socket::open(nodes[0].address(), "/connect", "sockeye.v1");
    let mut sender = publisher.sender();
    let count = (time.as_secs_f64() * f64::from(RATE)) as usize;
    thread::scope(|threads| {
        // Answers are read, and that is all.
        threads.spawn(move || while publisher.receive().is_ok() {});
        let listening = threads.spawn(move || {
            let next = || age(OURS, begun, &reader.receive().expect("a message"));
            std::iter::repeat_with(next).flatten().take(count).collect::<Vec<_>>()
        });
        steadily(time, || {
            let sent = sender.write_all(&publication("bench", &stamp(OURS, begun)));
            sent.expect("the node reads");
        });
        let late = listening.join().expect("it listens");
        sender.shutdown(Shutdown::Both).expect("it is open");
        late
    })
}
