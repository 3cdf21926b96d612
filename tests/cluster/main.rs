//! Three nodes of `sockeye serve --cluster` on three servers of NATS: what holds on one machine holds on
//! all of them together.

mod config;
mod ends;
mod events;
mod failures;
mod one_machine;
mod operating;
mod presence;
mod recipe;
mod restarts;
mod starting;
mod tickets;

use serde_json::Value;
use sockeye_tests::curl::{Stream, curl};
use sockeye_tests::dashboard;
use sockeye_tests::nats::Nats;
use sockeye_tests::program::Sockeye;

/// Three nodes on three servers of NATS. Nodes end before their servers.
struct Cluster {
    nodes: [Sockeye; 3],
    nats: Nats,
}

impl Cluster {
    fn start() -> Self {
        Self::start_with("")
    }

    /// The same, with these lines in the configuration of NATS.
    fn start_with(lines: &str) -> Self {
        let nats = Nats::start_with(lines);
        // The first of them may have to leave: soon.
        let nodes = [(); 3].map(|()| node(&nats, &["--drain", "3s"]));
        Self { nodes, nats }
    }

    fn url(&self, node: usize, path: &str) -> String {
        self.nodes[node].http(path)
    }

    /// Publishes, and gives the position.
    fn publish(&self, node: usize, channel: &str, text: &str) -> String {
        let answer = curl(&["-d", text, &self.url(node, &format!("/c/{channel}"))]);
        position(&json(&answer))
    }

    /// A page of a channel.
    fn poll(&self, node: usize, channel: &str, query: &str) -> Value {
        json(&curl(&[&self.url(node, &format!("/c/{channel}?{query}"))]))
    }
}

