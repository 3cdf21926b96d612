//! Servers that mean harm: what they can make it read, and how long it waits for them.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_testing::handshake::Head;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::run;

/// More than it may read of one answer: what is kept of it, and what the sockets hold.
const TOO_MUCH: usize = 32 << 20;
/// How long it may take, with a second for each step: far less than for an endless answer.
const LONG: Duration = Duration::from_secs(40);

/// A server that begins each answer like this and goes on with the piece; the most that it got rid of.
fn flood(first: &'static str, piece: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let most = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&most);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let most = Arc::clone(&counted);
            thread::spawn(move || most.fetch_max(answer(&stream, first, piece), Relaxed));
        }
    });
    (address.to_string(), most)
}

/// Answers a request without an end; how much of that is taken.
fn answer(mut stream: &TcpStream, first: &str, piece: &str) -> usize {
    let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
    // The connection may be only looked at.
    if Head::read(&mut stream).is_err() {
        return 0;
    }
    let piece = piece.repeat((64 << 10) / piece.len() + 1);
    let mut taken = stream.write(first.as_bytes()).unwrap_or(0);
    while taken < TOO_MUCH
        && let Ok(count @ 1..) = stream.write(piece.as_bytes())
    {
        taken += count;
    }
    taken
}

/// Examines what floods, and fails if it takes too much of it or too long.
fn assert_bounded(first: &'static str, piece: &'static str, code: i32) {
    let (address, most) = flood(first, piece);
    let begun = Instant::now();
    let url = format!("http://{address}/c/chat");
    let output = run(&["doctor", "--idle", "1s", "--timeout", "1s", &url], "");
    assert!(begun.elapsed() < LONG, "{first:?} {:?}", begun.elapsed());
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(printed.len() < 10_000, "{printed}");
    let taken = most.load(Relaxed);
    assert!((1..TOO_MUCH).contains(&taken), "{first:?}: {taken} bytes were taken; {printed}");
}

#[test]
fn heads_without_an_end_are_given_up() {
    assert_bounded("HTTP/1.1 200 OK\r\nX: ", "x", 1);
    assert_bounded("HTTP/1.1 200 OK\r\n", "X: x\r\n", 1);
    assert_bounded("", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", 1);
}

/// What answers in HTTP answers, however long that takes.
#[test]
fn bodies_without_an_end_are_given_up() {
    assert_bounded("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"at\":\"", "x", 0);
    assert_bounded("HTTP/1.1 403 Forbidden\r\n\r\n", "no ", 1);
}

#[test]
fn a_server_that_never_answers_is_left_after_the_time_of_each_step() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/c/chat", listener.local_addr().expect("an address"));
    let begun = Instant::now();
    let found = super::examine(&["--timeout", "1s", &url]);
    assert!(begun.elapsed() < LONG);
    found.assert("http", "fail", &["no answer came in 1.0 s"]);
    assert_eq!(found.code, Some(1));
}

#[test]
fn what_a_server_says_of_itself_cannot_forge_a_line() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            let _ = peer.read_head();
            let body = r#"{"code":"x","detail":"a\nok    websocket       opens"}"#;
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            peer.send(answer.as_bytes(), Chunks::Whole);
        }
    });
    let output = run(&["doctor", "--idle", "0s", &url], "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().all(|line| !line.starts_with("ok    websocket")), "{text}");
    assert_eq!(output.status.code(), Some(1));
}
