//! How a node starts: it waits for NATS, and refuses what waiting does not mend.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use sockeye_testing::eventually;
use sockeye_tests::curl::{Stream, curl, status};
use sockeye_tests::nats::Nats;
use sockeye_tests::program::{Sockeye, assert_fails, run};

use super::{json, node};

/// What `serve` with these options says when it refuses to start.
fn refused(options: &[&str]) -> String {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "off"];
    let output = run(&[&serve, options].concat(), "");
    assert_fails(&output, 1);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until the node says that it is ready.
fn becomes_ready(node: &Sockeye) {
    eventually("the node is ready", || {
        let said = node.shows_operators_at_all("/readyz");
        if said == "ready\n" { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_node_that_starts_before_nats_listens_and_gets_ready_by_itself() {
    let mut nats = Nats::prepare("");
    let mut node = node(&nats, &[]);
    assert_eq!(node.shows_operators("/healthz"), "ok\n");
    let said = node.shows_operators_at_all("/readyz");
    assert!(said.contains("NATS cannot be reached at nats://127."), "{said}");
    let url = node.http("/c/chat");
    for request in [&["-d", "early", &url][..], &[&url], &["-X", "DELETE", &url]] {
        assert_eq!(status(request), 503, "{request:?}");
    }
    let before = node.shows_operators("/metrics");
    nats.start_all();
    becomes_ready(&node);
    let mut stream = Stream::open(&[&node.http("/c/chat?stream=sse")]);
    stream.until("id: ");
    let _ = curl(&["-d", "hello", &url]);
    let shown = stream.until("data: hello");
    assert!(!shown.contains("early"), "{shown}");
    let page = json(&curl(&[&node.http("/c/chat?after=earliest")]));
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
    let names = |shown: &str| {
        let lines = shown.lines().filter(|line| line.starts_with("sockeye_cluster_"));
        lines.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&node.shows_operators("/metrics")));
    node.assert_sound();
}

#[test]
fn a_node_that_waits_ends_when_it_is_refused() {
    let mut nats = Nats::prepare("authorization { user: ann, password: secret }");
    let mut node = node(&nats, &[]);
    assert_eq!(node.shows_operators("/healthz"), "ok\n");
    nats.start_all();
    assert_eq!(node.wait().code(), Some(1));
    node.wait_for("refuses the user: check --cluster-creds");
}

#[test]
fn a_server_that_is_too_old_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || old_server(&listener));
    let why = refused(&["--cluster", &url]);
    assert!(why.contains("is nats-server 2.9.10: take 2.12 or newer"), "{why}");
}

/// As much of an old server as a client needs to connect.
fn old_server(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let info = r#"{"server_id":"N","server_name":"old","version":"2.9.10","proto":1,"host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576}"#;
        let _ = stream.write_all(format!("INFO {info}\r\n").as_bytes());
        let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
        for line in lines.map_while(Result::ok).filter(|line| line == "PING") {
            let _ = stream.write_all(line.replace("PING", "PONG\r\n").as_bytes());
        }
    }
}

#[test]
fn nats_without_jetstream_is_refused() {
    let nats = Nats::start_without_jetstream();
    let why = refused(&["--cluster", &nats.url(0)]);
    assert!(why.contains("has no JetStream for this account: write `jetstream {}`"), "{why}");
    let lines = "accounts { PLAIN { users: [ { user: ann, password: secret } ] } }";
    let nats = Nats::start_with(lines);
    let url = nats.url(0).replace("nats://", "nats://ann:secret@");
    let why = refused(&["--cluster", &url]);
    assert!(why.contains("has no JetStream for this account"), "{why}");
    assert!(!why.contains("secret"), "{why}");
}

#[test]
fn replicas_that_cannot_be_had_are_refused() {
    let nats = Nats::start();
    let why = refused(&["--cluster", &nats.urls(), "--cluster-replicas", "5"]);
    assert!(why.contains("NATS cannot keep 5 replicas: start more of its servers"), "{why}");
}

#[test]
fn nats_that_takes_too_small_messages_for_presence_is_refused() {
    let nats = Nats::start_with("max_payload: 256KB");
    let why = refused(&["--cluster", &nats.urls()]);
    assert!(
        why.contains("tell each other of presence in up to 524288: set its max_payload"),
        "{why}"
    );
}

/// The permissions of the documentation, for a user of the cluster `sockeye`.
fn permissions(without: &str) -> String {
    let publish =
        ["sockeye.c.>", "sockeye.n.>", "sockeye.t.>", "sockeye.s", "_INBOX.>", "$JS.API.>"];
    let allowed: Vec<_> = publish.iter().filter(|subject| **subject != without).collect();
    format!(
        "accounts {{ A {{ jetstream: enabled, users: [ {{ user: ann, password: secret, permissions: {{ \
         publish: {{ allow: {allowed:?}, deny: [\"sockeye.l.>\"] }}, \
         subscribe: {{ allow: [\"sockeye.>\", \"_INBOX.>\"] }} }} }} ] }} }}"
    )
}

