//! Subscribers that stop reading while much is published: what they cost, what they delay, and what
//! they are given when they read on.
//!
//! As many bytes as `SOCKEYE_SLOW_BYTES` says are published, 256 MiB if it says nothing. With
//! `SOCKEYE_SLOW_BYTES=1073741824` it is a gigabyte, which takes a program that is not optimised a
//! minute.

mod listener;
mod unread_streams;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_testing::PATIENCE;
use sockeye_tests::program::Sockeye;

use self::listener::{Listener, Told};

/// A message: its number, and enough text that none of them fits into a corner.
const SIZE: usize = 32 << 10;

/// What is published before anything is measured, so that histories and allocators are full.
const WARM_UP: usize = 64 << 20;

/// How many stop reading, by each transport.
const STUCK: usize = 8;

/// How many messages the reader may be behind, so that it is a test of the server and not of
/// the reader. The history reaches further back.
const AHEAD: usize = 100;

/// How many messages are kept of a channel: 16 MiB.
const KEPT: usize = 500;

/// What one of them may cost.
const COST: u64 = 1 << 20;

/// Publishes on one connection.
struct Publisher {
    stream: BufReader<TcpStream>,
    path: &'static str,
    /// The number of the last message.
    last: u64,
    /// Has room for the messages that the reader may be behind.
    ahead: Option<SyncSender<()>>,
}

impl Publisher {
    fn new(server: &Sockeye, path: &'static str) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.set_nodelay(true).expect("an option of the socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
        Self { stream: BufReader::new(stream), path, last: 0, ahead: None }
    }

    /// Publishes this many bytes, as fast as the reader can read, and gives the time it took.
    fn publish(&mut self, bytes: usize) -> Duration {
        let begun = Instant::now();
        for _ in 0..bytes / SIZE {
            self.last += 1;
            let head = format!(
                "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {SIZE}\r\n\r\n",
                self.path
            );
            let message = format!("{head}{:0>8}{:x<rest$}", self.last, "", rest = SIZE - 8);
            self.stream.get_mut().write_all(message.as_bytes()).expect("the server reads");
            self.read_answer();
            if let Some(ahead) = &self.ahead {
                ahead.send(()).expect("the reader is there");
            }
        }
        begun.elapsed()
    }

    fn read_answer(&mut self) {
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("HTTP/1.1 201 "), "{line}");
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).expect("a header");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        self.stream.read_exact(&mut vec![0; length]).expect("a body");
    }
}

fn bytes() -> usize {
    let bytes = std::env::var("SOCKEYE_SLOW_BYTES").ok();
    bytes.map_or(256 << 20, |bytes| bytes.parse().expect("SOCKEYE_SLOW_BYTES is a number of bytes"))
}

/// Follows what a listener is told: nothing is missing but what a gap says, and nothing comes twice.
#[derive(Default)]
struct Follower {
    /// The number of the last message, told or said to be missing; `None` before the first.
    last: Option<u64>,
    gaps: usize,
    /// Messages since the last gap.
    since_gap: usize,
}

impl Follower {
    fn follow(&mut self, told: &Told) {
        let expected = self.last.map(|last| last + 1);
        match *told {
            Told::Message(number) => {
                assert!(
                    expected.is_none_or(|expected| number == expected),
                    "{told:?}, not {expected:?}"
                );
                self.last = Some(number);
                self.since_gap += 1;
            }
            Told::Gap { after, next } => {
                assert!(next > after, "a gap has something in it: {told:?}");
                assert!(
                    self.last.is_none_or(|last| after == last),
                    "{told:?} after {:?}",
                    self.last
                );
                self.last = Some(next);
                self.gaps += 1;
                self.since_gap = 0;
            }
            Told::End(_) => {}
        }
    }
}

