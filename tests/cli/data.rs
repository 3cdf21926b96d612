//! `sockeye serve --data DIR`: what was acknowledged is there after the worst.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use serde_json::Value;
use sockeye_testing::frame::{CLOSE, TEXT, close_payload, masked};
use sockeye_testing::{PATIENCE, eventually};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{self, Sockeye, assert_fails, run};
use tempfile::TempDir;

/// A server that keeps its channels in `dir`, and of each channel more than any test publishes.
fn serve(dir: &Path) -> Sockeye {
    Sockeye::serve(&["--data", dir.to_str().expect("a path"), "--history-count", "1000000"])
}

/// One connection to a server; requests go one after the other.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    /// The status and the body of the answer; `None` if the server is gone.
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, Value)> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{headers}\
             Content-Length: {length}\r\n\r\n"
        );
        self.0.get_mut().write_all(format!("{head}{body}").as_bytes()).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut length = 0;
        while line.trim_end() != "" {
            line.clear();
            self.0.read_line(&mut line).ok()?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// What a server that lives answers.
fn ask(server: &Sockeye, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut client = Client::connect(server.address()).expect("the server listens");
    client.ask(method, path, headers, body).expect("the server answers")
}

fn publish(server: &Sockeye, channel: &str, text: &str) -> String {
    let (status, answer) = ask(server, "POST", channel, "", text);
    assert_eq!(status, 201, "{answer}");
    answer["at"].as_str().expect("a position").to_owned()
}

/// All messages of a channel, by position: epoch, offset, text.
fn history(server: &Sockeye, channel: &str) -> Vec<(String, u64, String)> {
    let mut client = Client::connect(server.address()).expect("the server listens");
    let (mut after, mut all) = ("earliest".to_owned(), Vec::new());
    loop {
        let path = format!("{channel}?after={after}&limit=1000");
        let (status, page) = client.ask("GET", &path, "", "").expect("the server answers");
        assert_eq!(status, 200, "{page}");
        let messages = page["messages"].as_array().expect("messages");
        if messages.is_empty() {
            return all;
        }
        for message in messages {
            let (epoch, offset) = split(message["at"].as_str().expect("a position"));
            all.push((epoch, offset, message["data"].as_str().expect("a text").to_owned()));
        }
        page["at"].as_str().expect("a position").clone_into(&mut after);
    }
}

fn split(position: &str) -> (String, u64) {
    let (epoch, offset) = position.split_once('.').expect("a position");
    (epoch.to_owned(), offset.parse().expect("an offset"))
}

/// What one publisher knows: which text got which position, and the text that got no answer.
#[derive(Default)]
struct Publisher {
    number: usize,
    acknowledged: BTreeMap<u64, String>,
    next: usize,
}

impl Publisher {
    /// Publishes until the server is gone. What got no answer is published again the next time,
    /// with the same key.
    fn run(&mut self, address: SocketAddr, told: &Sender<()>) {
        let Some(mut client) = Client::connect(address) else { return };
        loop {
            let text = format!("{}:{}", self.number, self.next);
            let path = format!("/c/chat-{}", self.number % 2);
            let key = format!("Idempotency-Key: \"{text}\"\r\n");
            let Some((status, answer)) = client.ask("POST", &path, &key, &text) else { return };
            assert_eq!(status, 201, "{answer}");
            let (_, offset) = split(answer["at"].as_str().expect("a position"));
            self.acknowledged.insert(offset, text);
            self.next += 1;
            // The test may have heard enough.
            let _ = told.send(());
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_repeated_or_out_of_order_when_the_server_is_killed() {
    let dir = TempDir::new().expect("a directory");
    let mut publishers: Vec<_> =
        (0..4).map(|number| Publisher { number, ..Publisher::default() }).collect();
    for round in 1..=4 {
        let server = serve(dir.path());
        let (told, hear) = channel();
        let address = server.address();
        thread::scope(|scope| {
            for publisher in &mut publishers {
                let told = told.clone();
                scope.spawn(move || publisher.run(address, &told));
            }
            for _ in 0..100 * round {
                hear.recv_timeout(PATIENCE).expect("publishing goes on");
            }
            // While they are publishing: with SIGKILL.
            drop(server);
        });
    }
    let mut server = serve(dir.path());
    for channel in 0..2 {
        let history = history(&server, &format!("/c/chat-{channel}"));
        let epoch = &history[0].0;
        assert!(history.iter().all(|(of, ..)| of == epoch), "the epoch stays");
        let offsets: Vec<_> = history.iter().map(|(_, offset, _)| *offset).collect();
        assert!(offsets.iter().copied().eq(1..=history.len() as u64), "{offsets:?}");
        let texts: BTreeMap<u64, &String> =
            history.iter().map(|(_, offset, text)| (*offset, text)).collect();
        for publisher in publishers.iter().filter(|publisher| publisher.number % 2 == channel) {
            let own = format!("{}:", publisher.number);
            for (offset, text) in &publisher.acknowledged {
                assert_eq!(texts.get(offset), Some(&text), "what was acknowledged at {offset}");
            }
            let own: Vec<_> = texts.values().filter(|text| text.starts_with(&own)).collect();
            let expected: Vec<_> =
                (0..own.len()).map(|next| format!("{}:{next}", publisher.number)).collect();
            assert!(own.iter().map(|text| **text).eq(&expected), "once each, in order: {own:?}");
            assert!(own.len() - publisher.next <= 1, "but for what got no answer");
        }
    }
    server.assert_sound();
}

#[test]
fn what_was_deleted_stays_deleted_when_the_server_is_killed() {
    let dir = TempDir::new().expect("a directory");
    let server = serve(dir.path());
    for text in ["one", "two", "three"] {
        publish(&server, "/c/chat", text);
    }
    let at = publish(&server, "/c/chat", "four");
    assert_eq!(ask(&server, "DELETE", "/c/chat", "", "").0, 204);
    let next = publish(&server, "/c/chat", "five");
    drop(server);

    let server = serve(dir.path());
    let (epoch, offset) = split(&at);
    assert_eq!(next, format!("{epoch}.{}", offset + 1));
    assert_eq!(history(&server, "/c/chat"), [(epoch.clone(), 5, "five".to_owned())]);
    let path = format!("/c/chat?after={epoch}.2");
    let gap = &ask(&server, "GET", &path, "", "").1["gap"];
    assert_eq!((gap["why"].as_str(), gap["next"].as_str()), (Some("reset"), Some(&*at)));
    assert_eq!(publish(&server, "/c/chat", "six"), format!("{epoch}.6"));
}

#[test]
fn a_request_is_known_by_its_key_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let server = serve(dir.path());
    let key = "Idempotency-Key: \"8e03978e\"\r\n";
    let first = ask(&server, "POST", "/c/chat", key, "pay");
    assert_eq!(first.0, 201);
    publish(&server, "/c/chat", "something else");
    drop(server);
    let server = serve(dir.path());
    assert_eq!(ask(&server, "POST", "/c/chat", key, "pay"), first);
    assert_eq!(history(&server, "/c/chat").len(), 2);
}

#[test]
fn a_second_server_on_the_same_directory_says_why_it_cannot_start() {
    let dir = TempDir::new().expect("a directory");
    let mut server = serve(dir.path());
    let path = dir.path().to_str().expect("a path");
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--data", path], "");
    assert_fails(&output, 1);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(why.contains(path) && why.contains("in use by another process"), "{why}");
    publish(&server, "/c/chat", "the first one goes on");
    server.assert_sound();
}

/// A server on a disk of its own, of 12 MiB, on which something else takes 4; and where that is.
fn serve_on_a_small_disk(dir: &Path, admin: &str) -> (Sockeye, String) {
    let path = dir.to_str().expect("a path");
    let script = "mount -t tmpfs -o size=12m tmpfs \"$0\" && head -c 4194304 /dev/zero > \"$0/other\" \
                  && exec \"$1\" serve --listen 127.0.0.1:0 --admin \"$2\" --data \"$0/data\" --history-count 100000";
    let sockeye = program::path();
    let sockeye = sockeye.to_str().expect("a path");
    let namespace =
        ["--user", "--map-root-user", "--mount", "sh", "-c", script, path, sockeye, admin];
    let server = Sockeye::serve_by("unshare", &namespace);
    let other = format!("/proc/{}/root{path}/other", server.id());
    (server, other)
}

#[test]
fn a_full_disk_refuses_messages_loses_none_and_takes_them_again_when_there_is_room() {
    let dir = TempDir::new().expect("a directory");
    let (mut server, other) = serve_on_a_small_disk(dir.path(), "off");
    let mut client = Client::connect(server.address()).expect("the server listens");

    let text = "x".repeat(30_000);
    let mut kept = 0;
    let refusal = loop {
        let (status, answer) = client.ask("POST", "/c/chat", "", &text).expect("an answer");
        if status != 201 {
            break (status, answer);
        }
        kept += 1;
        assert!(kept < 1_000, "the disk is never full");
    };
    assert_eq!((refusal.0, refusal.1["code"].as_str()), (507, Some("insufficient_storage")));
    // A WebSocket that leaves right after its message is told, too.
    let mut peer = Peer::open(server.address(), "/c/chat");
    let bytes = [masked(TEXT, text.as_bytes()), masked(CLOSE, &close_payload(1000, b""))].concat();
    peer.send(&bytes, Chunks::Whole);
    assert_eq!(peer.read_past_pings().close_code(), Some(1013));
    assert_eq!(history(&server, "/c/chat").len(), kept, "and nothing else");

    std::fs::remove_file(other).expect("the other file can be removed from outside");
    let next = eventually("there is room on the disk", || {
        let (status, answer) = client.ask("POST", "/c/chat", "", &text).expect("an answer");
        assert!([201, 507].contains(&status), "{status}: {answer}");
        (status == 201).then(|| split(answer["at"].as_str().expect("a position")).1)
    });
    assert_eq!(next, kept as u64 + 1, "no offset is left out");
    assert_eq!(history(&server, "/c/chat").len(), kept + 1);
    server.assert_sound();
}

/// A disk that fills up while a table is being made leaves one of a few bytes. The server starts all the
/// same, without it, also where there is no room to set it aside.
#[test]
fn a_table_that_was_begun_on_a_full_disk_costs_nothing() {
    for has_files in [true, false] {
        let (dir, kept) = (TempDir::new().expect("a directory"), TempDir::new().expect("another"));
        let data = kept.path().join("data");
        let server = serve(&data);
        for number in 0..5 {
            publish(&server, "/c/chat", &number.to_string());
        }
        let before = history(&server, "/c/chat");
        drop(server);
        let table = data.join("channels/keyspaces/1/tables/77");
        std::fs::create_dir_all(table.parent().expect("a folder")).expect("a folder");
        std::fs::write(&table, [0; 20]).expect("a table that was begun");

        // A full disk, which has room for no more files either where that is said.
        let script = "mount -t tmpfs -o size=20m,nr_inodes=200 tmpfs \"$0\" \
                      && cp -r --sparse=always \"$2\" \"$0\"; \
                      { head -c 40000000 /dev/zero > \"$0/other\"; number=0; \
                      while [ \"$3\" = false ] && touch \"$0/$number\"; do number=$((number + 1)); done; \
                      } 2>/dev/null; \
                      exec \"$1\" serve --listen 127.0.0.1:0 --admin off --data \"$0/data\"";
        let (path, sockeye) = (dir.path().to_str().expect("a path"), program::path());
        let sockeye = sockeye.to_str().expect("a path");
        let data = data.to_str().expect("a path");
        let has_files_too = has_files.to_string();
        let namespace = ["--user", "--map-root-user", "--mount", "sh", "-c", script, path, sockeye];
        let namespace = [&namespace[..], &[data, &has_files_too]].concat();
        let mut server = Sockeye::serve_by("unshare", &namespace);
        assert_eq!(history(&server, "/c/chat"), before);
        server.wait_for("a table was begun and not written");
        let aside = std::fs::read_dir(format!("/proc/{}/root{path}/data", server.id()))
            .expect("the disk can be looked at from outside")
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name.to_string_lossy().starts_with("damaged-")
            })
            .count();
        assert_eq!(aside, usize::from(has_files));
        server.assert_sound();
    }
}

/// The last line of what `/readyz` answers, and the status.
fn readiness(server: &Sockeye) -> (u16, String) {
    let line = server.wait_for("admin on http://");
    let admin = line.split_once("http://").expect("it was found by that").1;
    let mut stream = TcpStream::connect(admin.trim()).expect("the server listens");
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), answer.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn a_server_is_not_ready_while_its_disk_is_full_and_is_again_without_a_message() {
    let dir = TempDir::new().expect("a directory");
    let (server, other) = serve_on_a_small_disk(dir.path(), "127.0.0.1:0");
    let ready = (200, "ready".to_owned());
    assert_eq!(readiness(&server), ready);
    let text = "x".repeat(60_000);
    while ask(&server, "POST", "/c/chat", "", &text).0 == 201 {}
    let full = (503, "publishing fails: the disk is full".to_owned());
    assert_eq!(readiness(&server), full);
    assert!(server.shows_operators("/metrics").contains("\nsockeye_store_failing 1\n"));

    std::fs::remove_file(other).expect("the other file can be removed from outside");
    eventually("there is room on the disk", || {
        let now = readiness(&server);
        if now == ready { Ok(()) } else { Err(now) }
    });
    assert!(server.shows_operators("/metrics").contains("\nsockeye_store_failing 0\n"));
}

#[test]
fn a_torn_journal_costs_nothing_that_was_acknowledged() {
    let dir = TempDir::new().expect("a directory");
    let mut server = serve(dir.path());
    let first = publish(&server, "/c/chat", "one");
    publish(&server, "/c/chat", "two");
    let written = std::fs::read(dir.path().join("written")).expect("the count of writes");
    let large = "x".repeat(60_000);
    publish(&server, "/c/chat", &large);
    server.kill();
    // As if the power had failed in the middle of the third write: two of its pages are missing, and
    // it was never acknowledged.
    std::fs::write(dir.path().join("written"), written).expect("it can be written");
    let journal = dir.path().join("channels/0.jnl");
    let mut bytes = std::fs::read(&journal).expect("the journal");
    let payload = bytes.windows(64).position(|piece| piece == &large.as_bytes()[..64]);
    let page = (payload.expect("the message is there") / 4096 + 5) * 4096;
    bytes[page..page + 8192].fill(0);
    std::fs::write(&journal, &bytes).expect("it can be written");

    let server = serve(dir.path());
    let (epoch, _) = split(&first);
    let texts = history(&server, "/c/chat");
    assert_eq!(texts, [(epoch.clone(), 1, "one".to_owned()), (epoch.clone(), 2, "two".to_owned())]);
    assert_eq!(publish(&server, "/c/chat", "three"), format!("{epoch}.3"));
    let line = server.wait_for("the journal ended in the middle of a write");
    assert!(line.contains("WARN") && line.contains("damaged-"), "{line}");
}
