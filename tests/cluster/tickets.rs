//! Tickets: issued at one node, good at any, once in the whole cluster.

use std::sync::Barrier;
use std::thread;

use sockeye_testing::eventually;
use sockeye_testing::handshake::request;
use sockeye_tests::curl::{Stream, curl, status};
use sockeye_tests::nats::Nats;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Sockeye, run};
use tempfile::TempDir;

use super::{json, node};

/// Three nodes with one key, and a token of that key.
struct Guarded {
    nodes: [Sockeye; 3],
    nats: Nats,
    bearer: String,
    _folder: TempDir,
}

impl Guarded {
    fn start() -> Self {
        let nats = Nats::start();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "a secret of this test, with more than 32 bytes\n").expect("a file");
        let key = file.to_str().expect("a path in UTF-8");
        let options = ["--auth-key", key, "--max-bad-tokens-per-address", "1000000"];
        let nodes = [(); 3].map(|()| node(&nats, &options));
        let token = run(&["token", "--key", key, "--channel", "chat=read,write"], "");
        let token = String::from_utf8(token.stdout).expect("a token");
        let bearer = format!("Authorization: Bearer {}", token.trim());
        Self { nodes, nats, bearer, _folder: folder }
    }

    fn ticket(&self, node: usize) -> String {
        let url = self.nodes[node].http("/tickets");
        let answer = json(&curl(&["-X", "POST", "-H", &self.bearer, &url]));
        answer["ticket"].as_str().expect("a ticket").to_owned()
    }

    fn redeem(&self, node: usize, ticket: &str) -> u16 {
        status(&[&self.nodes[node].http(&format!("/c/chat?ticket={ticket}"))])
    }
}

#[test]
fn a_token_and_a_ticket_of_one_node_are_good_on_every_node_and_a_ticket_once() {
    let cluster = Guarded::start();
    for node in &cluster.nodes {
        let _ = curl(&["-H", &cluster.bearer, "-d", "hello", &node.http("/c/chat")]);
    }
    for (issuer, first, second) in [(0, 1, 2), (1, 2, 1), (2, 2, 0)] {
        let ticket = cluster.ticket(issuer);
        assert_eq!(cluster.redeem(first, &ticket), 200);
        assert_eq!(cluster.redeem(second, &ticket), 401);
    }
    // A plain WebSocket, on another node than the one that issued the ticket.
    let path = format!("/c/chat?ticket={}", cluster.ticket(0));
    let _open = Peer::open(cluster.nodes[1].address(), &path);
    let mut again = Peer::connect(cluster.nodes[2].address());
    again.send(request(&path).as_bytes(), Chunks::Whole);
    assert_eq!(again.read_head().status(), 401);
    let said = cluster.nodes[0].log();
    assert!(!said.contains("preview"), "{said}");
}

#[test]
fn an_event_stream_resumes_at_another_node_with_its_ticket() {
    let cluster = Guarded::start();
    let path = format!("/c/chat?stream=sse&ticket={}", cluster.ticket(0));
    let mut stream = Stream::open(&[&cluster.nodes[1].http(&path)]);
    let shown = stream.until("\n:").to_owned();
    let at = shown.split_once("id: ").expect("a position").1;
    let resumes = format!("Last-Event-ID: {}", at.lines().next().expect("a line"));
    let _ = curl(&["-H", &cluster.bearer, "-d", "missed", &cluster.nodes[0].http("/c/chat")]);
    stream.until("data: missed");
    drop(stream);
    let url = cluster.nodes[2].http(&path);
    eventually("where it began is known", || {
        let status = status(&["-I", "-X", "GET", "-H", &resumes, &url]);
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    });
    let mut resumed = Stream::open(&["-H", &resumes, &url]);
    resumed.until("data: missed");
    let early = format!("Last-Event-ID: {}.0", resumes[15..].split('.').next().expect("an epoch"));
    assert_eq!(status(&["-H", &early, &url]), 401, "it did not begin there");
    assert_eq!(status(&[&url]), 401, "without a position it was used");
}

/// Of six that redeem a ticket at the same moment, at three nodes, one succeeds: two hundred times.
#[test]
fn of_those_that_redeem_a_ticket_at_once_one_succeeds() {
    const TICKETS: usize = 200;
    const REDEEMERS: usize = 6;
    let cluster = Guarded::start();
    let barrier = Barrier::new(REDEEMERS + 1);
    let current = std::sync::Mutex::new(String::new());
    let statuses = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for redeemer in 0..REDEEMERS {
            let (cluster, barrier, current, statuses) = (&cluster, &barrier, &current, &statuses);
            scope.spawn(move || {
                for _ in 0..TICKETS {
                    barrier.wait();
                    let ticket = current.lock().expect("no panic").clone();
                    let path = format!("/c/chat?ticket={ticket}");
                    let mut peer = Peer::connect(cluster.nodes[redeemer % 3].address());
                    let request = format!(
                        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    );
                    peer.send(request.as_bytes(), Chunks::Whole);
                    let status = peer.read_head().status();
                    statuses.lock().expect("no panic").push(status);
                    barrier.wait();
                }
            });
        }
        for number in 0..TICKETS {
            *current.lock().expect("no panic") = cluster.ticket(number % 3);
            barrier.wait();
            barrier.wait();
            let mut told = std::mem::take(&mut *statuses.lock().expect("no panic"));
            told.sort_unstable();
            assert_eq!(told, [200, 401, 401, 401, 401, 401], "ticket {number}");
        }
    });
}

#[test]
fn without_nats_tickets_are_unavailable_and_not_refused() {
    let mut cluster = Guarded::start();
    let ticket = cluster.ticket(0);
    (0..3).for_each(|server| cluster.nats.kill(server));
    assert_eq!(cluster.redeem(1, &ticket), 503);
    let url = cluster.nodes[0].http("/tickets");
    assert_eq!(status(&["-X", "POST", "-H", &cluster.bearer, &url]), 503);
    (0..3).for_each(|server| cluster.nats.start_one(server));
    cluster.nats.wait_healthy();
    eventually("tickets are issued again", || {
        let status = status(&["-X", "POST", "-H", &cluster.bearer, &url]);
        if status == 201 { Ok(()) } else { Err(status.to_string()) }
    });
    // They were in memory of NATS alone: refused, and never good twice.
    assert_eq!(cluster.redeem(1, &ticket), 401);
    let ticket = cluster.ticket(2);
    assert_eq!(cluster.redeem(0, &ticket), 200);
}

/// A leader of the tickets' stream that dies loses none.
#[test]
fn a_ticket_survives_the_death_of_a_server_of_nats() {
    let mut cluster = Guarded::start();
    let ticket = cluster.ticket(0);
    let leader = cluster.nats.leader_of("sockeye_t");
    cluster.nats.kill(leader);
    eventually("another leader is elected", || match cluster.redeem(1, &ticket) {
        200 => Ok(()),
        503 => Err("503".to_owned()),
        other => panic!("{other}"),
    });
    assert_eq!(cluster.redeem(2, &ticket), 401);
}