/// Reads on to the message with that number. One that is stuck and is given room for a moment is told
/// a gap each time: how many there are is up to the kernel.
fn read_on(listener: &mut Listener, last: u64, on_message: impl Fn()) -> Follower {
    let mut follower = Follower::default();
    while follower.last != Some(last) {
        let told = listener.next();
        if let Told::End(code) = told {
            panic!("it ended with {code:?} after {:?}", follower.last);
        }
        follower.follow(&told);
        if let Told::Message(_) = told {
            on_message();
        }
    }
    follower
}

/// Reads to the end, of which it gives the close code.
fn read_to_end(listener: &mut Listener) -> (Follower, Option<u16>) {
    let mut follower = Follower::default();
    loop {
        let told = listener.next();
        follower.follow(&told);
        if let Told::End(code) = told {
            return (follower, code);
        }
    }
}

#[test]
fn clients_that_stop_reading_cost_little_delay_no_other_and_get_the_gap() {
    let server = Sockeye::serve(&[]);
    let (address, bytes) = (server.address(), bytes());
    let mut publisher = Publisher::new(&server, "/c/flood");
    let all = ((WARM_UP + bytes) / SIZE) as u64;
    let mut honest = Listener::websocket(address, "/c/flood");
    let (ahead, behind) = sync_channel(AHEAD);
    publisher.ahead = Some(ahead);
    let honest = thread::spawn(move || {
        read_on(&mut honest, all, || behind.recv().expect("what came was published"))
    });
    let unhindered = publisher.publish(WARM_UP);

    let mut sockets: Vec<_> =
        (0..STUCK).map(|_| Listener::websocket(address, "/c/flood")).collect();
    let mut events: Vec<_> = (0..STUCK).map(|_| Listener::events(address, "/c/flood")).collect();
    let mut v1: Vec<_> = (0..STUCK).map(|_| Listener::v1(address, "/c/flood")).collect();
    let before = server.resident_bytes();
    let took = publisher.publish(bytes);
    let cost = server.resident_bytes().saturating_sub(before) / (3 * STUCK as u64);
    eprintln!("{bytes} bytes in {took:?}; one that does not read costs {cost} bytes");
    assert!(cost < COST, "one that does not read costs {cost} bytes");

    let honest = honest.join().expect("it gets everything");
    assert_eq!(honest.gaps, 0, "a subscriber that reads misses nothing");
    let due = unhindered.mul_f64(bytes as f64 / WARM_UP as f64);
    assert!(took < due * 3 + Duration::from_secs(5), "publishing took {took:?} and not {due:?}");

    for listener in &mut sockets {
        let (follower, code) = read_to_end(listener);
        assert_eq!(code, Some(4410), "a plain WebSocket cannot be told a gap");
        assert!(follower.last < Some(publisher.last));
    }
    for listener in events.iter_mut().chain(&mut v1) {
        let follower = read_on(listener, publisher.last, || ());
        assert!(follower.gaps > 0, "it missed something");
        assert!(follower.since_gap >= KEPT, "{} messages after the gap", follower.since_gap);
    }
}

#[test]
fn what_they_are_given_afterwards_is_as_the_policy_says() {
    let policies = ["--policy", "newest=latest", "--policy", "strict=close"];
    let server = Sockeye::serve(&[&policies[..], &["--history-count", "100"]].concat());
    let address = server.address();
    for path in ["/c/newest", "/c/strict"] {
        let mut listeners = [Listener::events(address, path), Listener::v1(address, path)];
        let mut publisher = Publisher::new(&server, path);
        publisher.publish(WARM_UP);
        for listener in &mut listeners {
            match path {
                "/c/newest" => {
                    let follower = read_on(listener, publisher.last, || ());
                    assert!(follower.gaps > 0, "it missed something");
                    // All that is kept would be more.
                    let after = follower.since_gap;
                    assert!((1..100).contains(&after), "{after} messages after the gap");
                }
                _ => {
                    let (follower, _) = read_to_end(listener);
                    assert_eq!((follower.gaps, follower.since_gap), (1, 0), "the gap is the end");
                    assert!(follower.last < Some(publisher.last));
                }
            }
        }
    }
}
