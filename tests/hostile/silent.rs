//! Strangers that connect and say nothing, or have their answer and stay, more of them than the server has
//! file descriptors for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sockeye_testing::{PATIENCE, eventually};
use sockeye_tests::program::{Sockeye, path, run};

/// A request for a stream: its connection makes no room for others.
const EVENTS: &str = "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

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
fn silent_connections_keep_no_client_out() {
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
            assert_eq!(publish(&mut publisher), Some(201), "after {number} silent connections");
            let begun = Instant::now();
            assert_eq!(look(&mut connect(server.address())), Some(200), "after {number}");
            // It takes the place of the oldest silent connection at once.
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
fn without_descriptors_new_connections_are_refused_and_do_not_wait_in_the_queue() {
    let data = tempfile::tempdir().expect("a folder");
    let options = format!("--data {} --max-connections 1000", data.path().display());
    let server = serve(64, 64, &options);
    let mut inside: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    for stream in &mut inside {
        assert_eq!(publish(stream), Some(201));
    }
    // As many streams as there are descriptors, and then some: none of these waits in the queue for ever.
    let mut statuses: Vec<Option<u16>> = Vec::new();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(server.address());
        statuses.push(ask(&mut stream, EVENTS));
        held.push(stream);
    }
    assert!(statuses.contains(&Some(200)) && statuses.contains(&Some(503)), "{statuses:?}");
    let cut = statuses.iter().filter(|status| status.is_none()).count();
    assert!(cut < 20, "most read why: {statuses:?}");
    drop(held);
    eventually("a new client is served", || look(&mut connect(server.address())) == Some(200));
    let warnings = server.log().matches("cannot accept connections").count();
    assert!((1..20).contains(&warnings), "{}", server.log());
}

/// Strangers that have been refused, and go on to send what they were refused for, while readers have all
/// places but the publisher's.
#[test]
fn n_refused_connections_that_linger_do_not_take_the_descriptors_of_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "a secret of this test, with more than 32 bytes\n").expect("a file");
    let key = key.to_str().expect("a path");
    let token = run(&["token", "--key", key, "--channel", "*=read,write"], "").stdout;
    let token = String::from_utf8(token).expect("a token");
    let head = format!("HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n", token.trim());
    let data = folder.path().join("data");
    let server = serve(256, 256, &format!("--data {} --auth-key {key}", data.display()));
    let publication = format!("POST /c/chat {head}Content-Length: 1\r\n\r\nx");
    let mut publisher = connect(server.address());
    assert_eq!(ask(&mut publisher, &publication), Some(201));
    let places = metric(&server, "sockeye_max_connections");
    assert_eq!(places, 192);
    let events = format!("GET /c/chat {head}Accept: text/event-stream\r\n\r\n");
    let mut readers: Vec<_> = (1..places).map(|_| connect(server.address())).collect();
    for reader in &mut readers {
        assert_eq!(ask(reader, &events), Some(200));
    }
    let upload = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nx";
    let mut clients = Vec::new();
    for number in 0..400 {
        let mut client = connect(server.address());
        // One that is cut off at once does not take it.
        let _ = client.write_all(upload.as_bytes());
        clients.push(client);
        if number % 5 == 0 {
            let status = ask(&mut publisher, &publication);
            assert_eq!(status, Some(201), "after {number} clients");
        }
    }
    let open = metric(&server, "process_open_fds");
    assert!(open < 256 - 12, "{open} descriptors");
    assert!(server.shows_operators("/readyz").contains("ready"));
    assert!(!server.log().contains("cannot accept connections"), "{}", server.log());
}
