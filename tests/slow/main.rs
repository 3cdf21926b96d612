//! Subscribers that stop reading while much is published: what they cost, whom they delay, and what
//! they are given when they read on.
//!
//! As many bytes as `SOCKEYE_SLOW_BYTES` says are published, 256 MiB if it says nothing. With
//! `SOCKEYE_SLOW_BYTES=1073741824` it is a gigabyte, which takes a program that is not optimised a
//! minute.

mod listener;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_tests::PATIENCE;
use sockeye_tests::program::Sockeye;

use self::listener::{Listener, Told};

/// A message: its number, and so much that none of them fits into a corner.
const SIZE: usize = 32 << 10;

/// What is published before anything is measured, so that histories and allocators are full.
const WARM_UP: usize = 64 << 20;

/// How many stop reading, by each transport.
const STUCK: usize = 8;

/// How many messages the one who reads may be behind, so that it is a test of the server and not of
/// the reader. The history reaches further back.
const AHEAD: usize = 100;

/// What one of them may cost.
const COST: u64 = 1 << 20;

/// Publishes on one connection.
struct Publisher {
    stream: BufReader<TcpStream>,
    path: &'static str,
    /// The number of the last message.
    last: u64,
    /// Has room for those that the one who reads may be behind.
    ahead: Option<SyncSender<()>>,
}

impl Publisher {
    fn new(server: &Sockeye, path: &'static str) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.set_nodelay(true).expect("an option of the socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
        Self { stream: BufReader::new(stream), path, last: 0, ahead: None }
    }

    /// Publishes so many bytes and gives the time it took: as fast as the one can read who reads.
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
                ahead.send(()).expect("who reads is there");
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

/// Reads on to the message with that number, and gives the gaps that were told on the way. Between
/// them nothing may be missing, or come twice.
fn read_on(listener: &mut Listener, last: u64, on_message: impl Fn()) -> usize {
    let (mut before, mut gaps, mut in_gap) = (None, 0, false);
    while before != Some(last) {
        match listener.next() {
            Told::Message(number) => {
                let follows = before.is_none_or(|before| match in_gap {
                    true => number > before,
                    false => number == before + 1,
                });
                assert!(follows, "{number} comes after {before:?}");
                (before, in_gap) = (Some(number), false);
                on_message();
            }
            Told::Gap => (gaps, in_gap) = (gaps + 1, true),
            Told::End(code) => panic!("it ended with {code:?} after {before:?}"),
        }
    }
    gaps
}

/// Reads to the end: the messages before it, the gaps, and the close code.
fn read_to_end(listener: &mut Listener) -> (u64, usize, Option<u16>) {
    let (mut last, mut gaps) = (0, 0);
    loop {
        match listener.next() {
            Told::Message(number) => {
                assert!(last == 0 || number == last + 1, "{number} comes after {last}");
                last = number;
            }
            Told::Gap => gaps += 1,
            Told::End(code) => return (last, gaps, code),
        }
    }
}

#[test]
fn those_who_stop_reading_cost_little_delay_nobody_and_are_told_the_truth() {
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

    assert_eq!(honest.join().expect("it gets everything"), 0, "who reads misses nothing");
    let due = unhindered.mul_f64(bytes as f64 / WARM_UP as f64);
    assert!(took < due * 3 + Duration::from_secs(5), "publishing took {took:?} and not {due:?}");

    for listener in &mut sockets {
        let (last, _, code) = read_to_end(listener);
        assert_eq!(code, Some(4410), "a plain WebSocket can not be told a gap");
        assert!(last < publisher.last);
    }
    for listener in events.iter_mut().chain(&mut v1) {
        assert_eq!(
            read_on(listener, publisher.last, || ()),
            1,
            "one gap, and then all that is kept"
        );
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
                    let (mut before, mut told) = (0, Vec::new());
                    while before != publisher.last {
                        match listener.next() {
                            Told::Message(number) => {
                                told.push(number - before);
                                before = number;
                            }
                            Told::Gap => told.push(0),
                            Told::End(code) => panic!("it ended with {code:?}"),
                        }
                    }
                    // One after the other, a gap, and the newest.
                    let (steps, end) = told.split_at(told.len() - 2);
                    assert!(steps.iter().all(|step| *step == 1), "{told:?}");
                    assert!(end[0] == 0 && end[1] > 1, "{told:?}");
                }
                _ => {
                    let (last, gaps, _) = read_to_end(listener);
                    assert_eq!(gaps, 1);
                    assert!(last < publisher.last);
                }
            }
        }
    }
}
