//! What operators see and change: `sockeye cluster status` and `apply`, `/cluster`, a node that is drained.

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::Value;
use sockeye_testing::eventually;
use sockeye_tests::curl::{Stream, curl};
use sockeye_tests::nats::Nats;
use sockeye_tests::program::{Sockeye, assert_fails, run};

use super::{Cluster, json, messages, node, position};

/// `sockeye cluster` with these arguments, for the cluster at these servers.
fn cluster(nats: &Nats, arguments: &[&str]) -> Output {
    let (command, options) = arguments.split_first().expect("a command");
    run(&[&["cluster", command, "--cluster", &nats.urls()], options].concat(), "")
}

/// The exit code of `sockeye cluster status`, and what it says.
fn status(nats: &Nats, options: &[&str]) -> (Option<i32>, String) {
    let output = cluster(nats, &[&["status"], options].concat());
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `sockeye cluster apply` prints, which it does.
fn applied(nats: &Nats, options: &[&str]) -> String {
    let output = cluster(nats, &[&["apply"], options].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `sockeye cluster apply` says when it refuses.
fn not_applied(nats: &Nats, options: &[&str]) -> String {
    let output = cluster(nats, &[&["apply"], options].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end().lines().count(), 1, "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn status_shows_a_cluster_and_says_what_is_wrong() {
    let mut cluster = Cluster::start();
    cluster.publish(0, "chat", "hello");
    cluster.nats.wait_healthy();
    let monitor = cluster.nats.monitor_url(1);
    let said = eventually("all is well", || {
        let (code, said) = status(&cluster.nats, &["--monitor", &monitor]);
        if code == Some(0) { Ok(said) } else { Err(said) }
    });
    for part in ["cluster sockeye", "n0", "n1", "n2", "2.15.1", "all is well", "n1 syncs its disk"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(said.matches(" ready ").count(), 3, "three nodes: {said}");
    assert_eq!(status(&cluster.nats, &["--nodes", "3"]).0, Some(0));
    let (code, fewer) = status(&cluster.nats, &["--nodes", "4"]);
    assert!(code == Some(1) && fewer.contains("WRONG: 3 of 4 nodes answer ("), "{fewer}");
    let (_, fewer) = status(&cluster.nats, &["--nodes", "4", "--json"]);
    assert_eq!(json(&fewer)["well"], false, "{fewer}");
    let lines: Vec<_> = said.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("shard")).expect("shards");
    assert!(lines[first + 1].starts_with("0 ") && lines[first + 2].starts_with("1 "), "{said}");
    // A server dies: the streams have two copies of three.
    cluster.nats.kill(2);
    eventually("status tells of the server", || {
        let (code, said) = status(&cluster.nats, &[]);
        let tells = said.contains("WRONG: the server n2 is away or catches up")
            && said.contains("does not answer");
        if code == Some(1) && tells { Ok(()) } else { Err(said) }
    });
    // And a second one: there is no leader.
    cluster.nats.kill(1);
    eventually("status tells that nothing is published", || {
        let output = super::operating::cluster(&cluster.nats, &["status"]);
        let said = format!("{output:?}");
        // A server that follows answers for a stream without a leader, unless it has just lost it.
        let tells = said.contains("shards 0 and 1 have no leader")
            || said.contains("JetStream does not answer");
        if tells && output.status.code() == Some(1) { Ok(()) } else { Err(said) }
    });
}

#[test]
fn status_as_json_and_the_page_of_a_node_say_the_same() {
    let nats = Nats::start();
    let nodes = [(); 2].map(|()| node(&nats, &[]));
    let _ = curl(&["-d", "hello", &nodes[0].http("/c/chat")]);
    let monitor = nats.monitor_url(0);
    let (code, said) = eventually("all is well", || {
        let (code, said) = status(&nats, &["--json", "--monitor", &monitor]);
        if code == Some(0) { Ok((code, said)) } else { Err(said) }
    });
    let (told, shown) = (json(&said), json(&nodes[1].shows_operators("/cluster")));
    assert_eq!((code, &told["well"]), (Some(0), &true.into()), "{said}");
    assert_eq!(told["sync"][0]["always"], false, "{said}");
    for status in [&told, &shown] {
        assert_eq!(status["cluster"], "sockeye");
        assert_eq!(status["nodes"].as_array().map(Vec::len), Some(2), "{status}");
        assert_eq!(status["shards"].as_array().map(Vec::len), Some(2), "{status}");
        for node in status["nodes"].as_array().expect("nodes") {
            let known = node["known"].as_array().expect("sequences");
            assert_eq!((&node["ready"], known.len()), (&true.into(), 2), "{status}");
        }
    }
    let line = nodes[1].wait_for("admin on ");
    let admin = line.split_once("admin on ").expect("it was found by that").1;
    let page = curl(&["-i", "-H", "Accept: text/html", &format!("{admin}/cluster")]).to_lowercase();
    assert!(page.contains("content-type: text/html") && page.contains("<table"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    for file in ["cluster.js", "cluster.css"] {
        assert!(page.contains(file) && !nodes[1].shows_operators(&format!("/{file}")).is_empty());
    }
    let names = |status: &Value| {
        let nodes = status["nodes"].as_array().into_iter().flatten();
        nodes.map(|node| node["node"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&told), names(&shown));
    let ids = nodes.each_ref().map(|node| format!(":{}", node.id()));
    for id in ids {
        assert!(
            names(&told).iter().any(|name| name.as_str().is_some_and(|name| name.ends_with(&id)))
        );
    }
}

#[test]
fn what_cannot_be_asked_is_one_line() {
    let nats = Nats::start();
    let output = cluster(&nats, &["status"]);
    assert_fails(&output, 1);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("there is no cluster sockeye at nats://127."), "{why}");
    let output = run(&["cluster", "status", "--cluster", "nats://127.0.0.1:1"], "");
    assert_fails(&output, 1);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("NATS cannot be reached at nats://127.0.0.1:1"), "{why}");
    let monitor = ["status", "--monitor", "http://127.0.0.1:1"];
    drop(node(&nats, &[]));
    let output = cluster(&nats, &monitor);
    assert_fails(&output, 1);
    assert_eq!(run(&["cluster", "status"], "").status.code(), Some(2));
}

#[test]
fn apply_changes_replicas_and_limits_and_says_what() {
    let nats = Nats::start();
    let one = node(&nats, &["--cluster-replicas", "1"]);
    let _ = curl(&["-d", "hello", &one.http("/c/chat")]);
    assert!(applied(&nats, &[]).contains("every stream is as it should be"));
    let said = applied(&nats, &["--cluster-replicas", "3", "--dry-run"]);
    assert!(said.contains("num_replicas: 1 → 3") && said.contains("nothing is changed"), "{said}");
    let said = applied(&nats, &["--cluster-replicas", "3", "--cluster-bytes", "1G"]);
    assert!(said.contains("sockeye_c0 to sockeye_c1"), "{said}");
    assert!(said.contains("num_replicas: 1 → 3") && said.contains("max_bytes: -1 →"), "{said}");
    eventually("three servers have each stream", || {
        let (code, said) = status(&nats, &[]);
        if code == Some(0) && said.contains("512.0M") { Ok(()) } else { Err(said) }
    });
    // The node has gone on, and another one is told the same.
    let _ = curl(&["-d", "again", &one.http("/c/chat")]);
    let two = node(&nats, &["--cluster-replicas", "3"]);
    let page = json(&curl(&[&two.http("/c/chat?after=earliest")]));
    assert_eq!(messages(&page).len(), 2, "{page}");
    let why = not_applied(&nats, &["--cluster-replicas", "5"]);
    assert!(why.contains("NATS cannot keep 5 replicas"), "{why}");
    let why = not_applied(&nats, &["--cluster-bytes", "20"]);
    assert!(why.contains("sockeye_c") && why.contains("say a larger --cluster-bytes"), "{why}");
}

/// What was dropped under the smaller history is told as a gap under the larger one.
#[test]
fn a_larger_history_hides_nothing_of_what_is_gone() {
    let nats = Nats::start();
    let small = node(&nats, &["--history-count", "3"]);
    let publish =
        |node: &Sockeye, text: &str| position(&json(&curl(&["-d", text, &node.http("/c/chat")])));
    let at: Vec<_> = (0..6).map(|number| publish(&small, &format!("{number}"))).collect();
    let _ = small.stop();
    let said = applied(&nats, &["--history-count", "10"]);
    assert!(said.contains("history: 3 messages") && said.contains("start every node"), "{said}");
    let large = node(&nats, &["--history-count", "10"]);
    // One more than was shown is kept.
    let page = json(&curl(&[&large.http(&format!("/c/chat?after={}", at[0]))]));
    assert_eq!(messages(&page).len(), 4, "{page}");
    assert_eq!(page["gap"]["why"], "expired", "{page}");
    let page = json(&curl(&[&large.http(&format!("/c/chat?after={}", at[1]))]));
    assert!(page["gap"].is_null() && messages(&page).len() == 4, "{page}");
    for number in 6..20 {
        publish(&large, &format!("{number}"));
    }
    let page = json(&curl(&[&large.http("/c/chat?after=earliest")]));
    assert_eq!(messages(&page).len(), 10, "{page}");
}

#[test]
fn a_smaller_history_is_refused_until_loss_is_allowed_and_no_node_runs() {
    let nats = Nats::start();
    let one = node(&nats, &[]);
    let first = position(&json(&curl(&["-d", "first", &one.http("/c/chat")])));
    for number in 0..6 {
        let _ = curl(&["-d", &format!("{number}"), &one.http("/c/chat")]);
    }
    let why = not_applied(&nats, &["--history-count", "3"]);
    assert!(why.contains("--history-count 3 would drop messages that are stored"), "{why}");
    let why = not_applied(&nats, &["--history-count", "3", "--allow-loss"]);
    assert!(
        why.contains(&format!(":{}", one.id())) && why.contains("stop the nodes first"),
        "{why}"
    );
    let _ = one.stop();
    applied(&nats, &["--history-count", "3", "--allow-loss"]);
    let one = node(&nats, &["--history-count", "3"]);
    let page = json(&curl(&[&one.http(&format!("/c/chat?after={first}"))]));
    assert_eq!(messages(&page).len(), 3, "{page}");
    assert_eq!(page["gap"]["why"], "expired", "{page}");
}

/// A node is stopped as an orchestrator does it, while others publish and read: its readers go on at
/// another node, and every publication is there.
#[test]
fn a_node_that_is_drained_loses_no_client() {
    let nats = Nats::start();
    let [leaving, staying] = [(); 2].map(|()| node(&nats, &["--drain", "10s"]));
    let mut streams: Vec<_> =
        (0..4).map(|_| Stream::open(&[&leaving.http("/c/chat?stream=sse")])).collect();
    for stream in &mut streams {
        stream.until("id: ");
    }
    let (stopped, addresses) = (AtomicBool::new(false), [leaving.http(""), staying.http("")]);
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_until(&stopped, &addresses));
        streams[0].until("data: 20.");
        leaving.terminate();
        // The node tells its readers to go, each at a time of its own.
        let seen: Vec<_> = streams.iter_mut().map(|stream| stream.rest().to_owned()).collect();
        stopped.store(true, Relaxed);
        let mut published = publisher.join().expect("the publisher ends");
        // What every reader has still to come, however far it was.
        let _ = curl(&["-d", "end", &staying.http("/c/chat")]);
        published.push("end".to_owned());
        for shown in &seen {
            let at = last_id(shown);
            let resumed = format!("Last-Event-ID: {at}");
            let mut stream = Stream::open(&["-H", &resumed, &staying.http("/c/chat?stream=sse")]);
            let rest = stream.until("data: end\n");
            assert!(!rest.contains("event: gap"), "{rest}");
            let all = [texts(shown), texts(rest)].concat();
            let begin = published.iter().position(|text| *text == all[0]).expect("the first");
            assert_eq!(all, published[begin..], "each once and in order");
        }
        published
    });
    assert!(published.len() > 20);
    let log = leaving.ended();
    assert!(!log.contains("cut off"), "{log}");
}

/// Publishes at the first address for as long as it takes connections, then at the other one: as a load
/// balancer has it. An answer that is not 201 fails the test.
fn publish_until(stopped: &AtomicBool, [first, then]: &[String; 2]) -> Vec<String> {
    let mut published = Vec::new();
    for number in 0.. {
        let text = format!("{number}.");
        let key = format!("Idempotency-Key: \"{number}\"");
        let post = |address: &str| {
            let url = format!("{address}/c/chat");
            let arguments =
                ["-sS", "-w", "%{http_code}", "-o", "/dev/null", "-H", &key, "-d", &text];
            let output = std::process::Command::new("curl").args(arguments).arg(url).output();
            String::from_utf8_lossy(&output.expect("curl runs").stdout).into_owned()
        };
        let status = match post(first).as_str() {
            // No connection, or none any more: the same with its key at the other node.
            "000" => post(then),
            status => status.to_owned(),
        };
        assert_eq!(status, "201", "{text}");
        published.push(text);
        if stopped.load(Relaxed) {
            break;
        }
    }
    published
}

/// The position to go on from.
fn last_id(shown: &str) -> &str {
    shown.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().expect("a position")
}

/// What an event stream has shown.
fn texts(shown: &str) -> Vec<String> {
    shown.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

#[test]
fn a_node_lists_the_channels_that_it_has_used_and_ends_its_own_connections() {
    let cluster = Cluster::start();
    let open = |node| Stream::open(&[&cluster.url(node, "/c/chat?as=ann&stream=sse")]);
    let mut streams = [open(0), open(1)];
    for stream in &mut streams {
        // The position at which it begins.
        stream.until("id: ");
    }
    let at = cluster.publish(2, "chat", "to both");
    for stream in &mut streams {
        stream.until("to both");
    }
    let shown = json(&cluster.nodes[0].shows_operators("/channels"));
    let chat = &shown["channels"][0];
    assert_eq!((&shown["count"], &chat["channel"]), (&1.into(), &"chat".into()), "{shown}");
    assert_eq!((&chat["at"], &chat["messages"]), (&at.into(), &1.into()), "{shown}");
    assert_eq!(chat["readers"], serde_json::json!({"sse": 1}), "{shown}");
    let answer = json(&cluster.nodes[0].takes_from_operators("/disconnect?subject=ann"));
    assert_eq!(answer, serde_json::json!({"disconnected": 1}));
    let [first, second] = &mut streams;
    first.rest();
    let _ = cluster.publish(0, "chat", "to one");
    second.until("to one");
}
