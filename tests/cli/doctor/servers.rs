//! Servers that are well, and those that are none.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use sockeye_testing::handshake::Head;
use sockeye_tests::curl::curl;
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::tls::Certificates;

use super::examine;

/// Every check of a channel.
const OF_CHANNEL: [&str; 16] = [
    "proxy",
    "resolve",
    "connect",
    "http",
    "clock",
    "websocket",
    "stays-open",
    "compression",
    "http2",
    "v1",
    "sse",
    "ndjson",
    "origin",
    "websocket-idle",
    "sse-idle",
    "longpoll",
];

#[test]
fn of_a_channel_every_check_is_ok_and_nothing_is_published() {
    let server = Sockeye::serve(&[]);
    let found = examine(&["--idle", "1s", &server.http("/c/chat")]);
    assert_eq!(found.with("ok"), OF_CHANNEL, "{:#}", found.report);
    found.assert_failed(&[]);
    found.assert("longpoll", "ok", &["held for 1.0 s"]);
    found.assert("websocket-idle", "ok", &["open after 1.0 s in which nothing was said"]);
    assert_eq!(found.of("websocket")["values"]["ms"].as_f64().map(|ms| ms > 0.0), Some(true));
    let summary =
        "WebSockets, WebSockets over HTTP/2, Server-Sent Events and long polls work from here";
    assert_eq!(found.report["summary"], summary);
    let history = curl(&[&server.http("/c/chat")]);
    assert!(history.contains("\"messages\":[]"), "{history}");
}

#[test]
fn over_tls_the_certificate_and_the_versions_are_told() {
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Sockeye::serve(&flags);
    let authority = certificates.authority();
    let trust = ["--cacert", authority.to_str().expect("UTF-8"), "--idle", "0s"];
    let url = format!("https://localhost:{}/c/chat", server.address().port());
    let found = examine(&[&trust[..], &[&url]].concat());
    found.assert_failed(&[]);
    found.assert("tls", "ok", &["TLS 1.3", "negotiates HTTP/2"]);
    found.assert("certificate", "ok", &["for localhost, 127.0.0.1", "the tests' own authority"]);
    found.assert("tls-versions", "ok", &["TLS 1.2 and 1.3"]);
    found.assert("http2", "ok", &["opens over HTTP/2"]);
    found.assert("origin", "ok", &["pages of https://localhost"]);
}

#[test]
fn certificates_that_have_expired_or_are_for_another_name_are_told_with_what_to_do() {
    let expired = Certificates::self_signed("localhost", 2019, 2020);
    let flags = ["--tls-cert", &expired.certificate(), "--tls-key", &expired.key()];
    let server = Sockeye::serve(&flags);
    let url = format!("https://localhost:{}/c/chat", server.address().port());
    let found = examine(&["--cacert", &expired.certificate(), &url]);
    found.assert_failed(&["tls", "certificate"]);
    found.assert("tls", "fail", &["expired", "days ago", "needs a new one"]);
    found.assert("certificate", "fail", &["for localhost", "signed by itself", "expired"]);

    let other = Certificates::self_signed("other.example", 2020, 4000);
    let flags = ["--tls-cert", &other.certificate(), "--tls-key", &other.key()];
    let server = Sockeye::serve(&flags);
    let url = format!("wss://localhost:{}/c/chat", server.address().port());
    let found = examine(&["--cacert", &other.certificate(), &url]);
    found.assert_failed(&["tls"]);
    found.assert("tls", "fail", &["is for other.example, and not for localhost"]);
    found.assert("certificate", "ok", &["for other.example"]);
}

#[test]
fn tls_where_there_is_none_and_the_reverse_are_told() {
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (secure, plain) = (Sockeye::serve(&flags), Sockeye::serve(&[]));
    let to_plain = examine(&[&plain.http("/c/chat").replace("http", "https")]);
    to_plain.assert_failed(&["tls"]);
    to_plain.assert("tls", "fail", &["does not speak TLS on this port", "ws:// or http://"]);
    let to_secure = examine(&[&secure.http("/c/chat").replace("https", "http")]);
    to_secure.assert_failed(&["http"]);
    to_secure.assert("http", "fail", &["write wss:// or https://"]);
}

#[test]
fn over_a_unix_socket_a_channel_is_examined_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.sock");
    let path = path.to_str().expect("UTF-8");
    let _server = Sockeye::serve(&["--listen", &format!("unix:{path}")]);
    let found = examine(&["--idle", "0s", "--unix-socket", path, "http://localhost/c/chat"]);
    found.assert_failed(&[]);
    found.assert("proxy", "skip", &["Unix socket"]);
    found.assert("connect", "ok", &["to the Unix socket"]);
    found.assert("sse", "ok", &["the first byte"]);
}

