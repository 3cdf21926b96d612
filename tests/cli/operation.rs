//! Running `sockeye serve` for others: the address for operators, the log, the end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye_tests::curl::curl;
use sockeye_tests::dashboard;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Sockeye, assert_fails, run};

#[test]
fn it_tells_operators_how_it_is() {
    let server = Sockeye::serve(&[]);
    let _peer = Peer::open(server.address(), "/c/chat?as=ann");
    assert_eq!(server.shows_operators("/healthz"), "ok\n");
    assert_eq!(server.shows_operators("/readyz"), "ready\n");
    let metrics = server.shows_operators("/metrics");
    assert!(metrics.contains("sockeye_connections{transport=\"ws\"} 1\n"), "{metrics}");
    let connections: Value =
        serde_json::from_str(&server.shows_operators("/connections")).expect("JSON");
    assert_eq!(connections["connections"][0]["subject"], "ann");
}

/// Prometheus' own check of names, types and help, on what a server shows that has done a little.
#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let server = Sockeye::serve(&[]);
    let _peer = Peer::open(server.address(), "/c/chat?as=ann");
    let chat = server.http("/c/chat");
    for arguments in [&["-d", "hello"][..], &["-G", "-d", "after=-1"], &["-G", "-d", "wait=0"]] {
        let _ = curl(&[arguments, &[&*chat]].concat());
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("`cargo xtask test program` installs it");
    let metrics = server.shows_operators("/metrics");
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(metrics.as_bytes()).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
}

/// Prometheus' own parser, on each query as the expression of a rule.
#[test]
fn promtool_takes_every_query_of_the_dashboard() {
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, query) in dashboard::queries().iter().enumerate() {
        let query = Value::from(query.as_str());
        write!(rules, "  - record: query_{number}\n    expr: {query}\n").expect("a string");
    }
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(rules.as_bytes()).expect("room for it");
    let mut promtool = Command::new("promtool");
    let output = promtool.args(["check", "rules"]).arg(file.path()).output();
    let output = output.expect("`cargo xtask test program` installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{rules}");
}

#[test]
fn a_port_for_operators_that_is_taken_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--admin", &address], "");
    assert_fails(&output, 1);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&address) && said.contains("--admin"), "{said}");
}

#[test]
fn where_the_default_port_for_operators_is_taken_another_is_found_and_said() {
    // If it is not free for the test, another program has it, which is as good.
    let _holder = TcpListener::bind("127.0.0.1:8081");
    let program = sockeye_tests::program::path();
    let program = program.to_str().expect("UTF-8");
    let server = Sockeye::serve_by(program, &["serve", "--listen", "127.0.0.1:0"]);
    let told = server.wait_for("the default of --admin, is taken");
    assert!(told.contains("127.0.0.1:8081"), "{told}");
    assert_eq!(server.shows_operators("/healthz"), "ok\n");
}

#[test]
fn an_address_for_operators_that_others_reach_is_warned_of() {
    let server = Sockeye::serve(&[]);
    server.wait_for("admin on");
    assert!(!server.log().contains("--admin"), "{}", server.log());
    let program = sockeye_tests::program::path();
    let program = program.to_str().expect("UTF-8");
    let listen = ["serve", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"];
    let told = Sockeye::serve_by(program, &listen).wait_for("--admin");
    assert!(told.contains("WARN") && told.contains("without a token"), "{told}");
}

#[test]
fn the_log_is_json_on_demand_and_tells_no_tokens() {
    let server = Sockeye::serve(&["--log", "debug", "--log-format", "json"]);
    let peer = Peer::open(server.address(), "/c/chat?as=ann&ticket=secret-ticket");
    let _ = curl(&["-H", "Authorization: Bearer secret-token", &server.http("/c/chat")]);
    drop(peer);
    let line = server.wait_for("\"connection ended\"");
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(line["transport"], "ws");
    assert_eq!(line["subject"], "ann");
    assert_eq!(line["reason"], "left");
    assert_eq!(line["address"], "127.0.0.1");
    let log = server.log();
    assert!(log.contains("\"path\":\"/c/chat\""), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn refused_requests_are_logged_and_others_are_not_unless_asked_for() {
    let server = Sockeye::serve(&["--log", "info"]);
    let refused = |path: &str| {
        let mut peer = Peer::connect(server.address());
        let host = server.address();
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: https://example.org\r\n\r\n");
        peer.send(head.as_bytes(), Chunks::Whole);
        assert_eq!(peer.read_head().status(), 403);
        server.wait_for(path);
    };
    refused("/c/first");
    let _ = curl(&[&server.http("/c/quiet")]);
    refused("/c/second");
    assert!(!server.log().contains("/c/quiet"), "{}", server.log());
}

#[test]
fn clients_are_closed_over_the_drain_and_a_second_signal_ends_it_at_once() {
    let mut server = Sockeye::serve(&["--drain", "60s"]);
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::open(server.address(), "/c/chat")).collect();
    let begun = Instant::now();
    server.interrupt();
    // One is closed every 50 ms: not all at once, and none waits for the whole minute. Those that
    // do not answer their Close hold the server.
    let closes: Vec<u16> =
        peers.iter_mut().map(|peer| peer.read().close_code().unwrap_or(0)).collect();
    assert_eq!(closes, vec![1012; 20]);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(700), "all in {took:?}");
    server.interrupt();
    assert!(server.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn refused_requests_are_logged_with_the_client_that_a_trusted_proxy_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket").to_str().expect("UTF-8").to_owned();
    let options = ["--trust-proxy", "127.0.0.1", "--trust-proxy", "unix"];
    let listen = ["--listen", &format!("unix:{socket}")];
    let server = Sockeye::serve_logging("info", &[&options[..], &listen].concat());
    let refused =
        ["--no-fail-with-body", "--output", "/dev/null", "--header", "Origin: https://example.org"];
    let headers = [("x", "X-Forwarded-For: 192.0.2.7"), ("f", "Forwarded: for=192.0.2.7")];
    for (name, header) in headers {
        let (tcp, unix) = (format!("/c/tcp-{name}"), format!("/c/unix-{name}"));
        let named = ["--header", header];
        let by_tcp = [&*server.http(&tcp)];
        let by_socket = ["--unix-socket", &socket, &format!("http://localhost{unix}")];
        for (way, path) in [(&by_tcp[..], tcp), (&by_socket, unix)] {
            let _ = curl(&[&refused[..], &named, way].concat());
            let line = server.wait_for(&path);
            assert!(line.contains("address=192.0.2.7"), "{line}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_taken_is_named_with_what_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    std::fs::write(path("file"), "").expect("a file");
    let _other = std::os::unix::net::UnixListener::bind(path("socket")).expect("a socket");
    for (name, expected) in [("file", "is not a socket"), ("socket", "another program listens")] {
        let output = run(&["serve", "--listen", &format!("unix:{}", path(name))], "");
        assert_fails(&output, 1);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected) && !said.contains("port"), "{said}");
    }
}