/// A node, which listens on loopback.
fn node(nats: &Nats, options: &[&str]) -> Sockeye {
    let urls = nats.urls();
    Sockeye::serve(&[&["--cluster", &urls, "--cluster-shards", "2"], options].concat())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

fn position(answer: &Value) -> String {
    answer["at"].as_str().expect("a position").to_owned()
}

/// The text and the position of each message of a page.
fn messages(page: &Value) -> Vec<(String, String)> {
    let messages = page["messages"].as_array().expect("messages").iter();
    let text = |message: &Value| message["data"].as_str().unwrap_or_default().to_owned();
    messages.map(|message| (text(message), position(message))).collect()
}

#[test]
fn what_one_node_takes_all_of_them_have_at_the_same_position() {
    let cluster = Cluster::start();
    let mut streams = [1, 2].map(|node| Stream::open(&[&cluster.url(node, "/c/chat?stream=sse")]));
    for stream in &mut streams {
        // The position at which it begins.
        stream.until("id: ");
    }
    let published: Vec<_> = (0..10)
        .map(|number| {
            let text = format!("message {number}.");
            let at = cluster.publish(number % 3, "chat", &text);
            (text, at)
        })
        .collect();
    for stream in &mut streams {
        let shown = stream.until("message 9.").to_owned();
        for (text, at) in &published {
            assert!(shown.contains(&format!("id: {at}\ndata: {text}")), "{at} {text} in {shown}");
        }
    }
    for node in 0..3 {
        // Of the other nodes none has read the history before.
        assert_eq!(messages(&cluster.poll(node, "chat", "after=earliest")), published);
    }
}

#[test]
fn a_reader_goes_on_at_another_node() {
    let cluster = Cluster::start();
    let published: Vec<_> = (0..9)
        .map(|number| (format!("{number}."), cluster.publish(0, "chat", &format!("{number}."))))
        .collect();
    let first = cluster.poll(1, "chat", "after=earliest&limit=4");
    assert_eq!(messages(&first), published[..4]);
    let at = position(&first);
    assert_eq!(messages(&cluster.poll(2, "chat", &format!("after={at}"))), published[4..]);
    let resumed = format!("Last-Event-ID: {at}");
    let url = cluster.url(0, "/c/chat?stream=sse");
    let mut stream = Stream::open(&["-H", &resumed, &url]);
    let shown = stream.until("data: 8.");
    assert!(shown.contains("data: 4.") && !shown.contains("data: 3."), "{shown}");
    assert!(!shown.contains("event: gap"), "{shown}");
}

#[test]
fn a_key_is_known_on_every_node() {
    let cluster = Cluster::start();
    let publish = |node: usize, channel: &str, key: &str| {
        let (key, url) = (format!("Idempotency-Key: \"{key}\""), format!("/c/{channel}"));
        position(&json(&curl(&["-H", &key, "-d", "once", &cluster.url(node, &url)])))
    };
    let first = publish(0, "orders", "7");
    for node in [1, 2, 0] {
        assert_eq!(publish(node, "orders", "7"), first, "on node {node}");
    }
    assert_ne!(publish(1, "orders", "8"), first);
    assert_eq!(messages(&cluster.poll(2, "orders", "after=earliest")).len(), 2);
    // Another channel of the same stream has keys of its own.
    for channel in ["orders.b", "orders.c", "orders.d"] {
        publish(0, channel, "7");
        assert_eq!(messages(&cluster.poll(1, channel, "after=earliest")).len(), 1, "{channel}");
    }
}

#[test]
fn a_history_that_is_deleted_is_gone_on_every_node() {
    let cluster = Cluster::start();
    let before = cluster.publish(0, "chat", "secret");
    let mut stream = Stream::open(&[&cluster.url(1, "/c/chat?stream=sse&after=earliest")]);
    stream.until("data: secret");
    let _ = curl(&["-X", "DELETE", &cluster.url(2, "/c/chat")]);
    stream.until("\"why\":\"reset\"");
    let after = cluster.publish(0, "chat", "anew");
    stream.until("data: anew");
    for node in 0..3 {
        let page = cluster.poll(node, "chat", "after=earliest");
        assert_eq!(messages(&page), [("anew".to_owned(), after.clone())], "on node {node}");
        let late = cluster.poll(node, "chat", &format!("after={before}"));
        assert_eq!(late["gap"]["why"], "reset", "on node {node}: {late}");
    }
}

#[test]
fn every_kind_of_message_comes_as_it_was_published() {
    let cluster = Cluster::start();
    let url = cluster.url(0, "/c/a..b~@:_-.");
    let _ = curl(&["-H", "Content-Type: application/json", "-d", "{\"a\": [1]}", &url]);
    let _ = curl(&["-H", "Content-Type: application/octet-stream", "-d", "bytes", &url]);
    let _ = curl(&["-H", "Sockeye-Event: joined", "-d", "ann", &url]);
    let page = cluster.poll(1, "a..b~@:_-.", "after=earliest");
    let messages = page["messages"].as_array().expect("messages");
    assert_eq!(messages[0]["data"], serde_json::json!({ "a": [1] }), "{page}");
    assert_eq!(messages[1]["b64"], "Ynl0ZXM=", "{page}");
    assert_eq!((&messages[2]["data"], &messages[2]["event"]), (&"ann".into(), &"joined".into()));
}

#[test]
fn metrics_say_what_a_node_does_in_its_cluster() {
    let nats = Nats::start();
    let (node, page) = (node(&nats, &[]), include_str!("../../docs/operate/cluster.md"));
    for _ in 0..3 {
        let _ = curl(&["-d", "hello", &node.http("/c/chat")]);
    }
    let shown = node.shows_operators("/metrics");
    let names: Vec<_> = shown
        .lines()
        .filter(|line| line.starts_with("sockeye_cluster_"))
        .map(|line| line.split(' ').next().unwrap_or_default())
        .collect();
    for name in &names {
        assert!(page.contains(&format!("`{name}`")), "{name} is not documented");
    }
    assert_eq!(names.len(), page.matches("`sockeye_cluster_").count(), "{shown}");
    let of_cluster = |name: &String| name.starts_with("sockeye_cluster_");
    let of_dashboard: Vec<_> = dashboard::metrics().into_iter().filter(of_cluster).collect();
    assert!(of_dashboard.len() > 10, "{of_dashboard:?}");
    for name in &of_dashboard {
        assert!(names.contains(&name.as_str()), "the dashboard shows {name}, which is not there");
    }
    for name in ["stored", "received"] {
        let begin = format!("sockeye_cluster_{name}_total ");
        let count = shown.lines().find_map(|line| line.strip_prefix(&begin)?.parse::<u64>().ok());
        // The clocks of the shards count, too.
        assert!(count.is_some_and(|count| count >= 3), "{shown}");
    }
}
