//! Each server of NATS and each node is restarted in turn, as an upgrade does it, under load: readers notice
//! nothing, and neither do publishers, with keys or without.

use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_tests::program::Sockeye;

use super::{Cluster, node};

/// How often a message is published.
const INTERVAL: Duration = Duration::from_millis(5);
/// How many there are at least: one that a server of NATS took with it is sent again after 5 s.
const MESSAGES: u64 = 1_500;
/// The most that 99 of 100 messages may take on a machine that has other things to do. What they take is printed.
const P99: Duration = Duration::from_secs(5);
/// The longest that anything may take.
const LONGEST: Duration = Duration::from_secs(20);

/// What a load balancer knows.
struct Balancer {
    /// The nodes that are given requests. A request holds it: a node is taken out when none is under way.
    urls: RwLock<Vec<Option<String>>>,
    next: AtomicU64,
    begun: Instant,
    /// How many messages there are in all, once that is known.
    end: AtomicU64,
    is_over: AtomicBool,
}

impl Balancer {
    fn set(&self, node: usize, url: Option<String>) {
        self.urls.write().unwrap_or_else(PoisonError::into_inner)[node] = url;
    }

    /// Hands a URL to this.
    fn with<T>(&self, work: impl FnOnce(&str) -> T) -> T {
        let urls = self.urls.read().unwrap_or_else(PoisonError::into_inner);
        let up: Vec<_> = urls.iter().flatten().collect();
        let turn = usize::try_from(self.next.fetch_add(1, SeqCst)).unwrap_or(0);
        work(up[turn % up.len()])
    }

    /// Publishes until it is over: each message its number and the time; gives what failed.
    fn publish(&self) -> Vec<String> {
        let (agent, mut errors) = (agent(LONGEST), Vec::new());
        let (mut number, mut is_last) = (0, false);
        while !is_last {
            is_last = self.is_over.load(SeqCst) && number >= MESSAGES;
            if is_last {
                // Readers end with this one.
                self.end.store(number + 1, SeqCst);
            }
            let text = format!("{number} {}", self.begun.elapsed().as_micros());
            // The node itself repeats what got no answer, whether it has a key or not.
            let answer = self.with(|url| {
                let request = agent.post(format!("{url}/c/chat"));
                match number % 2 {
                    0 => request.send(&text),
                    _ => request.header("Idempotency-Key", format!("\"{number}\"")).send(&text),
                }
            });
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(201) => {}
                other => errors.push(format!("{number}: {other:?}")),
            }
            number += 1;
            thread::sleep(INTERVAL);
        }
        errors
    }

    /// Whether the last message has come.
    fn is_last(&self, seen: &Seen) -> bool {
        seen.numbers.last().is_some_and(|last| last + 1 == self.end.load(SeqCst))
    }

    /// Reads all messages as events, from whichever node there is.
    fn read(&self) -> Seen {
        let mut seen = Seen::default();
        let (mut last_id, begun) = ("earliest".to_owned(), Instant::now());
        // What is missing then is seen by what came.
        while !self.is_last(&seen) && begun.elapsed() < 4 * LONGEST {
            let url = self.with(str::to_owned);
            let request = agent(LONGEST).get(format!("{url}/c/chat?stream=sse"));
            let Ok(answer) = request.header("Last-Event-ID", &last_id).call() else { continue };
            let (mut id, mut data) = (None, None);
            let lines = BufReader::new(answer.into_body().into_reader()).lines();
            for line in lines.map_while(Result::ok) {
                if let Some(text) = line.strip_prefix("id: ") {
                    id = Some(text.to_owned());
                } else if let Some(text) = line.strip_prefix("data: ") {
                    data = Some(text.to_owned());
                } else if line == "event: gap" {
                    seen.gaps += 1;
                } else if line.is_empty() {
                    // The end of a block: before that nothing of it counts.
                    last_id = id.take().unwrap_or(last_id);
                    seen.take(&data.take().unwrap_or_default(), self.begun.elapsed());
                }
                if self.is_last(&seen) {
                    break;
                }
            }
        }
        seen
    }
}

