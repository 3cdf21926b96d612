//! `sockeye serve`: a channel for curl and for plain WebSockets.

use std::process::Command;

use serde_json::{Value, json};
use sockeye_testing::frame::{TEXT, masked};
use sockeye_testing::handshake::{request, request_with};
use sockeye_tests::peer::{Chunks, Peer};
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
fn it_serves_though_its_output_is_not_read() {
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
    peer.send(&masked(TEXT, b"two"), Chunks::Whole);
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
    let upgrade = request_with("/c/chat", "Origin: http://evil.example\r\n");
    peer.send(upgrade.as_bytes(), Chunks::Whole);
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
    peer.send(format!("{refused}{}", request("/c/chat")).as_bytes(), Chunks::Whole);
    assert_eq!(peer.read_head().status(), 426);
    let rest = String::from_utf8(peer.read_to_end()).expect("a text");
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
}

#[test]
fn a_public_address_needs_open() {
    for every in ["0.0.0.0:0", ":0"] {
        let output = run(&["serve", "--listen", every], "");
        assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains("--open"), "{output:?}");
    }
}

/// The port of each line `listening on`, and what stands before it.
fn listening(log: &str) -> Vec<(String, u16)> {
    let addresses = log.lines().filter_map(|line| line.split_once("listening on http://"));
    let parse = |(_, address): (&str, &str)| {
        let (host, port) = address.rsplit_once(':').expect("a port");
        (host.to_owned(), port.parse().expect("a number"))
    };
    addresses.map(parse).collect()
}

#[test]
fn a_name_is_listened_on_at_all_its_addresses_and_no_name_is_every_address() {
    let server = Sockeye::serve(&["--listen", "localhost:0"]);
    server.wait_for("admin on");
    // The first is the harness's own.
    let local = listening(&server.log()).split_off(1);
    assert!(local.iter().all(|(_, port)| *port == local[0].1), "{local:?}");
    for (host, port) in &local {
        assert!(["127.0.0.1", "[::1]"].contains(&&**host), "{local:?}");
        assert!(curl(&[&format!("http://{host}:{port}/c/chat")]).contains("messages"));
    }

    let every = Sockeye::serve(&["--open", "--listen", ":0"]);
    every.wait_for("admin on");
    let (_, port) = listening(&every.log())[1];
    assert!(curl(&[&format!("http://127.0.0.1:{port}/c/chat")]).contains("messages"));

    let program = sockeye_tests::program::path();
    let program = program.to_str().expect("UTF-8");
    let echo = Sockeye::serve_by(program, &["echo", "--listen", "localhost:0"]);
    let output = run(&["connect", &echo.ws("/").replace("127.0.0.1", "localhost")], "hello\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
}

/// An address that only means something with its interface, where this machine has one.
#[test]
fn ipv6_addresses_may_have_a_zone() {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let link_local = interfaces.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(fields[0], 16).ok()?;
        let address = std::net::Ipv6Addr::from(address);
        address.is_unicast_link_local().then(|| format!("{address}%{}", fields[5]))
    });
    // Where there is none, the loopback interface has the number 1.
    let host = link_local.unwrap_or_else(|| "::1%1".to_owned());
    let server = Sockeye::serve(&["--open", "--listen", &format!("[{host}]:0")]);
    server.wait_for("admin on");
    let (_, port) = listening(&server.log())[1];
    for url in [
        format!("http://[{host}]:{port}/c/chat"),
        format!("http://[{}]:{port}/c/chat", host.replace('%', "%25")),
    ] {
        let published = run(&["publish", &url, "hello"], "");
        assert!(published.status.success(), "{url}: {published:?}");
        let read = run(&["subscribe", "--after", "-1", "-n", "1", &url], "");
        assert_eq!(String::from_utf8_lossy(&read.stdout), "hello\n", "{read:?}");
    }
}
