//! Chaos: messages are published while clients hop between the transports, are cut off at
//! random, and the server is killed; then a [`checker`] compares what everybody saw.
//!
//! The server keeps its channels on disk. Nobody here forgives: publishers repeat what was not
//! acknowledged under the same key, readers go on after the last position they saw, and count
//! every message that is missing, comes twice or comes late.

mod checker;
mod hopper;
mod publisher;
mod transport;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

pub use checker::Verdict;

use crate::PATIENCE;
use crate::chaos::checker::Checker;
use crate::program::Sockeye;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all random choices come from. The threads' timing is not repeated by it.
    pub seed: u64,
    /// How many messages are published in all.
    pub messages: u64,
    /// How often the server is killed with SIGKILL and started again.
    pub kills: u64,
    /// How many publish at the same time, each in its own order.
    pub publishers: u64,
    /// How many read, hopping from transport to transport.
    pub hoppers: u64,
    /// Where the server keeps its channels: an empty directory.
    pub data: PathBuf,
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    plan: Plan,
    took: Duration,
    /// What everybody saw, compared.
    pub verdict: Verdict,
}

/// What the threads of a run share.
#[derive(Debug)]
struct Stage {
    /// The URL of the server that runs now; another after each restart.
    url: Mutex<String>,
    acknowledged: Mutex<u64>,
    /// Told of every acknowledgement.
    progress: Condvar,
    /// Whether every publisher has its last acknowledgement.
    published: AtomicBool,
}

impl Stage {
    fn url(&self) -> String {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn one_more(&self) {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.progress.notify_all();
    }

    /// Waits until so many messages are acknowledged, or nothing has happened for long.
    fn wait_for(&self, due: u64) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        while *acknowledged < due {
            let waited = self.progress.wait_timeout(acknowledged, PATIENCE);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            // Publishers that have given up say so themselves.
            if timeout.timed_out() {
                return;
            }
            acknowledged = guard;
        }
    }
}

/// The channel all of it happens on.
const CHANNEL: &str = "chaos";

/// Publishes, hops, kills and checks, and returns when every reader has reached the end, or has
/// made no progress for [`PATIENCE`].
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let began = Instant::now();
    let mut server = start(plan);
    let stage = Stage {
        url: Mutex::new(server.http("")),
        acknowledged: Mutex::new(0),
        progress: Condvar::new(),
        published: AtomicBool::new(false),
    };
    let checker = thread::scope(|threads| {
        let publishers: Vec<_> = (0..plan.publishers)
            .map(|number| {
                let messages = share(plan, number);
                let stage = &stage;
                threads.spawn(move || publisher::publish(stage, number, messages))
            })
            .collect();
        let hoppers: Vec<_> = (0..plan.hoppers)
            .map(|number| {
                let random = StdRng::seed_from_u64(plan.seed.wrapping_add(number + 1));
                let stage = &stage;
                threads.spawn(move || hopper::read(stage, random))
            })
            .collect();
        kill_and_restart(plan, &stage, &mut server);
        let mut checker = Checker::default();
        for publisher in publishers {
            checker.published(publisher.join().expect("a publisher does not panic"));
        }
        stage.published.store(true, SeqCst);
        for hopper in hoppers {
            checker.read(hopper.join().expect("a reader does not panic"));
        }
        checker
    });
    server.assert_sound();
    let history = hopper::history(&stage);
    Report { plan: plan.clone(), took: began.elapsed(), verdict: checker.verdict(&history) }
}

/// The server on its directory, with room for the whole run in the history.
fn start(plan: &Plan) -> Sockeye {
    let data = plan.data.to_str().expect("a path in UTF-8");
    let count = (plan.messages + 1).to_string();
    Sockeye::serve(&["--data", data, "--history-count", &count, "--history-bytes", "1G"])
}

/// How many of the messages the publisher with this number publishes.
fn share(plan: &Plan, number: u64) -> u64 {
    plan.messages / plan.publishers + u64::from(number < plan.messages % plan.publishers)
}

/// Kills the server whenever another part of the messages is acknowledged, at a moment that
/// nobody has chosen.
fn kill_and_restart(plan: &Plan, stage: &Stage, server: &mut Sockeye) {
    let mut random = StdRng::seed_from_u64(plan.seed);
    for kill in 1..=plan.kills {
        let due = plan.messages * kill / (plan.kills + 1);
        let jitter = Duration::from_millis(random.random_range(0..20));
        stage.wait_for(due);
        thread::sleep(jitter);
        server.kill();
        *server = start(plan);
        *stage.url.lock().unwrap_or_else(PoisonError::into_inner) = server.http("");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, took, verdict } = self;
        writeln!(
            f,
            "seed {}: {} messages by {} publishers to {} hopping readers, {} kills, {:.1} s",
            plan.seed,
            plan.messages,
            plan.publishers,
            plan.hoppers,
            plan.kills,
            took.as_secs_f64()
        )?;
        write!(f, "{verdict}")
    }
}
