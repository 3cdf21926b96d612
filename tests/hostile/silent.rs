//! Strangers that connect and say nothing, more of them than the server has file descriptors for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sockeye_tests::PATIENCE;
use sockeye_tests::program::{Sockeye, path};

/// `sockeye serve` with this soft and this hard limit of open files.
fn serve(soft: u32, hard: u32, options: &str) -> Sockeye {
    let program = path();
    let line = format!(
        "ulimit -S -n {soft} && ulimit -H -n {hard} && exec {} serve --listen 127.0.0.1:0 \
         --admin 127.0.0.1:0 {options}",
        program.display()
    );
    Sockeye::serve_by("sh", &["-c", &line])
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the queue takes it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends a request and gives the status of its answer, without its body: the connection stays open.
fn ask(stream: &mut TcpStream, request: &str) -> Option<u16> {
    stream.write_all(request.as_bytes()).ok()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&buffer[..read]);
        if answer.windows(4).any(|window| window == b"\r\n\r\n") {
            return String::from_utf8_lossy(&answer).get(9..12)?.parse().ok();
        }
    }
}

fn publish(stream: &mut TcpStream) -> Option<u16> {
    ask(stream, "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
}

fn look(stream: &mut TcpStream) -> Option<u16> {
    ask(stream, "HEAD /c/chat HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The metric of this name.
fn metric(server: &Sockeye, name: &str) -> u64 {
    let metrics = server.shows_operators("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("it is there").parse().expect("a number")
}

#[test]
fn n_silent_connections_keep_nobody_out() {
    let data = tempfile::tempdir().expect("a folder");
    let server = serve(64, 128, &format!("--data {}", data.path().display()));
    let mut publisher = connect(server.address());
    assert_eq!(publish(&mut publisher), Some(201));
    // 128, less a quarter. The soft limit would have allowed 48.
    assert_eq!(metric(&server, "sockeye_max_connections"), 96);

    let mut silent = Vec::new();
    for number in 0..500 {
        silent.push(connect(server.address()));
        if number % 10 == 0 {
            assert_eq!(publish(&mut publisher), Some(201), "after {number} strangers");
            let begun = Instant::now();
            assert_eq!(look(&mut connect(server.address())), Some(200), "after {number}");
            // Its place is that of the oldest stranger, and is not waited for.
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }
    assert!(server.shows_operators("/healthz").contains("ok"));
    assert!(metric(&server, "sockeye_open_connections") <= 96);
    assert!(metric(&server, "sockeye_connections_evicted_total") >= 400);
    assert!(metric(&server, "process_open_fds") < 128);
}

/// An operator may have told the server to take more connections than there are descriptors.
#[test]
fn n_without_descriptors_newcomers_are_refused_and_do_not_wait_in_the_queue() {
    let data = tempfile::tempdir().expect("a folder");
    let options = format!("--data {} --max-connections 1000", data.path().display());
    let server = serve(64, 64, &options);
    let mut inside: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    for stream in &mut inside {
        assert_eq!(publish(stream), Some(201));
    }
    // As many as there are descriptors, and then some: none of these waits in the queue for ever.
    let mut statuses: Vec<Option<u16>> = Vec::new();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(server.address());
        statuses.push(look(&mut stream));
        held.push(stream);
    }
    assert!(statuses.contains(&Some(200)) && statuses.contains(&Some(503)), "{statuses:?}");
    let cut = statuses.iter().filter(|status| status.is_none()).count();
    assert!(cut < 20, "most read why: {statuses:?}");
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while look(&mut connect(server.address())) != Some(200) {
        assert!(Instant::now() < deadline, "nobody is let in again");
    }
    let warnings = server.log().matches("cannot accept connections").count();
    assert!((1..20).contains(&warnings), "{}", server.log());
}
