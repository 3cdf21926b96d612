//! Chaos: messages are published while clients hop between the transports, are cut off at
//! random, and servers are killed, stopped and cut off; then a [`checker`] compares what all of them saw.
//!
//! The server keeps its channels on disk, or three in a cluster. Publishers repeat what was not
//! acknowledged under the same key, readers go on after the last position they saw, and count
//! every message that is missing, comes twice or comes late.

mod audience;
mod checker;
mod ground;
mod hopper;
mod publisher;
mod transport;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

pub use checker::Findings;
pub use ground::{Fault, Ground};
pub use transport::Language;

use crate::chaos::checker::Checker;
use crate::chaos::transport::Transport;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all random choices come from. The threads' timing is not repeated by it.
    pub seed: u64,
    /// How many messages are published in all.
    pub messages: u64,
    /// How many publish at the same time, each in its own order.
    pub publishers: u64,
    /// How many read, hopping from transport to transport.
    pub hoppers: u64,
    /// How many listen by plain WebSockets: with 16 of them the server writes to groups.
    pub audience: u64,
    /// The languages whose clients they hop to, besides the bare transports. JavaScript needs Node, Python its environment.
    pub languages: Vec<Language>,
    /// What it runs on, and what happens to that.
    pub ground: Ground,
}

impl Plan {
    /// The short form, which each test run has.
    #[must_use]
    pub fn short(ground: Ground) -> Self {
        Self {
            seed: rand::random(),
            messages: 3_000,
            publishers: 8,
            hoppers: 4,
            audience: 0,
            languages: vec![Language::Rust],
            ground,
        }
    }

    /// The full size, which `cargo xtask chaos` has if it is not told another.
    #[must_use]
    pub fn full(ground: Ground) -> Self {
        Self {
            seed: rand::random(),
            messages: 100_000,
            publishers: 32,
            hoppers: 8,
            audience: 0,
            languages: vec![Language::Rust],
            ground,
        }
    }
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    plan: Plan,
    took: Duration,
    /// What has happened to the servers, in its order.
    faults: Vec<String>,
    /// What all readers saw, compared.
    pub findings: Findings,
}

/// What the threads of a run share.
#[derive(Debug)]
struct Stage {
    /// What readers hop to.
    transports: Vec<Transport>,
    /// The URLs of the servers that run now; others after each restart.
    urls: Mutex<Vec<String>>,
    acknowledged: Mutex<u64>,
    /// Told of every acknowledgement.
    progress: Condvar,
    /// Whether every publisher has its last acknowledgement.
    published: AtomicBool,
    /// The message that was acknowledged at the highest position, when all are.
    last: OnceLock<String>,
}

impl Stage {
    /// The URL of one of the servers.
    fn url(&self) -> String {
        let urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        urls[rand::random_range(0..urls.len())].clone()
    }

    fn set_urls(&self, urls: Vec<String>) {
        *self.urls.lock().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    fn one_more(&self) {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.progress.notify_all();
    }

    /// Waits until `due` messages are acknowledged, or this time is over: then false.
    fn wait_for(&self, due: u64, time: Duration) -> bool {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.progress.wait_timeout_while(acknowledged, time, |now| *now < due);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// How long publishers and readers go on without any progress: longer than anything is away.
const PERSEVERANCE: Duration = Duration::from_secs(120);
/// How often something is disturbed between the faults.
const DISTURBANCE: Duration = Duration::from_secs(2);

/// The channel all of it happens on.
const CHANNEL: &str = "chaos";

/// Publishes, hops, kills and checks, and returns when every reader has reached the end, or has
/// made no progress for long.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let began = Instant::now();
    let mut running = ground::start(plan);
    let stage = Stage {
        transports: Transport::with_clients_for(&plan.languages),
        urls: Mutex::new(running.urls()),
        acknowledged: Mutex::new(0),
        progress: Condvar::new(),
        published: AtomicBool::new(false),
        last: OnceLock::new(),
    };
    let (checker, faults) = thread::scope(|threads| {
        let publishers: Vec<_> = (0..plan.publishers)
            .map(|number| {
                let messages = share(plan, number);
                let stage = &stage;
                threads.spawn(move || publisher::publish(stage, number, messages))
            })
            .collect();
        let audience: Vec<_> =
            (0..plan.audience).map(|_| threads.spawn(|| audience::listen(&stage))).collect();
        let hoppers: Vec<_> = (0..plan.hoppers)
            .map(|number| {
                let random = StdRng::seed_from_u64(plan.seed.wrapping_add(number + 1));
                let stage = &stage;
                threads.spawn(move || hopper::read(stage, random))
            })
            .collect();
        let faults = make_faults(plan, &stage, &mut running);
        let mut checker = Checker::default();
        for publisher in publishers {
            checker.published(publisher.join().expect("a publisher does not panic"));
        }
        let _ = stage.last.set(checker.last().unwrap_or_default());
        stage.published.store(true, SeqCst);
        for hopper in hoppers {
            checker.read(hopper.join().expect("a reader does not panic"));
        }
        for listener in audience {
            checker.heard(listener.join().expect("a listener does not panic"));
        }
        (checker, faults)
    });
    running.assert_sound();
    let history = hopper::history(&stage);
    Report {
        plan: plan.clone(),
        took: began.elapsed(),
        faults,
        findings: checker.findings(&history, running.is_dense()),
    }
}

/// How many of the messages the publisher with this number publishes.
fn share(plan: &Plan, number: u64) -> u64 {
    plan.messages / plan.publishers + u64::from(number < plan.messages % plan.publishers)
}

/// Lets something go wrong whenever another part of the messages is acknowledged, at a moment that was
/// not chosen by hand.
fn make_faults(plan: &Plan, stage: &Stage, running: &mut ground::Running) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let count = running.faults();
    let mut made = Vec::new();
    for number in 0..count {
        let due = plan.messages * (number as u64 + 1) / (count as u64 + 1);
        let jitter = Duration::from_millis(random.random_range(0..20));
        let begun = Instant::now();
        // Publishers that have given up say so themselves.
        while !stage.wait_for(due, DISTURBANCE) && begun.elapsed() < PERSEVERANCE {
            running.disturb();
        }
        thread::sleep(jitter);
        let begun = Instant::now();
        let fault = running.suffer(plan, number, &mut random);
        made.push(format!("{fault} ({:.1} s)", begun.elapsed().as_secs_f64()));
        stage.set_urls(running.urls());
    }
    made
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, took, faults, findings } = self;
        let Plan { seed, messages, publishers, hoppers, audience, languages: _, ground } = plan;
        writeln!(
            f,
            "seed {seed}: {messages} messages by {publishers} publishers to {hoppers} hopping readers and \
             an audience of {audience}, {ground}, {:.1} s",
            took.as_secs_f64()
        )?;
        faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))?;
        write!(f, "{findings}")
    }
}
