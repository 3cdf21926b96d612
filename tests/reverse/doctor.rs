//! `sockeye doctor` behind nginx: as the guide has it, with its default buffering, and as unhelpful as some are.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use serde_json::Value;
use sockeye_testing::handshake::Head;
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::reverse_proxy::{Kind, ReverseProxy};

/// The report, and what of it has this verdict.
fn examine(args: &[&str], verdict: &str) -> (Value, Vec<String>) {
    let output = run(&[&["doctor", "--json", "--idle", "1s"], args].concat(), "");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings").clone();
    let of = findings.iter().filter(|finding| finding["verdict"] == verdict);
    let names = of.filter_map(|finding| finding["check"].as_str().map(str::to_owned)).collect();
    (report, names)
}

fn finding<'r>(report: &'r Value, check: &str) -> &'r Value {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["check"] == check).expect("the check was made")
}

#[test]
fn behind_nginx_with_its_default_buffering_a_channel_is_well() {
    let server = Sockeye::serve(&[]);
    // Buffering is on where nothing is said of it: the server's answers switch it off.
    let proxy = ReverseProxy::start(Kind::Nginx, server.address());
    let (report, failed) = examine(&[&proxy.http("/c/chat")], "fail");
    assert!(failed.is_empty(), "{report:#}");
    assert_eq!(finding(&report, "sse")["verdict"], "ok", "{report:#}");
}

#[test]
fn behind_an_nginx_that_holds_streams_back_and_drops_upgrade_both_are_told() {
    let server = Sockeye::serve(&[]);
    let proxy = ReverseProxy::start_with(Kind::Nginx, server.address(), |configuration| {
        let lines = configuration.lines().filter(|line| !line.contains("pgrade;"));
        let configuration: String = lines.map(|line| format!("{line}\n")).collect();
        let unhelpful = "proxy_http_version 1.0;\nproxy_ignore_headers X-Accel-Buffering;";
        configuration.replace("proxy_http_version 1.1;", unhelpful)
    });
    let (report, failed) = examine(&["--timeout", "2s", &proxy.http("/c/chat")], "fail");
    assert_eq!(failed, ["websocket", "v1", "sse", "ndjson"], "{report:#}");
    let sse = finding(&report, "sse");
    let told = format!("{} {}", sse["figure"], sse["advice"]);
    assert!(told.contains("held back") && told.contains("proxy_buffering off"), "{told}");
    let websocket = finding(&report, "websocket").to_string();
    assert!(websocket.contains("drops the headers Upgrade"), "{websocket}");
    assert_eq!(finding(&report, "longpoll")["verdict"], "ok", "{report:#}");
}

/// An event stream of no great care: nothing in its head says that it is not to be buffered.
fn careless_events() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            if Head::read(&mut stream).is_ok() {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
                let _ = stream.write_all(head.as_bytes());
            }
            open.push(stream);
        }
    });
    address
}

#[test]
fn events_of_another_server_that_nginx_buffers_are_said_to_be_held_back() {
    let events = careless_events();
    let straight = format!("http://{events}/events");
    let (report, failed) = examine(&["--timeout", "2s", &straight], "fail");
    assert!(failed.is_empty(), "{report:#}");
    let proxy = ReverseProxy::start(Kind::Nginx, events);
    let (report, failed) = examine(&["--timeout", "2s", &proxy.http("/events")], "fail");
    assert!(failed.contains(&"sse".to_owned()), "{report:#}");
    let sse = finding(&report, "sse").to_string();
    assert!(sse.contains("holds them back"), "{sse}");
}
