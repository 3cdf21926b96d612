//! The load: connections that always have as many publications under way as they may, and what comes of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use crate::WARM_UP;
use crate::server::Server;

/// How long a server may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is spoken on connections, which have numbers.
pub(crate) trait Protocol {
    /// What is sent first, if anything. [`Taken::Ready`] follows.
    fn hello(&self, _connection: usize) -> Vec<u8> {
        Vec::new()
    }

    /// Adds a request that publishes.
    fn publish(&self, connection: usize, out: &mut Vec<u8>);

    /// How many messages a request publishes.
    fn messages(&self) -> usize {
        1
    }

    /// What the input begins with.
    ///
    /// # Panics
    ///
    /// When it is a refusal.
    fn take(&self, input: &[u8]) -> Taken;
}

/// What an input begins with, and of how many bytes that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing that is whole.
    More,
    /// The answer to [`Protocol::hello`].
    Ready(usize),
    /// The answer to a request: all of it is kept.
    Acknowledged(usize),
    /// Something else.
    Other(usize),
}

/// When it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    from: Instant,
    until: Instant,
}

/// What one round has shown.
#[derive(Debug)]
pub(crate) struct Measured {
    time: Duration,
    /// Messages that were acknowledged.
    pub(crate) messages: f64,
    /// What the server took of its processor, in microseconds.
    cpu: f64,
    /// How often it synced, where it says so.
    pub(crate) syncs: Option<f64>,
    /// How long each request waited for its answer, in milliseconds, sorted.
    latencies: Vec<f64>,
}

/// What is counted meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    messages: usize,
    latencies: Vec<f64>,
}

impl Measured {
    pub(crate) fn rate(&self) -> f64 {
        self.messages / self.time.as_secs_f64()
    }

    /// For a message, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu / self.messages
    }

    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or(f64::NAN)
    }
}

impl Times {
    /// From after the warm-up.
    pub(crate) fn of(time: Duration) -> Self {
        let from = Instant::now() + WARM_UP;
        Self { from, until: from + time }
    }

    pub(crate) fn are_over(self) -> bool {
        Instant::now() >= self.until
    }
}

impl Tally {
    /// Counts what a request that went out at `departed` has published.
    pub(crate) fn acknowledged(&mut self, times: Times, departed: Instant, messages: usize) {
        let now = Instant::now();
        if (times.from..times.until).contains(&now) {
            self.messages += messages;
            self.latencies.push((now - departed).as_secs_f64() * 1000.0);
        }
    }
}

/// Runs a load, and looks at the server at both ends of the time that counts.
pub(crate) fn run<L: Future<Output = ()>>(
    server: &Server,
    time: Duration,
    load: impl FnOnce(Times, std::rc::Rc<RefCell<Tally>>) -> L,
) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let tally = std::rc::Rc::default();
    let used = runtime.block_on(async {
        let times = Times::of(time);
        let watching = async {
            sleep_until(times.from.into()).await;
            let before = server.used();
            sleep_until(times.until.into()).await;
            (before, server.used())
        };
        let load = load(times, std::rc::Rc::clone(&tally));
        tokio::join!(watching, load).0
    });
    let (before, after) = used;
    let Tally { messages, mut latencies } = tally.take();
    latencies.sort_by(f64::total_cmp);
    let syncs = before.syncs.zip(after.syncs).map(|(before, after)| after - before);
    Measured { time, messages: messages as f64, cpu: after.cpu - before.cpu, syncs, latencies }
}

/// That many connections, each with that many requests under way.
pub(crate) async fn connections(
    protocol: &dyn Protocol,
    address: SocketAddr,
    (connections, in_flight): (usize, usize),
    times: Times,
    tally: &RefCell<Tally>,
) {
    let each = (0..connections)
        .map(|number| connection((protocol, number), address, in_flight, times, tally));
    join_all(each).await;
}

async fn connection(
    (protocol, number): (&dyn Protocol, usize),
    address: SocketAddr,
    in_flight: usize,
    times: Times,
    tally: &RefCell<Tally>,
) {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.set_nodelay(true).expect("a socket");
    let (mut input, mut out) = (Vec::with_capacity(64 << 10), protocol.hello(number));
    if !out.is_empty() {
        stream.write_all(&out).await.expect("the server reads");
        let ready = timeout(PATIENCE, ready(protocol, &mut stream, &mut input));
        ready.await.expect("the server answers");
    }
    let mut departures = VecDeque::new();
    let mut more = in_flight;
    while !times.are_over() {
        out.clear();
        for _ in 0..more {
            protocol.publish(number, &mut out);
            departures.push_back(Instant::now());
        }
        stream.write_all(&out).await.expect("the server reads");
        more = 0;
        while more == 0 {
            let read = stream.read_buf(&mut input).await.expect("the server answers");
            assert!(read > 0, "the server has closed the connection");
            let mut at = 0;
            loop {
                match protocol.take(&input[at..]) {
                    Taken::More => break,
                    Taken::Ready(length) | Taken::Other(length) => at += length,
                    Taken::Acknowledged(length) => {
                        at += length;
                        more += 1;
                        let departed = departures.pop_front().expect("as many as were sent");
                        let mut tally = tally.borrow_mut();
                        tally.acknowledged(times, departed, protocol.messages());
                    }
                }
            }
            input.drain(..at);
        }
    }
}

/// Waits until a connection may publish.
async fn ready(protocol: &dyn Protocol, stream: &mut TcpStream, input: &mut Vec<u8>) {
    loop {
        match protocol.take(input) {
            Taken::Ready(length) => {
                input.drain(..length);
                return;
            }
            Taken::Other(length) => drop(input.drain(..length)),
            Taken::Acknowledged(_) => panic!("nothing was published yet"),
            Taken::More => {
                let read = stream.read_buf(input).await.expect("the server answers");
                assert!(read > 0, "the server has closed the connection");
            }
        }
    }
}
