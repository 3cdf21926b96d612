//! `sockeye serve`: a channel for curl and for plain WebSockets.

use std::process::Command;

use serde_json::{Value, json};
use sockeye_tests::frame::{TEXT, masked};
use sockeye_tests::peer::{Pace, Peer, request};
use sockeye_tests::program::{Running, Sockeye, assert_fails, run};

/// What curl gets with these arguments.
fn curl(args: &[&str]) -> String {
    let output = Command::new("curl").args(["--silent", "--show-error"]).args(args).output();
    let output = output.expect("`cargo xtask test program` installs curl");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a text")
}

fn curl_json(args: &[&str]) -> Value {
    serde_json::from_str(&curl(args)).expect("JSON")
}

#[test]
fn what_curl_publishes_reaches_every_websocket_of_the_channel() {
    let server = Sockeye::serve(&[]);
    let mut peers = [(); 2].map(|()| Peer::open(server.address(), "/c/chat"));
    let mut elsewhere = Peer::open(server.address(), "/c/elsewhere");
    let published = curl_json(&["--data", "hello", &server.http("/c/chat")]);
    for peer in &mut peers {
        let frame = peer.read();
        assert_eq!((frame.first, frame.payload.as_slice()), (TEXT, &b"hello"[..]));
    }
    let polled = curl_json(&[&server.http("/c/chat")]);
    assert_eq!(polled["at"], published["at"]);
    assert_eq!(polled["messages"][0]["data"], json!("hello"));
    elsewhere.echo("nothing of chat comes here");
}

#[test]
fn it_serves_though_nobody_reads_what_it_prints() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket").to_string_lossy().into_owned();
    let listen = format!("unix:{socket}");
    let mut server = Running::start(&["serve", "--listen", &listen, "--admin", "off"]);
    drop(server.stdout());
    let until_it_listens = ["--retry", "20", "--retry-all-errors", "--retry-delay", "1"];
    let to_it = ["--unix-socket", &socket, "http://localhost/c/chat"];
    assert_eq!(curl_json(&[&until_it_listens[..], &to_it].concat())["messages"], json!([]));
}

#[test]
fn what_a_websocket_sends_is_published() {
    let server = Sockeye::serve(&[]);
    let mut peer = Peer::open(server.address(), "/c/chat");
    peer.echo("from a page");
    let polled = curl_json(&[&server.http("/c/chat")]);
    assert_eq!(polled["messages"][0]["data"], json!("from a page"));
}

#[test]
fn a_websocket_goes_on_where_it_left() {
    let server = Sockeye::serve(&[]);
    let mut peer = Peer::open(server.address(), "/c/chat");
    peer.echo("one");
    let at = curl_json(&[&server.http("/c/chat")])["at"].clone();
    peer.send(&masked(TEXT, b"two"), Pace::Whole);
    assert_eq!(peer.read().payload, b"two");
    let path = format!("/c/chat?after={}", at.as_str().expect("a position"));
    assert_eq!(Peer::open(server.address(), &path).read().payload, b"two");
}

#[test]
fn a_page_of_another_origin_is_refused_on_every_transport() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let evil = ["--header", "Origin: http://evil.example"];
    assert_eq!(curl(&[&status[..], &evil, &[&url]].concat()), "403");
    assert_eq!(curl(&[&status[..], &evil, &["--data", "x", &url]].concat()), "403");
    let mut peer = Peer::connect(server.address());
    let upgrade = request("/c/chat").replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n");
    peer.send(upgrade.as_bytes(), Pace::Whole);
    assert_eq!(peer.read_head().status(), 403);
    let messages = curl_json(&[&url])["messages"].clone();
    assert_eq!(messages, json!([]), "nothing was published");
}

/// A refused upgrade ends the connection: nothing behind it is taken for another request.
#[test]
fn what_follows_a_refused_upgrade_is_not_answered() {
    let server = Sockeye::serve(&[]);
    let mut peer = Peer::connect(server.address());
    let refused = request("/c/chat").replace("Version: 13", "Version: 8");
    peer.send(format!("{refused}{}", request("/c/chat")).as_bytes(), Pace::Whole);
    assert_eq!(peer.read_head().status(), 426);
    let rest = String::from_utf8(peer.read_to_end()).expect("a text");
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
}

#[test]
fn an_address_for_everybody_needs_open() {
    assert_fails(&run(&["serve", "--listen", "0.0.0.0:0"], ""), 1);
}
