//! All servers of NATS are away for a while: what clients of each transport see meanwhile, and afterwards.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye_testing::eventually;

use crate::curl::{Stream, curl, status};
use crate::nats::{Nats, SERVERS};
use crate::program::Sockeye;
use crate::websocket::WebSocket;

/// For how long a message is held that NATS does not take.
const HELD: Duration = Duration::from_secs(10);
/// What it may take longer on a machine that has other things to do.
const LATE: Duration = Duration::from_secs(15);

/// What clients of one node have open since before.
struct Clients {
    events: Stream,
    lines: Stream,
    plain: WebSocket,
    v1: WebSocket,
}

impl Clients {
    fn open(node: &Sockeye) -> Self {
        let mut clients = Self {
            events: Stream::open(&[&node.http("/c/chat?stream=sse")]),
            lines: Stream::open(&["-i", &node.http("/c/chat?stream=ndjson")]),
            plain: WebSocket::open(node, "/c/chat"),
            v1: WebSocket::open_v1(node, "/c/chat"),
        };
        clients.events.until("id: ");
        clients.lines.until("\r\n\r\n");
        clients.v1.until("\"hello\"");
        clients
    }

    /// All of them get a message, and nothing else before it.
    fn get(&mut self, text: &str) {
        for stream in [&mut self.events, &mut self.lines] {
            let shown = stream.until(text);
            assert!(!shown.contains("gap") && !shown.contains("lost"), "{shown}");
        }
        assert_eq!(self.plain.until(text), text);
        let message = self.v1.until(text);
        assert!(message.contains("\"at\""), "{message}");
    }

    fn assert_open(&mut self) {
        self.plain.assert_open();
        self.v1.assert_open();
        for stream in [&mut self.events, &mut self.lines] {
            assert!(!stream.has_ended(), "it was to stay open: {}", stream.so_far());
        }
    }
}

