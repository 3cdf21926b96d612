//! The clients and servers of the table, each as its documentation uses it: `clients/` has a small
//! program for each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};
use sockeye::{Client, CloseCode, DeflateConfig, Message};
use sockeye_peers::{Check, Ecosystem, PEERS, Peer};
use sockeye_testing::{PATIENCE, eventually};
use sockeye_tests::curl::curl;
use sockeye_tests::cut::Forwarder;
use sockeye_tests::foreign;
use sockeye_tests::program::{Running, Sockeye};
use sockeye_tests::script::Script;

/// Makes a test of each check that libraries of an ecosystem pass.
macro_rules! ecosystems {
    ($($module:ident: $ecosystem:ident [$($check:ident)+];)+) => {
        $(mod $module {
            use super::*;
            $(check!($ecosystem $check);)+
        })+

        /// The checks that have a test, by ecosystem.
        const CHECKED: &[(Ecosystem, &[Check])] =
            &[$((Ecosystem::$ecosystem, &[$(Check::$check),+])),+];
    };
}

macro_rules! check {
    ($ecosystem:ident Echo) => {
        check!($ecosystem Echo echo_comes_back, super::echo);
    };
    ($ecosystem:ident EchoCompressed) => {
        check!($ecosystem EchoCompressed compressed_echo_comes_back, super::compressed_echo);
    };
    ($ecosystem:ident Channel) => {
        check!($ecosystem Channel channels_are_plain_websockets, super::channel);
    };
    ($ecosystem:ident EventStream) => {
        check!($ecosystem EventStream event_streams_are_read, super::event_stream);
    };
    ($ecosystem:ident EventSource) => {
        check!($ecosystem EventSource event_sources_resume_by_themselves, super::event_stream);
    };
    ($ecosystem:ident JsonLines) => {
        check!($ecosystem JsonLines json_lines_are_read, super::json_lines);
    };
    ($ecosystem:ident LongPoll) => {
        check!($ecosystem LongPoll long_polls_are_answered, super::long_poll);
    };
    ($ecosystem:ident Publish) => {
        check!($ecosystem Publish what_is_published_arrives, super::publish);
    };
    ($ecosystem:ident Server) => {
        check!($ecosystem Server servers_are_understood, super::server);
    };
    ($ecosystem:ident ServerCompressed) => {
        check!($ecosystem ServerCompressed compressing_servers_are_understood, super::compressing_server);
    };
    ($ecosystem:ident $check:ident $name:ident, $run:path) => {
        #[test]
        fn $name() {
            with_each(Ecosystem::$ecosystem, Check::$check, $run);
        }
    };
}

ecosystems! {
    c: C [Echo EchoCompressed Channel EventStream Publish Server];
    cpp: Cpp [Echo EchoCompressed Channel Publish Server ServerCompressed];
    go: Go [Echo EchoCompressed Channel EventSource JsonLines LongPoll Publish Server ServerCompressed];
    java: Java [Echo EchoCompressed Channel EventStream JsonLines LongPoll Publish Server ServerCompressed];
    node: Node [Echo EchoCompressed Channel EventStream EventSource JsonLines LongPoll Publish Server ServerCompressed];
    perl: Perl [Echo EchoCompressed Channel EventStream JsonLines LongPoll Publish Server ServerCompressed];
    php: Php [EventStream EventSource JsonLines LongPoll Publish];
    python: Python [Echo EchoCompressed Channel EventStream EventSource JsonLines LongPoll Publish Server ServerCompressed];
    ruby: Ruby [Echo Channel EventStream JsonLines LongPoll Publish Server];
}

#[test]
fn each_check_of_the_table_has_a_test() {
    for peer in PEERS {
        let (_, checks) = CHECKED.iter().find(|(its, _)| *its == peer.ecosystem).unwrap();
        for check in peer.does {
            assert!(checks.contains(check), "{}: {check:?}", peer.name);
        }
    }
}

/// How many peers run side by side: most of their time is waiting.
const SIDE_BY_SIDE: usize = 3;

/// Runs the check with every peer of the ecosystem that passes it, and names those that do not.
fn with_each(ecosystem: Ecosystem, check: Check, run: fn(&Peer)) {
    let peers: Vec<_> = Peer::that(ecosystem, check).collect();
    assert!(!peers.is_empty(), "no peer is left for this test");
    let mut failed = Vec::new();
    for group in peers.chunks(SIDE_BY_SIDE) {
        thread::scope(|scope| {
            let threads: Vec<_> =
                group.iter().map(|peer| (peer, scope.spawn(move || run(peer)))).collect();
            for (peer, thread) in threads {
                if thread.join().is_err() {
                    failed.push(peer.name);
                }
            }
        });
    }
    assert!(failed.is_empty(), "{check:?} fails with {failed:?}");
}

fn echo(peer: &Peer) {
    let server = Sockeye::echo(&[]);
    echo_of(peer, &["echo", &server.ws("/")]);
}

/// The forwarder sees what was agreed to.
fn compressed_echo(peer: &Peer) {
    let server = Sockeye::echo(&[]);
    let between = Forwarder::to(server.address());
    echo_of(peer, &["echo", &between.url("ws", "/"), "compressed"]);
    assert!(between.answered("\r\nsec-websocket-extensions: permessage-deflate"), "{}", peer.name);
}

fn echo_of(peer: &Peer, arguments: &[&str]) {
    let mut client = foreign::start(peer, arguments);
    let report = client.report().unwrap_or_else(|| panic!("{} says nothing", peer.name));
    assert_eq!(report, json!({"echo": 3, "closed": 1000}), "{}", peer.name);
    client.finish();
}

