//! Very many connections on one machine: four servers, and four processes that hold the other ends. What the
//! servers and the kernel need for each, and whether all of them get what is published then.
//!
//! A process has as many descriptors as `ulimit -Hn` says, 20,000 in many places: so the connections are spread.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::param::page_size;
use sockeye::Client;
use sockeye_tests::curl::curl;
use sockeye_tests::program::Sockeye;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};

use crate::Figure;

/// Servers, and as many processes that hold the connections to them.
const SERVERS: usize = 4;
/// How long they are left alone, with the pings of the default.
const ALONE: Duration = Duration::from_secs(50);
/// How many connections a process opens at once.
const OPENING: usize = 64;
/// How many come from one address: fewer than it has ports (`net.ipv4.ip_local_port_range`).
const PER_ADDRESS: usize = 10_000;
/// What is published in the end.
const MESSAGE: &str = "good morning";

/// The transports, by the word that the holding process is told.
const TRANSPORTS: [(&str, &str); 3] =
    [("ws", "plain WebSocket"), ("v1", "`sockeye.v1`"), ("sse", "Server-Sent Events")];

/// The descriptors that each process needs.
pub(crate) fn descriptors(connections: usize) -> usize {
    connections.div_ceil(SERVERS)
}

pub(crate) fn measure(connections: usize) -> Vec<Figure> {
    TRANSPORTS.into_iter().flat_map(|transport| measure_one(transport, connections)).collect()
}

/// One server, and the process that holds the connections to it.
struct Pair {
    server: Sockeye,
    holder: Holder,
}

fn measure_one((word, name): (&str, &str), connections: usize) -> Vec<Figure> {
    let each = connections.div_ceil(SERVERS);
    let all = (each * SERVERS) as u64;
    // The one that publishes comes beside them.
    let max = format!("--max-connections={}", each + 16);
    let mut pairs: Vec<Pair> = (0..SERVERS)
        .map(|number| {
            let server = Sockeye::serve(&[&max]);
            let holder = Holder::start(server.address(), each, (word, number));
            Pair { server, holder }
        })
        .collect();
    let before = Memory::now(&pairs);
    let begun = Instant::now();
    pairs.iter_mut().for_each(|pair| pair.holder.begin());
    pairs.iter_mut().for_each(|pair| pair.holder.says("open"));
    let (opened, held) = (begun.elapsed(), Memory::now(&pairs));
    let left_alone = cpu(&pairs);
    thread::sleep(ALONE);
    let (begun, before_message) = (Instant::now(), cpu(&pairs));
    for pair in &pairs {
        let _ = curl(&["-d", MESSAGE, &pair.server.http("/c/idle")]);
    }
    pairs.iter_mut().for_each(|pair| pair.holder.says("received"));
    let (received, idle, told) =
        (begun.elapsed(), before_message - left_alone, cpu(&pairs) - before_message);
    let figure = |what: &str, value| Figure { what: format!("{name}: {what}"), value };
    let taken = held.since(&before);
    vec![
        figure("all open after", format!("{:.1} s", opened.as_secs_f64())),
        figure("memory of the servers, each", format!("{} bytes", taken.servers / all)),
        figure("memory of the kernel, each end", format!("{} bytes", taken.kernel / (2 * all))),
        figure(
            "CPU of the servers with the pings and heartbeats of the default",
            format!("{:.2} % of a core", 100.0 * idle.as_secs_f64() / ALONE.as_secs_f64()),
        ),
        figure(
            &format!("a message has reached all {all} after"),
            format!(
                "{:.2} s; {:.1} s of CPU in the servers",
                received.as_secs_f64(),
                told.as_secs_f64()
            ),
        ),
    ]
}

/// The CPU time of all servers.
fn cpu(pairs: &[Pair]) -> Duration {
    pairs.iter().map(|pair| pair.server.cpu_time()).sum()
}

/// What is in use, in bytes.
struct Memory {
    servers: u64,
    /// What the kernel has for sockets.
    kernel: u64,
}

impl Memory {
    fn now(pairs: &[Pair]) -> Self {
        let servers = pairs.iter().map(|pair| pair.server.resident_bytes()).sum();
        Self { servers, kernel: slabs() + queues() }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            servers: self.servers.saturating_sub(before.servers),
            kernel: self.kernel.saturating_sub(before.kernel),
        }
    }
}

/// What the kernel keeps for each socket of a process, by the names of its caches: the socket, its inode, the open
/// file, its name, and the entry of `epoll`.
const CACHES: [&str; 5] = ["TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi"];

/// The pages of these caches, in bytes.
fn slabs() -> u64 {
    let all = fs::read_to_string("/proc/slabinfo").expect("root may read it");
    let pages = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |field: usize| fields[field].parse::<u64>().expect("a number");
        CACHES.contains(&fields[0]).then(|| number(5) * number(14))
    };
    all.lines().skip(2).filter_map(pages).sum::<u64>() * page_size() as u64
}

