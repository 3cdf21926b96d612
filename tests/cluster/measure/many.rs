//! A node of a cluster with 100,000 channels and 1,000,000 messages.

use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sockeye_tests::nats::Nats;
use sockeye_tests::program::Sockeye;

use crate::{Rounds, bare, node, share};

const CHANNELS: u64 = 100_000;
const MESSAGES: u64 = 1_000_000;
const SHARDS: u64 = 8;
/// How many channels are read one by one, and how many are read to see what they take.
const TIMED: usize = 300;
const READ: u64 = 5_000;
/// For how long a node that has nothing to do is watched.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn measure(_: Rounds) -> String {
    let nats = Nats::start();
    let follower = node::start(&nats, 0, &SHARDS.to_string());
    let before = follower.resident_bytes();
    let seconds = fill(&nats);
    thread::sleep(Duration::from_secs(3));
    let following = follower.resident_bytes() - before;
    let idle = cpu_share(&follower);
    let begun = Instant::now();
    let cold = node::start(&nats, 0, &SHARDS.to_string());
    let start = begun.elapsed();
    let mut times = read_cold(&cold);
    let (p50, p99) = (share(&mut times, 500), share(&mut times, 990));
    let before = cold.resident_bytes();
    for channel in 0..READ {
        read(&cold, channel);
    }
    let each = (cold.resident_bytes().saturating_sub(before)) as f64 / READ as f64;
    let mib = following as f64 / f64::from(1 << 20);
    format!(
        "### A node with 100,000 channels and 1,000,000 messages of 128 B in 8 shards\n\n\
         | | |\n|---|---|\n\
         | publishing them by `async-nats`, 1,000 under way | {seconds:.0} s |\n\
         | memory of a node that followed all of it and has no reader, beyond that of an empty one | {mib:.1} MiB |\n\
         | processor time of that node with nothing to do: ticks of 8 shards | {idle:.2} ms in a second |\n\
         | start of another node, until it listens | {:.0} ms |\n\
         | first read of a channel of 10 messages, p50 / p99 | {p50:.1} / {p99:.1} ms |\n\
         | memory for a channel of 10 messages that was read | {each:.0} B |\n",
        start.as_secs_f64() * 1000.0,
    )
}

/// Publishes everything; gives how many seconds it took.
fn fill(nats: &Nats) -> f64 {
    let runtime = bare::runtime();
    runtime.block_on(async {
        let publisher = bare::Publisher::new(bare::connect(&nats.url(0)).await, 1_000).await;
        let begun = Instant::now();
        for number in 0..MESSAGES {
            let channel = format!("channel-{}", number % CHANNELS);
            let subject = format!("sockeye.c.{}.{channel}", shard(&channel));
            publisher.publish(subject, vec![b'x'; 128]).await;
        }
        publisher.reaches(MESSAGES).await;
        begun.elapsed().as_secs_f64()
    })
}

/// As `crates/cluster/src/message/subjects.rs` has it: FNV-1a, the halves folded into each other.
fn shard(channel: &str) -> u64 {
    let hash = channel.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    ((hash >> 32) ^ (hash & 0xffff_ffff)) % SHARDS
}

/// Milliseconds of processor time in a second.
fn cpu_share(server: &Sockeye) -> f64 {
    let before = server.cpu_time();
    thread::sleep(IDLE);
    (server.cpu_time() - before).as_secs_f64() * 1000.0 / IDLE.as_secs_f64()
}

/// The times of first reads, in milliseconds, of channels drawn by lot.
fn read_cold(server: &Sockeye) -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(1);
    let mut times = Vec::new();
    while times.len() < TIMED {
        // Others than those that are read afterwards.
        let channel = random.random_range(READ..CHANNELS);
        times.push(read(server, channel));
    }
    times
}

fn read(server: &Sockeye, channel: u64) -> f64 {
    let url = server.http(&format!("/c/channel-{channel}?after=earliest"));
    let begun = Instant::now();
    let page = ureq::get(&url).call().expect("an answer").body_mut().read_to_string();
    let time = begun.elapsed().as_secs_f64() * 1000.0;
    let page = page.expect("a page");
    assert_eq!(page.matches("\"at\"").count(), 11, "{page}");
    time
}
