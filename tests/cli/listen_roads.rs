//! `sockeye listen` where connections do not go as they should: streams of HTTP/2 that are reset or not read, and no
//! descriptors left.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use sockeye_testing::eventually;
use sockeye_testing::frame::{TEXT, masked};
use sockeye_testing::handshake::request;
use sockeye_testing::http2::{DATA, RST_STREAM};
use sockeye_tests::http2::Http2;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Sockeye, path};
use tempfile::TempDir;

/// A window that a stream is never short of.
const LARGE: u32 = 1 << 20;

/// A folder with a large file, `large`, and a small one, `small`.
fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("large"), vec![b'x'; 8 << 20]).expect("a file");
    fs::write(folder.path().join("small"), "small").expect("a file");
    let path = folder.path().to_str().expect("a plain path").to_owned();
    (folder, path)
}

#[test]
fn a_websocket_over_http2_that_is_reset_has_left_and_the_others_of_its_connection_stay() {
    let server = Sockeye::listen(&[]);
    let mut client = Http2::connect(server.address(), LARGE);
    for stream in [1, 3] {
        client.websocket(stream, "/");
        assert!(client.is_ok(stream));
        server.wait_for(&format!("@{} connected", stream.div_ceil(2)));
    }
    client.say(1, &masked(TEXT, b"before"));
    server.wait_for("@1 before");
    client.reset(1);
    server.wait_for("@1 failed: the connection was lost without a closing handshake");
    client.say(3, &masked(TEXT, b"after"));
    server.wait_for("@2 after");
    client.websocket(5, "/");
    assert!(client.is_ok(5));
    server.wait_for("@3 connected");
}

#[test]
fn a_websocket_over_http2_that_is_reset_ends_its_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ended");
    let command = format!("trap 'echo > {}' EXIT; cat", file.display());
    let server = Sockeye::listen(&["--shell", "--exec", &command]);
    let mut client = Http2::connect(server.address(), LARGE);
    client.websocket(1, "/");
    assert!(client.is_ok(1));
    client.say(1, &masked(TEXT, b"echo"));
    loop {
        let frame = client.next_frame();
        if frame.kind == DATA && frame.payload.ends_with(b"echo") {
            break;
        }
    }
    client.reset(1);
    eventually("the process has ended", || file.exists());
}

#[test]
fn a_file_that_is_not_read_is_reset_in_time_and_its_connection_stays() {
    let (_folder, public) = folder();
    let server = Sockeye::listen(&["--static", &public, "--write-timeout", "300ms"]);
    // Of the small file not one byte may come.
    for (window, path) in [(64 << 10, "/large"), (0, "/large"), (0, "/small")] {
        let mut client = Http2::connect(server.address(), window);
        client.websocket(1, "/");
        assert!(client.is_ok(1));
        client.get(3, path);
        assert!(client.is_ok(3));
        let mut got = 0;
        loop {
            let frame = client.next_frame();
            if frame.stream == 3 && frame.kind == RST_STREAM {
                break;
            }
            got += frame.payload.len();
            assert!(got <= window as usize, "{path}: {got} bytes came");
        }
        let text = format!("beside {path} and {window}");
        client.say(1, &masked(TEXT, text.as_bytes()));
        server.wait_for(&text);
    }
}

/// However many streams ask for files and read none of them: what they cost has a bound, in memory and descriptors.
#[test]
fn files_that_are_not_read_are_few_and_cost_little() {
    let (_folder, public) = folder();
    let server = Sockeye::listen(&["--static", &public, "--write-timeout", "1h"]);
    let before = server.resident_bytes();
    let mut clients = [(); 2].map(|()| Http2::connect(server.address(), 0));
    let mut sent = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        for stream in (1..200).step_by(2) {
            client.get(stream, "/large");
            if client.is_ok(stream) {
                sent.push((index, stream));
            }
        }
    }
    assert_eq!(sent.len(), 128);
    let cost = server.resident_bytes().saturating_sub(before);
    assert!(cost < 64 << 20, "{cost} bytes");
    // WebSockets are served beside them, and files again when one of these is given up.
    Peer::open(server.address(), "/").send(&masked(TEXT, b"beside"), Chunks::Whole);
    server.wait_for("beside");
    let (index, stream) = sent[0];
    clients[index].reset(stream);
    let mut next = 201;
    eventually("there is room for a file", || {
        next += 2;
        clients[1].get(next, "/small");
        clients[1].is_ok(next)
    });
}

/// Descriptors of a server that has few.
const DESCRIPTORS: usize = 64;

/// `sockeye listen` that may have few descriptors, with these options besides.
fn with_few_descriptors(options: &[&str]) -> Sockeye {
    let line = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).arg(path()).args(["listen", "--listen", "127.0.0.1:0"]);
    command.args(options).env_remove("RUST_LOG");
    Sockeye::start_with(command, options)
}

/// What a new client is answered.
fn status(address: SocketAddr) -> (u16, Peer) {
    let mut peer = Peer::connect(address);
    peer.send(request("/").as_bytes(), Chunks::Whole);
    let status = peer.read_head().status();
    (status, peer)
}

#[test]
fn without_descriptors_connections_that_ask_for_nothing_make_room() {
    let server = with_few_descriptors(&[]);
    let mut kept = Peer::open(server.address(), "/");
    let idle: Vec<_> = (0..2 * DESCRIPTORS)
        .map(|_| TcpStream::connect(server.address()).expect("the system accepts it"))
        .collect();
    for number in 2..10 {
        let (status, _peer) = status(server.address());
        assert_eq!(status, 101);
        server.wait_for(&format!("@{number} connected"));
    }
    drop(idle);
    kept.send(&masked(TEXT, b"still here"), Chunks::Whole);
    server.wait_for("@1 still here");
}

#[test]
fn without_descriptors_for_websockets_new_ones_get_503_and_those_that_are_there_stay() {
    for exec in [&[][..], &["--exec", "cat", "--max-processes", "1000"]] {
        let server = with_few_descriptors(&[&["--max-connections", "1000"], exec].concat());
        let mut open = Vec::new();
        loop {
            let (status, peer) = status(server.address());
            if status == 503 {
                break;
            }
            assert_eq!(status, 101);
            open.push(peer);
            assert!(open.len() < DESCRIPTORS, "there are more clients than descriptors");
        }
        let first = open.first_mut().expect("some were let in");
        if exec.is_empty() {
            first.send(&masked(TEXT, b"still here"), Chunks::Whole);
            server.wait_for("@1 still here");
        } else {
            first.echo("still here");
        }
        drop(open);
        eventually("there is room again", || status(server.address()).0 == 101);
    }
}
