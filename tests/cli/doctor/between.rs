//! What is between a client and its server, and what is said of it.

use std::io::{Write as _, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sockeye_tests::middlebox::{Manner, Middlebox};
use sockeye_tests::peer::Peer;
use sockeye_tests::program::{Sockeye, run_with_env};

use super::examine;

#[test]
fn what_cuts_idle_connections_after_five_seconds_is_found_with_its_figure() {
    let server = Sockeye::serve(&[]);
    let between = Middlebox::before(server.address(), Manner::CutsIdle(Duration::from_secs(5)));
    let found = examine(&["--idle", "12s", &between.http("/c/chat")]);
    found.assert_failed(&["websocket-idle", "sse-idle", "longpoll"]);
    for check in ["websocket-idle", "sse-idle", "longpoll"] {
        found.assert(check, "fail", &["cut after 5.", "proxy_read_timeout 75s"]);
    }
    // It has tried that.
    found.assert("websocket-idle", "fail", &["keeps it open", "--ping-interval 2s"]);
    found.assert("sse-idle", "fail", &["--heartbeat 2s"]);
    found.assert("stays-open", "ok", &[]);
    let summary = found.report["summary"].as_str().expect("a summary");
    assert!(summary.ends_with("WebSockets, Server-Sent Events and long polls do not"), "{summary}");
}

#[test]
fn a_connection_that_is_closed_right_after_the_upgrade_is_told_from_one_that_does_not_open() {
    let server = Sockeye::serve(&[]);
    let between = Middlebox::before(server.address(), Manner::EndsAfterUpgrade);
    let found = examine(&["--idle", "0s", &between.http("/c/chat")]);
    found.assert("websocket", "ok", &["opens over HTTP/1.1"]);
    found.assert("stays-open", "fail", &["after it had opened", "something in between kills"]);
    found.assert("sse", "ok", &[]);
    assert_eq!(found.code, Some(1));
}

#[test]
fn where_websockets_are_blocked_the_rest_is_said_to_work() {
    let server = Sockeye::serve(&[]);
    let between = Middlebox::before(server.address(), Manner::ForbidsUpgrade);
    let found = examine(&["--idle", "1s", &between.http("/c/chat")]);
    found.assert_failed(&["websocket", "v1"]);
    found.assert("websocket", "fail", &["the connection ends during the handshake", "wss://"]);
    let summary = "Server-Sent Events and long polls work from here, WebSockets do not";
    assert_eq!(found.report["summary"], summary);
}

#[test]
fn a_clock_that_is_wrong_is_warned_of_and_is_no_failure() {
    let server = Sockeye::serve(&[]);
    let between = Middlebox::before(server.address(), Manner::ChangesDate);
    let found = examine(&["--idle", "0s", &between.http("/c/chat")]);
    found.assert_failed(&[]);
    found.assert("clock", "warn", &["days behind this machine's", "NTP"]);
}

#[test]
fn a_first_byte_that_comes_late_is_warned_of() {
    let server = Sockeye::serve(&[]);
    let between = Middlebox::before(server.address(), Manner::IsSlow(Duration::from_millis(1_500)));
    let found = examine(&["--idle", "0s", &between.http("/c/chat")]);
    found.assert_failed(&[]);
    found.assert("http", "warn", &["in 1.5 s", "comes late"]);
}

/// An HTTP proxy that opens each tunnel to the same server, whatever the name.
fn tunnels_to(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(server).expect("the server");
            let mut near = stream.try_clone().expect("a second handle");
            let mut peer = Peer::new(stream);
            assert!(peer.read_head().first_line.starts_with("CONNECT live.invalid:"));
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("the client reads");
            let (mut back, mut there) = (far.try_clone().expect("a second handle"), far);
            let mut from = near.try_clone().expect("a second handle");
            thread::spawn(move || copy(&mut from, &mut there));
            thread::spawn(move || copy(&mut back, &mut near));
        }
    });
    address
}

#[test]
fn the_proxy_of_the_environment_is_named_and_gone_through() {
    let server = Sockeye::serve(&["--allow-origin", "http://live.invalid", "--open"]);
    let proxy = format!("http://{}", tunnels_to(server.address()));
    let args = ["doctor", "--json", "--idle", "0s", "http://live.invalid/c/chat"];
    let output = run_with_env(&args, &[("http_proxy", &proxy)]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("the environment names {proxy}")), "{text}");
    assert!(text.contains("through the proxy in"), "{text}");
    // Where it is excepted, there is no such name.
    let output = run_with_env(&args, &[("http_proxy", &proxy), ("no_proxy", "invalid")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("none: http_proxy is set, and not for live.invalid"), "{text}");
    assert!(text.contains("live.invalid has no address"), "{text}");
    // One that is not there is told by its name.
    let output = run_with_env(&args, &[("http_proxy", "http://127.0.0.1:1")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("the proxy http://127.0.0.1:1: it was not reached"), "{text}");
}

#[test]
fn an_origin_that_may_not_is_told_and_one_that_may_is_ok() {
    let server = Sockeye::serve(&["--allow-origin", "https://app.example"]);
    let url = server.http("/c/chat");
    let may = examine(&["--idle", "0s", "--origin", "https://app.example", &url]);
    may.assert_failed(&[]);
    may.assert("origin", "ok", &["pages of https://app.example"]);
    let other = examine(&["--idle", "0s", "--origin", "https://other.example", &url]);
    assert_eq!(other.code, Some(1));
    other.assert("http", "fail", &["403", "--allow-origin"]);
}
