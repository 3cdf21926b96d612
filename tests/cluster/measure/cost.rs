//! What a node's processor time goes to.

use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sockeye_tests::nats::Nats;
use sockeye_tests::program::{self, Sockeye};

use crate::node::{self, LIVE, LOG};
use crate::{Rounds, bare, median};

/// Messages in a second, without a reader.
const RATE: u64 = 10_000;
const SUBSCRIBERS: &str = "1000";

/// What a process and its threads have taken of the processors, in microseconds.
pub(crate) fn cpu_time(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1000.0
}

/// A node without clients and a bare subscriber get the same messages at the same time.
pub(crate) fn of_unread_messages(rounds: Rounds) -> String {
    let nats = Nats::start();
    let node = node::start(&nats, 1, "1");
    let listener = bare::Listener::start(&nats.url(1), LIVE);
    let runtime = bare::runtime();
    let publisher = runtime
        .block_on(async { bare::Publisher::new(bare::connect(&nats.url(0)).await, 1_000).await });
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds.count {
        let processes = [listener.id(), node.id()];
        let before = processes.map(cpu_time);
        let count = runtime.block_on(publisher.publish_steadily(LOG, RATE, rounds.time)) as f64;
        // The last of them arrive.
        thread::sleep(Duration::from_millis(200));
        let after = processes.map(cpu_time);
        bare.push((after[0] - before[0]) / count);
        ours.push((after[1] - before[1]) / count);
    }
    let (bare, ours) = (median(bare), median(ours));
    format!(
        "### Processor time for a message that no client of a node reads, {RATE} messages/s of 128 B\n\n\
         To be reached: at most 6 µs.\n\n\
         | | µs for a message |\n|---|---|\n\
         | `async-nats`, a subscriber | {bare:.2} |\n\
         | a node of Sockeye | {ours:.2} |\n\
         | ratio | {:.2} |\n",
        ours / bare,
    )
}

/// The same fan-out from a node and from a server without a cluster.
pub(crate) fn of_fan_out(rounds: Rounds) -> String {
    let nats = Nats::start();
    let alone = Sockeye::serve(&[]);
    let node = node::start(&nats, 0, "1");
    let mut table = "### Fan-out to 1,000 WebSockets of a node, 128 B\n\n\
         To be reached: at most 1.1. The server's processor time for a delivery; with 8 messages in flight a server \
         without a cluster gives subscribers more messages at once.\n\n\
         | in flight | without a cluster, µs | a node, µs | ratio |\n|---|---|---|---|\n"
        .to_owned();
    for in_flight in ["1", "8"] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..rounds.count {
            without.push(fan_out(&alone, in_flight, rounds.time));
            with.push(fan_out(&node, in_flight, rounds.time));
        }
        let (without, with) = (median(without), median(with));
        let ratio = with / without;
        table += &format!("| {in_flight} | {without:.3} | {with:.3} | {ratio:.2} |\n");
    }
    table
}

fn fan_out(server: &Sockeye, in_flight: &str, time: Duration) -> f64 {
    let mut bench = Command::new(program::path());
    bench.args(["bench", "fanout", "--subscribers", SUBSCRIBERS, "--size", "128"]);
    bench.args(["--in-flight", in_flight, "--threads=1", "--json", "--warm-up=500ms"]);
    bench.arg(format!("--duration={}s", time.as_secs()));
    bench.arg(format!("--pid={}", server.id())).arg(server.ws("/c/bench"));
    let output = bench.output().expect("it starts");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let figures = report["figures"].as_object().expect("figures");
    let cpu = figures.iter().find(|(name, _)| name.starts_with("server_cpu_per_"));
    cpu.and_then(|(_, figure)| figure.as_f64()).expect("processor time")
}