#[test]
fn of_any_websocket_what_is_there_is_examined_and_no_more() {
    let server = Sockeye::echo(&[]);
    let found = examine(&["--idle", "1s", &server.ws("/")]);
    found.assert_failed(&[]);
    found.assert("websocket", "ok", &["opens over HTTP/1.1"]);
    found.assert("compression", "ok", &["permessage-deflate"]);
    found.assert("http2", "skip", &["with TLS alone"]);
    assert!(found.findings().iter().all(|finding| finding["check"] != "sse"));
    let none = Sockeye::echo(&["--deflate", "off"]);
    let found = examine(&["--idle", "0s", &none.ws("/")]);
    found.assert("compression", "ok", &["none: the server does not agree"]);
}

#[test]
fn where_there_is_no_channel_the_answer_and_what_to_do_are_told() {
    let server = Sockeye::serve(&[]);
    let missing = examine(&["--idle", "0s", &server.http("/nowhere")]);
    missing.assert_failed(&["http"]);
    missing.assert("http", "fail", &["404", "not_found", "/c/NAME"]);
    let missing = examine(&["--idle", "0s", &server.ws("/nowhere")]);
    missing.assert_failed(&["websocket"]);
    missing.assert("websocket", "fail", &["404", "/c/NAME"]);
    let console = examine(&["--idle", "0s", &server.http("/")]);
    console.assert_failed(&[]);
    console.assert("live", "warn", &["neither a WebSocket nor an event stream"]);
}

#[test]
fn a_token_that_is_missing_is_told_and_one_that_is_given_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "only for tests: 0f1e2d3c4b5a69788796a5b4c3d2e1f0").expect("a key");
    let key = key.to_str().expect("UTF-8");
    let server = Sockeye::serve(&["--auth-key", key]);
    let without = examine(&["--idle", "0s", &server.http("/c/chat")]);
    without.assert_failed(&["http"]);
    without.assert("http", "fail", &["401", "--token"]);
    let minted = run(&["token", "--key", key, "--channel", "chat=read,write"], "");
    let token = String::from_utf8(minted.stdout).expect("a token");
    let with = examine(&["--idle", "0s", "--token", token.trim(), &server.http("/c/chat")]);
    with.assert_failed(&[]);
}

#[test]
fn names_that_do_not_resolve_and_closed_ports_are_told() {
    let unknown = examine(&["http://nowhere.invalid/c/chat"]);
    unknown.assert_failed(&["resolve"]);
    unknown.assert("resolve", "fail", &["nowhere.invalid has no address", "resolver"]);
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/c/chat", closed.local_addr().expect("an address"));
    drop(closed);
    let refused = examine(&[&url]);
    refused.assert_failed(&["connect"]);
    refused.assert("connect", "fail", &["refuses connections", "is the server running"]);
    assert_eq!(refused.report["summary"], "nothing live works from here");
}

/// A server that says this on each connection, and leaves it open.
fn says(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            // An answer needs a request; other protocols begin by themselves.
            if !text.starts_with("HTTP/") || Head::read(&mut stream).is_ok() {
                let _ = stream.write_all(text.as_bytes());
                open.push(stream);
            }
        }
    });
    address.to_string()
}

#[test]
fn what_is_no_server_of_http_is_told_with_its_first_words() {
    let address = says("SSH-2.0-OpenSSH_9.9\r\n");
    let found = examine(&["--timeout", "2s", &format!("ws://{address}/")]);
    found.assert_failed(&["http"]);
    found.assert("http", "fail", &["does not speak HTTP", "SSH-2.0-OpenSSH_9.9", "port"]);
}

#[test]
fn any_event_stream_is_examined_and_one_without_events_is_told() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let stream = says("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hi\n\n");
    let found = examine(&["--idle", "1s", &format!("http://{stream}/events")]);
    found.assert_failed(&[]);
    found.assert("sse", "ok", &["the first byte"]);
    found.assert("sse-idle", "ok", &["open after 1.0 s"]);
    found.assert("websocket", "skip", &["200"]);
    let mute = says(head);
    let found = examine(&["--idle", "0s", "--timeout", "1s", &format!("http://{mute}/events")]);
    found.assert_failed(&[]);
    found.assert("sse", "warn", &["nothing after it in 1.0 s", "proxy_buffering off"]);
}