/// What waits in sockets of TCP, in bytes.
fn queues() -> u64 {
    let all = fs::read_to_string("/proc/net/sockstat").expect("Linux tells it");
    let line = all.lines().find(|line| line.starts_with("TCP:")).expect("TCP is there");
    let pages = line.split_whitespace().next_back().and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * page_size() as u64
}

/// A process that holds connections: this program, told to.
struct Holder {
    child: Child,
    count: usize,
    /// It opens them when it is told to, and ends with this.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn start(server: SocketAddr, count: usize, (transport, number): (&str, usize)) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(this)
            .args(["hold", &server.to_string(), &count.to_string(), transport, &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts once more");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut holder = Self { child, count, input, output };
        holder.says("ready");
        holder
    }

    fn begin(&mut self) {
        self.input.write_all(b"open\n").expect("it reads");
    }

    /// Waits until it says so of all of its connections.
    fn says(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it is text");
        assert_eq!(line, format!("{word} {}\n", self.count));
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one process has seen of its connections.
struct Held {
    count: usize,
    open: AtomicUsize,
    received: AtomicUsize,
    changed: Notify,
}

/// `measure-idle hold ADDRESS COUNT TRANSPORT NUMBER`: opens them when there is a line, says `open` and, once each has the
/// message, `received`; ends with its input. A connection that ends before ends it with an error.
pub(crate) fn hold(mut arguments: impl Iterator<Item = String>) -> io::Result<()> {
    let mut next = || arguments.next().ok_or(io::ErrorKind::InvalidInput);
    let server: SocketAddr = next()?.parse().map_err(io::Error::other)?;
    let count: usize = next()?.parse().map_err(io::Error::other)?;
    let (transport, number) = (next()?, next()?.parse::<u8>().map_err(io::Error::other)?);
    sockeye_tests::idle::raise_file_limit(count);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let held = Held { count, open: 0.into(), received: 0.into(), changed: Notify::new() };
    let mut input = io::stdin().lines();
    runtime.block_on(async {
        say("ready", count)?;
        input.next();
        let held = Arc::new(held);
        open_all(&held, server, (&transport, number));
        held.until(&held.open).await;
        say("open", count)?;
        held.until(&held.received).await;
        say("received", count)
    })?;
    input.next();
    Ok(())
}

fn say(word: &str, count: usize) -> io::Result<()> {
    writeln!(io::stdout(), "{word} {count}")
}

fn open_all(held: &Arc<Held>, server: SocketAddr, (transport, process): (&str, u8)) {
    let turns = Arc::new(Semaphore::new(OPENING));
    for number in 0..held.count {
        let (held, turns, transport) = (held.clone(), turns.clone(), transport.to_owned());
        tokio::spawn(async move {
            let source = source(process, number);
            if let Err(error) = held.hold((source, server), &transport, &turns).await {
                let _ = writeln!(io::stderr(), "connection {number} is lost: {error}");
                // The one that waits for the word sees the end.
                std::process::exit(1);
            }
        });
    }
}

impl Held {
    async fn until(&self, number: &AtomicUsize) {
        while number.load(Relaxed) < self.count {
            self.changed.notified().await;
        }
    }

    fn count(&self, number: &AtomicUsize) {
        if number.fetch_add(1, Relaxed) + 1 == self.count {
            self.changed.notify_one();
        }
    }

    async fn hold(
        &self,
        (source, server): (SocketAddr, SocketAddr),
        transport: &str,
        turns: &Semaphore,
    ) -> io::Result<()> {
        let turn = turns.acquire().await.map_err(io::Error::other)?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(source)?;
        let stream = socket.connect(server).await?;
        if transport == "sse" {
            let mut stream = stream;
            read_to(&mut stream, EVENTS, "id: ").await?;
            self.count(&self.open);
            drop(turn);
            read_to(&mut stream, "", MESSAGE).await?;
            self.count(&self.received);
            return std::future::pending().await;
        }
        let mut client = Client::new(format!("ws://{server}/c/idle")).map_err(io::Error::other)?;
        if transport == "v1" {
            client = client.subprotocol("sockeye.v1");
        }
        let mut socket = client.open_over(stream).await.map_err(io::Error::other)?.socket;
        self.count(&self.open);
        drop(turn);
        loop {
            let message = socket.recv().await.ok_or(io::ErrorKind::UnexpectedEof)?;
            let message = message.map_err(io::Error::other)?;
            if message.as_text().is_some_and(|text| text.contains(MESSAGE)) {
                self.count(&self.received);
            }
        }
    }
}

/// The request for a stream.
const EVENTS: &str = "GET /c/idle HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

/// Where connection `number` of a process comes from: addresses of its own, so that none runs out of ports.
fn source(process: u8, number: usize) -> SocketAddr {
    let last = u8::try_from(1 + number / PER_ADDRESS).expect("few addresses are enough");
    SocketAddr::from((Ipv4Addr::new(127, 0, 1 + process, last), 0))
}

/// Sends a request, and reads until a text has come. The text is not cut in two: nothing else is sent then.
async fn read_to(stream: &mut TcpStream, request: &str, text: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&buffer[..count]);
        if read.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(());
        }
    }
}
