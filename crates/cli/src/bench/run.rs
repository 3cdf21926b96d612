//! Threads that make load, the window in which it counts, and what they measured.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::{LocalSet, yield_now};
use tokio::time::sleep_until;

use super::live::Live;
use super::process::{Usage, Watched};

/// How far the runtime's timers may miss their time.
const TIMER: Duration = Duration::from_millis(2);

/// When measuring begins and ends, once all connections are open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    warm_up: Duration,
    duration: Duration,
}

/// What one thread, or all of them, measured.
#[derive(Debug)]
pub(super) struct Tally {
    /// Latencies, in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    /// Latencies to the last of all subscribers, in nanoseconds, where there are many.
    pub(super) to_last: Histogram<u64>,
    /// Bytes of payload that came.
    pub(super) bytes: u64,
    /// Bytes that came and went on the connections while it was measured, where they are counted.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// All that was completed, before and after the window too.
    pub(super) all: u64,
}

/// What a run of load has shown.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) took: Duration,
    /// What the server's process used meanwhile.
    pub(super) usage: Option<Usage>,
}

/// The start of a run, as a thread sees it.
#[derive(Debug, Clone)]
pub(super) struct Start {
    ready: mpsc::Sender<bool>,
    times: watch::Receiver<Option<Times>>,
}

/// The times of a run, the same on every thread up to the time a barrier takes.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// When the first message is meant to go out.
    pub(super) begin: Instant,
    /// What is completed from here on counts, ...
    from: Instant,
    /// ... up to here.
    pub(super) until: Instant,
    progress: Arc<AtomicU64>,
}

impl Times {
    fn new(window: Window) -> Self {
        let begin = Instant::now();
        let from = begin + window.warm_up;
        Self { begin, from, until: from + window.duration, progress: Arc::default() }
    }

    /// Whether what is completed now counts.
    pub(super) fn count(&self, now: Instant) -> bool {
        (self.from..self.until).contains(&now)
    }
}

impl Window {
    pub(super) fn new(warm_up: Duration, duration: Duration) -> Self {
        Self { warm_up, duration }
    }
}

impl Default for Tally {
    fn default() -> Self {
        // Three digits over a minute and more; it grows where it must.
        let latencies = Histogram::new(3).expect("three digits are allowed");
        Self { to_last: latencies.clone(), latencies, bytes: 0, received: 0, sent: 0, all: 0 }
    }
}

impl Tally {
    /// Notes a message that came now and was meant to leave at `intended`.
    pub(super) fn message(&mut self, times: &Times, intended: Instant, bytes: usize) {
        self.message_at(Instant::now(), times, intended, bytes);
    }

    /// The same for one that came at `now`.
    pub(super) fn message_at(
        &mut self,
        now: Instant,
        times: &Times,
        intended: Instant,
        bytes: usize,
    ) {
        times.progress.fetch_add(1, Relaxed);
        self.all += 1;
        if times.count(now) {
            self.note(nanos(now.saturating_duration_since(intended)));
            self.bytes += bytes as u64;
        }
    }

    /// Notes a latency in nanoseconds.
    pub(super) fn note(&mut self, nanos: u64) {
        // It grows to hold whatever fits into 64 bits; it fails only when it cannot grow.
        let _ = self.latencies.record(nanos);
    }

    /// Notes after how many nanoseconds the last had a message.
    pub(super) fn note_last(&mut self, nanos: u64) {
        let _ = self.to_last.record(nanos);
    }

    pub(super) fn add(&mut self, other: &Self) {
        // Both have the same digits, and the sum grows by itself.
        let _ = self.latencies.add(&other.latencies);
        let _ = self.to_last.add(&other.to_last);
        self.bytes += other.bytes;
        self.received += other.received;
        self.sent += other.sent;
        self.all += other.all;
    }
}

impl Start {
    /// Says that this thread's connections are open, and waits for the others'.
    pub(super) async fn all_open(mut self) -> anyhow::Result<Times> {
        let _ = self.ready.send(true);
        let times = self.times.wait_for(Option::is_some).await;
        times.ok().and_then(|times| times.clone()).context("the load did not begin")
    }
}

/// Runs `load` on as many threads as asked for, each with a runtime of its own, and watches the
/// server's process while it counts.
///
/// `load` opens its connections, waits for [`Start::all_open`] and gives back what it measured.
pub(super) fn run<L, F>(
    threads: usize,
    window: Window,
    watched: Option<&Watched>,
    load: L,
) -> anyhow::Result<Outcome>
where
    L: Fn(usize, Start) -> F + Send + Sync,
    F: Future<Output = anyhow::Result<Tally>>,
{
    let (ready, readiness) = mpsc::channel();
    let (begin, times) = watch::channel(None);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let (load, failed) = (&load, ready.clone());
                let start = Start { ready: ready.clone(), times: times.clone() };
                scope.spawn(move || {
                    let tally = local(load(number, start));
                    // Before the start this stops all; later no thread listens.
                    let _ = failed.send(tally.is_ok());
                    tally
                })
            })
            .collect();
        let all_open = readiness.iter().take(threads).all(|is_open| is_open);
        let usage = if all_open {
            let times = Times::new(window);
            begin.send_replace(Some(times.clone()));
            observe(&times, watched)
        } else {
            Ok(None)
        };
        // Threads that wait for the start wait no longer.
        drop(begin);
        let tallies: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        sum(tallies.into_iter().map(|tally| tally.expect("a thread of the load does not panic")))
            .and_then(|tally| Ok(Outcome { tally, took: window.duration, usage: usage? }))
    })
}

/// What all threads measured; an error if one has failed: the one that says most.
fn sum(tallies: impl Iterator<Item = anyhow::Result<Tally>>) -> anyhow::Result<Tally> {
    let (tallies, mut errors): (Vec<_>, Vec<_>) = tallies.partition(Result::is_ok);
    // Those that only did not begin have no cause.
    errors.sort_by_key(|error| error.as_ref().err().map_or(0, |error| error.chain().count()));
    if let Some(error) = errors.pop() {
        return error;
    }
    let mut sum = Tally::default();
    for tally in tallies {
        sum.add(&tally?);
    }
    Ok(sum)
}

/// Waits for the window and takes the server's figures at both its ends.
fn observe(times: &Times, watched: Option<&Watched>) -> anyhow::Result<Option<Usage>> {
    let live = Live::start(Arc::clone(&times.progress));
    live.show_until(times.from);
    let before = watched.map(Watched::read).transpose()?;
    live.show_until(times.until);
    let after = watched.map(Watched::read).transpose()?;
    Ok(before.zip(after).map(|(before, after)| after.since(&before)))
}

/// Waits until then: asleep, and at the end awake, since a millisecond is a long time to miss it by.
pub(super) async fn exactly(then: Instant) {
    if let Some(before) = then.checked_sub(TIMER) {
        sleep_until(before.into()).await;
    }
    while Instant::now() < then {
        yield_now().await;
    }
}

/// A time in nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs a future, and what it spawns, on this thread.
fn local<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(future))
}
