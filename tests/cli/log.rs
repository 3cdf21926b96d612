//! The log of a server never hurts it: whatever stderr does, requests are answered and a signal ends it.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sockeye_tests::curl::curl;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program;
use sockeye_tests::streams::{Started, free_address, stuck_pipe};

/// A server that logs into a pipe.
struct Logging {
    server: Started,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Logging {
    fn start(stderr: PipeWriter, options: &[&str]) -> Self {
        let (address, admin) = (free_address(), free_address());
        let mut command = Command::new(program::path());
        let (listen, operators) = (address.to_string(), admin.to_string());
        command.args(["serve", "--listen", &listen, "--admin", &operators]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut server = Started::new(command);
        server.wait_for_listener(address);
        server.wait_for_listener(admin);
        Self { server, address, admin }
    }

    /// Makes `count` requests that are answered 404, each a line of the log at debug.
    fn miss(&self, count: usize) {
        let mut peer = Peer::connect(self.address);
        let request = format!("HEAD /nothing HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        for _ in 0..count {
            peer.send(request.as_bytes(), Chunks::Whole);
            assert_eq!(peer.read_head().status(), 404);
        }
    }

    /// Makes a request as a page of this origin, which is refused.
    fn refuse(&self, peer: &mut Peer, origin: &str) {
        let host = self.address;
        let request = format!("HEAD /c/chat HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        peer.send(request.as_bytes(), Chunks::Whole);
        assert_eq!(peer.read_head().status(), 403);
    }

    fn figure(&self, name: &str) -> u64 {
        let metrics = curl(&[&format!("http://{}/metrics", self.admin)]);
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.unwrap_or_else(|| panic!("no {name} in {metrics}"));
        figure.trim().parse().expect("a number")
    }

    /// The end comes well and soon.
    fn assert_ends(mut self) {
        let told = Instant::now();
        self.server.signal(Signal::TERM);
        assert_eq!(self.server.end().code(), Some(0));
        assert!(told.elapsed() < Duration::from_secs(10), "after {:?}", told.elapsed());
    }
}

/// The next line of the log with this text.
fn line_with(log: &mut BufReader<PipeReader>, text: &str) -> String {
    log.lines().map(|line| line.expect("a line")).find(|line| line.contains(text)).expect("a line")
}

#[test]
fn a_reader_of_the_log_that_is_gone_costs_lines_and_nothing_else() {
    for level in ["info", "debug"] {
        let (reader, stderr) = std::io::pipe().expect("a pipe");
        let logging = Logging::start(stderr, &["--log", level]);
        drop(reader);
        logging.miss(20);
        assert_eq!(curl(&[&format!("http://{}/healthz", logging.admin)]), "ok\n");
        logging.assert_ends();
    }
}

#[test]
fn a_log_that_stands_still_delays_no_request_no_health_check_and_no_end() {
    let (_reader, stderr) = stuck_pipe();
    let logging = Logging::start(stderr, &["--log", "debug"]);
    logging.miss(200);
    assert_eq!(curl(&[&format!("http://{}/healthz", logging.admin)]), "ok\n");
    logging.assert_ends();
}

#[test]
fn lost_lines_are_counted_and_told_when_the_log_can_be_written_again() {
    let (reader, stderr) = stuck_pipe();
    let logging = Logging::start(stderr, &["--log", "debug", "--log-buffer", "8k"]);
    logging.miss(1000);
    let lost = logging.figure("sockeye_log_lines_lost_total");
    assert!(lost > 500, "{lost} lost of 1000 lines: 16 KiB are kept at most");
    let mut log = BufReader::new(reader);
    let told = line_with(&mut log, "lines of the log are lost");
    assert!(told.contains("ERROR") && told.contains("lines="), "{told}");
    // From now on there are lines again.
    logging.miss(1);
    line_with(&mut log, "/nothing");
    logging.assert_ends();
}

#[test]
fn what_a_peer_sends_is_shown_without_what_a_terminal_would_do() {
    for format in ["text", "json"] {
        let (reader, stderr) = std::io::pipe().expect("a pipe");
        let logging = Logging::start(stderr, &["--log", "debug", "--log-format", format]);
        let mut peer = Peer::connect(logging.address);
        let host = logging.address;
        let path = format!("/evil\u{202e}\u{9b}31m{}", "x".repeat(8000));
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        peer.send(request.as_bytes(), Chunks::Whole);
        let _ = peer.read_head();
        let mut log = BufReader::new(reader);
        let line = line_with(&mut log, "/evil");
        assert!(line.len() < 1024, "{} bytes", line.len());
        assert!(!line.chars().any(|char| char.is_control() || char == '\u{202e}'), "{line}");
        if format == "json" {
            serde_json::from_str::<serde_json::Value>(&line).expect("a line of JSON");
        }
        logging.assert_ends();
    }
}

#[test]
fn the_first_line_is_enough_for_a_reader_that_wants_no_more() {
    let (reader, stderr) = std::io::pipe().expect("a pipe");
    let logging = Logging::start(stderr, &["--log", "info"]);
    let mut log = BufReader::new(reader);
    line_with(&mut log, "listening");
    drop(log);
    // Each line at info from now on fails: the client's connection, and the end.
    logging.miss(5);
    logging.assert_ends();
}

#[test]
fn what_anonymous_clients_do_wrong_is_no_warning() {
    let (reader, stderr) = std::io::pipe().expect("a pipe");
    let logging = Logging::start(stderr, &[]);
    let host = logging.address;
    let wrong = [
        // 505: a WebSocket by HTTP/1.0 (RFC 6455 §4.1).
        "GET /c/chat HTTP/1.0\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        // 426 and 400.
        "GET /c/chat HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 99\r\n\r\n",
        "BREW /c/chat HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
    ];
    for _ in 0..100 {
        for head in wrong {
            let mut peer = Peer::connect(host);
            peer.send(head.replace("HOST", &host.to_string()).as_bytes(), Chunks::Whole);
            let status = peer.read_head().status();
            assert!((400..=505).contains(&status) && status != 500, "{status}");
        }
    }
    logging.assert_ends();
    let mut log = String::new();
    std::io::Read::read_to_string(&mut BufReader::new(reader), &mut log).expect("a text");
    assert_eq!(log, "");
}

#[test]
fn refusals_by_the_thousand_are_a_few_lines_with_a_count() {
    let (reader, stderr) = std::io::pipe().expect("a pipe");
    let logging = Logging::start(stderr, &["--log", "info"]);
    let head = format!(
        "HEAD /c/chat HTTP/1.1\r\nHost: {}\r\nOrigin: https://example.org\r\n\r\n",
        logging.address
    );
    let mut peer = Peer::connect(logging.address);
    let begun = Instant::now();
    for _ in 0..2000 {
        peer.send(head.as_bytes(), Chunks::Whole);
        assert_eq!(peer.read_head().status(), 403);
    }
    let seconds = begun.elapsed().as_secs() + 3;
    logging.assert_ends();
    let log = BufReader::new(reader).lines().map(|line| line.expect("a line"));
    let lines: Vec<String> = log.filter(|line| line.contains("request refused")).collect();
    assert!((lines.len() as u64) < 10 + seconds, "{} lines in {seconds} s", lines.len());
    let more = |line: &String| -> u64 {
        let (_, more) = line.split_once("more=").unwrap_or(("", "0"));
        more.split(' ').next().and_then(|more| more.parse().ok()).unwrap_or(0)
    };
    let told = lines.len() as u64 + lines.iter().map(more).sum::<u64>();
    // The line of the end tells of others and is none itself.
    let is_last = lines.iter().filter(|line| line.contains("more of these")).count() as u64;
    assert_eq!(told - is_last, 2000, "{}", lines.join("\n"));
}

/// The log of a server that has refused pages of these origins, one after the other.
fn log_of_refusals(options: &[&str], origins: &[String]) -> String {
    let (mut reader, stderr) = std::io::pipe().expect("a pipe");
    let logging = Logging::start(stderr, options);
    // It answers once it can be told to stop, too.
    logging.miss(1);
    let mut peer = Peer::connect(logging.address);
    for origin in origins {
        logging.refuse(&mut peer, origin);
    }
    drop(peer);
    logging.assert_ends();
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("the log");
    log
}

#[test]
fn each_refused_origin_is_logged_once_with_what_to_type() {
    let (reader, stderr) = std::io::pipe().expect("a pipe");
    let logging = Logging::start(stderr, &["--log", "warn"]);
    let (sender, lines) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut peer = Peer::connect(logging.address);
    let mut log: Vec<String> = Vec::new();
    let advised = |line: &String| {
        let (_, advised) = line.split_once("--allow-origin ")?;
        advised.split_whitespace().next().map(str::to_owned)
    };
    let origins = ["https://a.example", "tauri://localhost", "null", "file://", "http://$(reboot)"];
    for origin in &origins[..3] {
        // There is one line a second: an origin that was only counted is logged when it comes again.
        let begun = Instant::now();
        while !log.iter().any(|line| advised(line).as_deref() == Some(*origin)) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{origin}: {log:?}");
            logging.refuse(&mut peer, origin);
            log.extend(lines.recv_timeout(Duration::from_millis(20)));
        }
    }
    for origin in origins.iter().chain(&origins) {
        logging.refuse(&mut peer, origin);
    }
    drop(peer);
    logging.assert_ends();
    reading.join().expect("the log is read");
    log.extend(lines);
    let all: Vec<String> = log.iter().filter_map(advised).collect();
    assert_eq!(all, origins[..3], "{log:?}");
    let is_other = |line: &&String| line.contains("WARN") && !line.contains("page");
    assert_eq!(log.iter().find(is_other), None);
}

#[test]
fn of_many_refused_origins_a_few_are_told_and_the_others_counted() {
    let many: Vec<String> = (0..300).map(|number| format!("https://{number}.example")).collect();
    let begun = Instant::now();
    let log = log_of_refusals(&["--log", "warn"], &many);
    // One at once, and one in each second that it took.
    let most = 2 + begun.elapsed().as_secs();
    let told = log.matches("--allow-origin").count() as u64;
    assert!((1..=most).contains(&told), "{told} of {most}: {log}");
    let more = log.split("more=").skip(1).filter_map(|rest| rest.split_whitespace().next());
    let more: u64 = more.filter_map(|count| count.parse::<u64>().ok()).sum();
    assert_eq!(told + more, 300, "{log}");
}

#[test]
fn it_is_said_aloud_that_pages_without_an_origin_are_allowed() {
    let log = log_of_refusals(&["--log", "warn", "--allow-origin", "null"], &[]);
    assert!(log.contains("--allow-origin null lets every local file"), "{log}");
}