/// Publishes in each way there is, and sees that it is refused after as long as it is held.
fn is_refused_everywhere(node: &Sockeye) {
    let begun = Instant::now();
    let in_time = |what: &str| {
        let took = begun.elapsed();
        assert!(took + Duration::from_millis(50) > HELD && took < HELD + LATE, "{what}: {took:?}");
    };
    let url = node.http("/c/chat");
    thread::scope(|threads| {
        for body in [&["-d", "lost"][..], &["-d", "lost", "-H", "Idempotency-Key: \"lost\""]] {
            let (url, in_time) = (&url, &in_time);
            threads.spawn(move || {
                let time = (HELD + LATE).as_secs().to_string();
                let said = Stream::open(&[&["-i", "--max-time", &time], body, &[url]].concat())
                    .rest()
                    .to_owned();
                assert!(said.contains(" 503 ") && said.contains("\"unavailable\""), "{said}");
                in_time("POST");
            });
        }
        threads.spawn(|| {
            let mut socket = WebSocket::open_v1(node, "/connect");
            socket.until("\"hello\"");
            socket.send(r#"{"id":1,"op":"pub","ch":"chat","data":"lost"}"#);
            let answer = socket.until_within(HELD + LATE, "\"id\":1");
            assert!(answer.contains("\"err\"") && answer.contains("\"unavailable\""), "{answer}");
            in_time("pub of sockeye.v1");
            // The connection goes on.
            socket.send(r#"{"id":2,"op":"ping"}"#);
            socket.until("\"id\":2");
        });
        threads.spawn(|| {
            let mut socket = WebSocket::open(node, "/c/chat");
            socket.send("lost");
            // It has no other way to say so.
            let told = socket.until_within(HELD + LATE, "close ");
            assert!(told.starts_with("close 1013 messages cannot be stored"), "{told}");
            in_time("plain WebSocket");
        });
        threads.spawn(|| {
            let deleted = status(&["-X", "DELETE", "--max-time", "25", &url]);
            assert_eq!(deleted, 503);
            in_time("DELETE");
        });
    });
}

/// What is in memory can be read in each way.
fn is_readable(node: &Sockeye, at: &str) {
    let get = |query: &str| curl(&[&node.http(&format!("/c/chat?{query}"))]);
    assert_eq!(texts(&get("after=earliest")), ["before"]);
    assert_eq!(texts(&get("after=earliest&wait=5")), ["before"]);
    assert!(texts(&get(&format!("after={at}&wait=1"))).is_empty());
    let tag = format!("If-None-Match: \"{at}\"");
    assert_eq!(status(&["-H", &tag, &node.http("/c/chat")]), 304);
    let resumed =
        Stream::open(&[&node.http("/c/chat?stream=sse&after=earliest")]).until("before").to_owned();
    assert!(resumed.contains(&format!("id: {at}\n")), "{resumed}");
    Stream::open(&[&node.http("/c/chat?stream=ndjson&after=earliest")]).until("before");
    assert_eq!(WebSocket::open(node, "/c/chat?after=earliest").until("before"), "before");
    let resumed = WebSocket::open_v1(node, "/c/chat?after=earliest").until("before");
    assert!(resumed.contains(at), "{resumed}");
}

fn texts(page: &str) -> Vec<String> {
    let page: Value = serde_json::from_str(page).unwrap_or_else(|why| panic!("{why}: {page}"));
    assert!(page["gap"].is_null(), "{page}");
    let messages = page["messages"].as_array().expect("messages").iter();
    messages.map(|message| message["data"].as_str().unwrap_or_default().to_owned()).collect()
}

/// All servers of NATS are killed, and start again after this time or a little more: streams of every transport stay
/// open, channels that were read can be read, publishing is refused after 10 s in each way, and then all goes on with
/// nothing missing.
///
/// # Panics
///
/// When it does not.
pub fn without_servers(time: Duration) {
    let mut nats = Nats::start();
    let urls = nats.urls();
    let nodes = [(); 2].map(|()| Sockeye::serve(&["--cluster", &urls, "--cluster-shards", "2"]));
    let mut clients = nodes.each_ref().map(Clients::open);
    let published = curl(&["-d", "before", &nodes[0].http("/c/chat")]);
    let published: Value = serde_json::from_str(&published).expect("JSON");
    let at = published["at"].as_str().expect("a position");
    clients.iter_mut().for_each(|clients| clients.get("before"));
    nodes.iter().for_each(|node| is_readable(node, at));
    let begun = Instant::now();
    (0..SERVERS).for_each(|server| nats.kill(server));
    for node in &nodes {
        // What was handed to a connection may have been taken.
        node.wait_for("the connection to NATS is gone");
    }
    thread::scope(|threads| {
        nodes.iter().for_each(|node| drop(threads.spawn(|| is_refused_everywhere(node))));
    });
    loop {
        for (node, clients) in nodes.iter().zip(&mut clients) {
            clients.assert_open();
            is_readable(node, at);
            // Of this one nothing is in memory.
            assert_eq!(status(&[&node.http("/c/other?after=earliest")]), 503);
            let ready = node.shows_operators_at_all("/readyz");
            assert_ne!(ready, "ready\n");
        }
        if begun.elapsed() >= time {
            break;
        }
    }
    nats.start_all();
    for (node, text) in nodes.iter().zip(["after-0", "after-1"]) {
        eventually("publishing goes on", || match status(&["-d", text, &node.http("/c/chat")]) {
            201 => Ok(()),
            other => Err(other),
        });
        clients.iter_mut().for_each(|clients| clients.get(text));
    }
    for node in &nodes {
        let page = curl(&[&node.http("/c/chat?after=earliest")]);
        assert_eq!(texts(&page), ["before", "after-0", "after-1"]);
        assert_eq!(
            texts(&curl(&[&node.http(&format!("/c/chat?after={at}"))])),
            ["after-0", "after-1"]
        );
        eventually("the node is ready", || {
            let ready = node.shows_operators_at_all("/readyz");
            if ready == "ready\n" { Ok(()) } else { Err(ready) }
        });
    }
}