#[derive(Debug, Default)]
struct Seen {
    numbers: Vec<u64>,
    gaps: usize,
    late: Vec<Duration>,
}

impl Seen {
    fn take(&mut self, text: &str, now: Duration) {
        let Some((number, time)) = text.split_once(' ') else { return };
        self.numbers.push(number.parse().expect("a number"));
        let published = Duration::from_micros(time.parse().expect("a time"));
        self.late.push(now.saturating_sub(published));
    }
}

/// Ends publishing, also when a restart fails.
struct Over<'b>(&'b AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.http_status_as_error(false).timeout_global(Some(timeout)).build().into()
}

#[test]
fn a_restart_of_each_server_and_each_node_is_not_noticed_under_load() {
    println!("{}", is_not_noticed(Cluster::start(), restart_all));
}

/// A server that says that it is about to stop is left at once, when what is under way has its answer.
#[test]
fn a_server_that_is_about_to_stop_is_left_without_an_error() {
    let lines = "lame_duck_duration: 30s\nlame_duck_grace_period: 20s";
    let latency = is_not_noticed(Cluster::start_with(lines), |cluster, _| {
        for server in 0..3 {
            cluster.nats.announce_stop(server);
            cluster.nats.wait_deserted(server);
            cluster.nats.kill(server);
            cluster.nats.start_one(server);
            cluster.nats.wait_healthy();
        }
    });
    println!("{latency}");
}

/// Runs this while messages are published and read. Says how long each was on its way to each reader.
fn is_not_noticed(mut cluster: Cluster, change: impl FnOnce(&mut Cluster, &Balancer)) -> String {
    let urls = cluster.nodes.iter().map(|node| Some(node.http(""))).collect();
    let balancer = Balancer {
        urls: RwLock::new(urls),
        next: AtomicU64::new(0),
        begun: Instant::now(),
        end: AtomicU64::new(u64::MAX),
        is_over: AtomicBool::new(false),
    };
    let (errors, seen) = thread::scope(|threads| {
        let publisher = threads.spawn(|| balancer.publish());
        let readers = [(); 3].map(|()| threads.spawn(|| balancer.read()));
        let over = Over(&balancer.is_over);
        change(&mut cluster, &balancer);
        drop(over);
        let errors = publisher.join().expect("publishing does not panic");
        (errors, readers.map(|reader| reader.join().expect("reading does not panic")))
    });
    assert!(errors.is_empty(), "a publisher was told {errors:?}");
    let mut latency = String::new();
    for seen in seen {
        assert_eq!(seen.gaps, 0);
        let all: Vec<_> = (0..balancer.end.load(SeqCst)).collect();
        assert_eq!(seen.numbers, all, "each message once and in its order");
        let mut late = seen.late;
        late.sort_unstable();
        let of = |share: usize| late[(late.len() - 1) * share / 1000];
        let (p50, p99, most) = (of(500), of(990), of(1000));
        let count = late.len();
        latency += &format!("{count} messages: p50 {p50:?}, p99 {p99:?}, at most {most:?}\n");
        assert!(p99 < P99, "p99 {p99:?}");
    }
    latency
}

/// One after the other, each when the one before it is back.
fn restart_all(cluster: &mut Cluster, balancer: &Balancer) {
    for server in 0..3 {
        cluster.nats.terminate(server);
        cluster.nats.start_one(server);
        cluster.nats.wait_healthy();
    }
    for number in 0..3 {
        balancer.set(number, None);
        cluster.nodes[number].terminate();
        assert!(cluster.nodes[number].wait().success());
        cluster.nodes[number] = node(&cluster.nats, &["--drain", "3s"]);
        balancer.set(number, Some(cluster.nodes[number].http("")));
    }
    cluster.nodes.iter_mut().for_each(Sockeye::assert_sound);
}
