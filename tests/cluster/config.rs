//! What a node refuses to start with, in one line that says what to do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::json;
use sockeye_tests::curl::curl;
use sockeye_tests::nats::Nats;
use sockeye_tests::program::{Sockeye, assert_fails, run};

use super::node;

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin", "off"];

#[test]
fn a_cluster_and_a_directory_exclude_each_other() {
    let both = ["--cluster", "nats://127.0.0.1:1", "--data", "/tmp/nowhere"];
    let output = run(&[&SERVE[..], &both].concat(), "");
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{why}");
    assert!(why.contains("--cluster") && why.contains("--data"), "{why}");
}

#[test]
fn another_history_is_refused() {
    let nats = Nats::start();
    drop(node(&nats, &[]));
    let urls = nats.urls();
    let other = ["--cluster", &urls, "--history-count", "7"];
    let output = run(&[&SERVE[..], &other].concat(), "");
    assert_fails(&output, 1);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("the cluster keeps 1000 messages"), "{why}");
    let fewer = ["--cluster", &urls, "--cluster-shards", "3"];
    let output = run(&[&SERVE[..], &fewer].concat(), "");
    assert_fails(&output, 1);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("made with --cluster-shards 2"), "{why}");
}

#[test]
fn a_password_is_not_shown() {
    let url = "nats://sockeye:s3cret@127.0.0.1:1";
    let output = run(&["serve", "--cluster", url, "--print-config"], "");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("cluster = \"nats://…@127.0.0.1:1\""), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

/// The configuration of `docs/operate/cluster.md`, as far as it is not about addresses.
#[test]
fn the_permissions_of_the_documentation_are_enough_and_no_more() {
    let page = include_str!("../../docs/operate/cluster.md");
    let accounts = page.split_once("\naccounts {").expect("the accounts").1;
    let accounts = accounts.split_once("\n```").expect("the end of the block").0;
    let accounts = accounts.replace("$SOCKEYE_PASSWORD", "s3cret");
    let nats = Nats::start_with(&format!("accounts {{{accounts}"));
    let urls = nats.urls().replace("nats://", "nats://sockeye:s3cret@");
    let options = ["--cluster", &urls, "--cluster-shards", "2"];
    let one = Sockeye::serve(&options);
    let two = Sockeye::serve(&options);
    let _ = curl(&["-d", "hello", &one.http("/c/chat")]);
    let _ = curl(&["-X", "DELETE", &one.http("/c/chat")]);
    let _ = curl(&["-d", "again", &one.http("/c/chat")]);
    let page = super::json(&curl(&[&two.http("/c/chat?after=earliest")]));
    assert_eq!(page["messages"][0]["data"], "again", "{page}");
    // What looks like a stored message comes from JetStream alone.
    let said = publish_as("sockeye", "s3cret", &nats.url(0), "sockeye.l.0.chat");
    assert!(said.contains("Permissions Violation for Publish"), "{said}");
    let status = run(&["cluster", "status", "--cluster", &urls], "");
    assert!(status.status.success(), "{status:?}");
    let apply = ["cluster", "apply", "--cluster", &urls, "--cluster-bytes", "1G"];
    let apply = run(&apply, "");
    assert!(apply.status.success(), "{apply:?}");
    for log in [one.stop(), two.stop()] {
        assert!(!log.contains("ermissions"), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
}

/// What a server of NATS says to a user that publishes there.
fn publish_as(user: &str, password: &str, url: &str, subject: &str) -> String {
    let address = url.strip_prefix("nats://").expect("a URL of NATS");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let hello = json!({ "user": user, "pass": password, "verbose": false });
    let sent = format!("CONNECT {hello}\r\nPUB {subject} 1\r\nx\r\nPING\r\n");
    stream.write_all(sent.as_bytes()).expect("the server reads");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("the server answers"));
    lines.take_while(|line| line != "PONG").collect()
}