/// With permissions for another name, or without one of them, a node says so and makes nothing.
#[test]
fn a_user_without_the_permissions_of_the_cluster_is_refused() {
    let nats = Nats::start_with(&permissions(""));
    let urls = nats.urls().replace("nats://", "nats://ann:secret@");
    let why = refused(&["--cluster", &urls, "--cluster-name", "other", "--cluster-shards", "2"]);
    assert!(why.contains("forbids the user what a node of this cluster does: give it"), "{why}");
    assert!(why.contains("--cluster-name") && why.contains("other."), "{why}");
    assert!(!why.contains("secret"), "{why}");
    // It takes no more than that: nothing was made under the other name.
    let node = Sockeye::serve(&["--cluster", &urls, "--cluster-shards", "2"]);
    becomes_ready(&node);
    assert!(nats.has_no_stream("other_c0"));
    nats.reconfigure(&permissions("sockeye.t.>"));
    let why = refused(&["--cluster", &urls]);
    assert!(why.contains("sockeye.t."), "{why}");
    // A node that is there already is told of what it can no longer do.
    let mut stream = Stream::open(&[&node.http("/c/chat?stream=sse")]);
    stream.until("id: ");
    nats.reconfigure(&permissions("sockeye.c.>"));
    // No server answers such a message, and it is not sent for ever.
    assert_eq!(status(&["-d", "hello", &node.http("/c/chat")]), 503);
    for page in ["/readyz", "/cluster"] {
        eventually("the node says what is forbidden", || {
            let said = node.shows_operators_at_all(page);
            if said.contains("Permissions Violation") { Ok(()) } else { Err(said) }
        });
    }
    // It finds out by itself that all is allowed again.
    nats.reconfigure(&permissions(""));
    becomes_ready(&node);
    assert_eq!(status(&["-d", "after", &node.http("/c/chat")]), 201);
    let shown = stream.until("data: after");
    assert!(!shown.contains("event: gap"), "{shown}");
}

/// What the server ends is made anew: what a node listens to, and what its clients are told.
#[test]
fn a_node_that_may_not_listen_for_a_while_is_not_ready_and_goes_on() {
    let nats = Nats::start_with(&permissions(""));
    let urls = nats.urls().replace("nats://", "nats://ann:secret@");
    let nodes = [(); 2].map(|()| Sockeye::serve(&["--cluster", &urls, "--cluster-shards", "2"]));
    nodes.iter().for_each(becomes_ready);
    let mut stream = Stream::open(&[&nodes[0].http("/c/chat?stream=sse")]);
    stream.until("id: ");
    let deaf = permissions("").replace("allow: [\"sockeye.>\", \"_INBOX", "allow: [\"_INBOX");
    assert_ne!(deaf, permissions(""));
    nats.reconfigure(&deaf);
    for node in &nodes {
        eventually("the node is not ready", || {
            let said = node.shows_operators_at_all("/readyz");
            let tells = said.contains("Permissions Violation for Subscription");
            if tells { Ok(()) } else { Err(said) }
        });
    }
    nats.reconfigure(&permissions(""));
    nodes.iter().for_each(becomes_ready);
    assert_eq!(status(&["-d", "after", &nodes[1].http("/c/chat")]), 201);
    let shown = stream.until("data: after");
    assert!(!shown.contains("event: gap"), "{shown}");
}

/// Nodes that start at the same moment all try to make the streams and their clocks: that is no error.
#[test]
fn three_nodes_that_start_at_once_log_no_error() {
    let nats = Nats::start();
    let nodes = thread::scope(|scope| {
        [(); 3]
            .map(|()| scope.spawn(|| node(&nats, &[])))
            .map(|node| node.join().expect("it starts"))
    });
    nodes.iter().for_each(becomes_ready);
    for node in nodes {
        let log = node.stop();
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[test]
fn a_login_that_is_refused_for_a_while_ends_nothing() {
    let users = |password: &str| {
        format!(
            "accounts {{ A {{ jetstream: enabled, users: [ {{ user: ann, password: {password} }} ] }} }}"
        )
    };
    let nats = Nats::start_with(&users("right"));
    let urls = nats.urls().replace("nats://", "nats://ann:right@");
    let node = Sockeye::serve(&["--cluster", &urls, "--cluster-shards", "2"]);
    becomes_ready(&node);
    let mut stream = Stream::open(&[&node.http("/c/chat?stream=sse")]);
    stream.until("id: ");
    nats.reconfigure(&users("other"));
    eventually("the node is not ready", || {
        let said = node.shows_operators_at_all("/readyz");
        match said.contains("NATS cannot be reached at") {
            true => Ok(()),
            false => Err(said),
        }
    });
    nats.reconfigure(&users("right"));
    becomes_ready(&node);
    let _ = curl(&["-d", "after", &node.http("/c/chat")]);
    let shown = stream.until("data: after");
    assert!(!shown.contains("event: gap"), "{shown}");
    let log = node.stop();
    assert!(!log.contains("right"), "{log}");
}