fn channel(peer: &Peer) {
    let mut server = Sockeye::serve(&[]);
    let mut client = foreign::start(peer, &["channel", &server.ws("/c/chat")]);
    assert_eq!(client.report(), Some(json!({"message": "from a peer"})), "{}", peer.name);
    let _ = curl(&["-d", "from curl", &server.http("/c/chat")]);
    assert_eq!(client.report(), Some(json!({"message": "from curl"})), "{}", peer.name);
    assert!(curl(&[&server.http("/c/chat")]).contains("\"data\":\"from a peer\""), "{}", peer.name);
    server.assert_sound();
}

fn event_stream(peer: &Peer) {
    let server = Sockeye::serve(&["--heartbeat", "20ms"]);
    let mut heartbeats = Heartbeats::of(&server, "text/event-stream", ":\n");
    wait_for_listeners(&server, 1);
    reads_over_a_cut(peer, "sse", "/c/chat?after=now", &server, || heartbeats.await_some());
}

fn json_lines(peer: &Peer) {
    let server = Sockeye::serve(&["--heartbeat", "20ms"]);
    let mut heartbeats = Heartbeats::of(&server, "application/x-ndjson", "\n");
    wait_for_listeners(&server, 1);
    reads_over_a_cut(peer, "ndjson", "/c/chat", &server, || heartbeats.await_some());
}

fn long_poll(peer: &Peer) {
    let server = Sockeye::serve(&[]);
    // The other checks have a second listener, too: `reads_over_a_cut` waits for two.
    let _other = Heartbeats::of(&server, "text/event-stream", ":\n");
    wait_for_listeners(&server, 1);
    reads_over_a_cut(peer, "poll", "/c/chat", &server, || {});
}

/// From a silent stream comes what was published and nothing else; after a cut comes what was missed.
fn reads_over_a_cut(
    peer: &Peer,
    way: &str,
    path: &str,
    server: &Sockeye,
    mut be_silent: impl FnMut(),
) {
    let between = Forwarder::to(server.address());
    let mut reader = foreign::start(peer, &[way, &between.url("http", path)]);
    wait_for_listeners(server, 2);
    let publish = |number: u32| -> Value {
        let message = json!({ "number": number }).to_string();
        let published = curl(&["--json", &message, &server.http("/c/chat")]);
        let published: Value = serde_json::from_str(&published).expect("JSON");
        json!({"message": {"number": number}, "at": published["at"]})
    };
    for number in 1..=2 {
        be_silent();
        let published = publish(number);
        assert_eq!(reader.report(), Some(published), "{} by {way}", peer.name);
    }
    between.cut();
    let missed = publish(3);
    between.mend();
    assert_eq!(reader.report(), Some(missed), "{} by {way}, after a cut", peer.name);
    be_silent();
    let published = publish(4);
    assert_eq!(reader.report(), Some(published), "{} by {way}, after a cut", peer.name);
}

/// A stream of the test's own, which shows that heartbeats were sent.
struct Heartbeats {
    stream: BufReader<TcpStream>,
    heartbeat: &'static str,
}

impl Heartbeats {
    fn of(server: &Sockeye, accept: &str, heartbeat: &'static str) -> Self {
        let mut stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of the socket");
        let request =
            format!("GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the server reads");
        Self { stream: BufReader::new(stream), heartbeat }
    }

    fn await_some(&mut self) {
        let mut count = 0;
        while count < 5 {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the stream goes on");
            count += usize::from(line == self.heartbeat);
        }
    }
}

fn wait_for_listeners(server: &Sockeye, count: u64) {
    eventually(format!("{count} listeners"), || {
        let presence = curl(&[&server.http("/c/chat/presence")]);
        let listed: Value = serde_json::from_str(&presence).expect("JSON");
        if listed["count"] == count { Ok(()) } else { Err(presence) }
    });
}

fn publish(peer: &Peer) {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let mut client = foreign::start(peer, &["publish", &url]);
    assert_eq!(client.report(), Some(json!({"status": 201})), "{}", peer.name);
    let page = curl(&[&url]);
    assert!(page.contains("\"data\":\"from a peer\""), "{}: {page}", peer.name);
}

fn server(peer: &Peer) {
    let (_script, url) = started(peer, &["server"]);
    talks_to(&url, false);
    connect_talks_to(&url);
}

fn compressing_server(peer: &Peer) {
    let (_script, url) = started(peer, &["server", "", "compressed"]);
    talks_to(&url, true);
}

fn started(peer: &Peer, arguments: &[&str]) -> (Script, String) {
    let mut script = foreign::start(peer, arguments);
    let port = script.report().expect("the server's port")["port"].clone();
    (script, format!("ws://127.0.0.1:{port}/"))
}

/// Our client has text, bytes and 1 MiB come back, and a clean close.
fn talks_to(url: &str, compressed: bool) {
    crate::block_on(async {
        let client = Client::new(url).expect("a WebSocket's URL");
        let client = client.deflate(compressed.then(DeflateConfig::default));
        let mut ws = client.connect().await.expect("the server lets us in");
        assert_eq!(ws.deflate().is_some(), compressed);
        let large = Message::from("x".repeat(1 << 20));
        for message in [Message::from("sockeye 🐟"), vec![0, 255, 254, 128].into(), large] {
            ws.send(message.clone()).await.expect("a send");
            let back = ws.recv().await.expect("a message, not the end").expect("a message");
            assert!(back == message, "the same message comes back");
        }
        assert!(ws.close(CloseCode::NORMAL).await.is_clean());
    });
}

fn connect_talks_to(url: &str) {
    let mut client = Running::start(&["connect", url]);
    client.assert_echoed();
    client.assert_succeeds();
}
