//! The plain WebSocket on `/c/{channel}`.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;
use sockeye::{Client, CloseFrame, DeflateConfig, Message, WebSocket};
use sockeye_hub::Publication;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::client::{DRAIN, SOON, TestServer};

async fn connect(server: &TestServer, path: &str) -> WebSocket {
    let url = format!("ws://{}{path}", server.address);
    timeout(SOON, sockeye::connect(&url)).await.expect("the server answers").unwrap()
}

/// The next message.
async fn receive(socket: &mut WebSocket) -> Message {
    timeout(SOON, socket.recv()).await.expect("a message comes").expect("it is open").unwrap()
}

/// The next message, which is this text.
#[track_caller]
fn assert_text(message: &Message, text: &str) {
    assert_eq!(message.as_text(), Some(text));
}

/// Reads until the server closes, and gives its close code.
async fn close_of(socket: &mut WebSocket) -> u16 {
    let end = async { while socket.recv().await.is_some() {} };
    timeout(SOON, end).await.expect("the server closes");
    let closed = socket.closed().expect("it is closed");
    assert!(!closed.reason().is_empty(), "a close says why: {closed}");
    closed.code()
}

#[tokio::test]
async fn what_a_client_sends_reaches_all_and_itself() {
    let server = TestServer::start().await;
    let mut ann = connect(&server, "/c/chat").await;
    let mut bob = connect(&server, "/c/chat").await;
    let mut elsewhere = connect(&server, "/c/other").await;

    ann.send("hello").await.unwrap();
    ann.send(vec![0xff, 0x00]).await.unwrap();
    ann.send("").await.unwrap();
    for socket in [&mut ann, &mut bob] {
        assert_text(&receive(socket).await, "hello");
        assert_eq!(receive(socket).await, Message::binary(vec![0xff, 0x00]));
        assert_text(&receive(socket).await, "");
    }
    bob.send("hi").await.unwrap();
    assert_text(&receive(&mut ann).await, "hi");
    elsewhere.send("alone").await.unwrap();
    assert_text(&receive(&mut elsewhere).await, "alone");
}

#[tokio::test]
async fn compression_is_agreed_to_and_a_message_is_compressed_once_for_all() {
    let server = TestServer::start().await;
    let url = format!("ws://{}/c/chat", server.address);
    let mut sockets = Vec::new();
    for deflate in [Some(DeflateConfig::default()), Some(DeflateConfig::default()), None] {
        let client = Client::new(&url).unwrap().deflate(deflate.clone());
        let socket = timeout(SOON, client.connect()).await.expect("an answer").unwrap();
        assert_eq!(socket.deflate().is_some(), deflate.is_some());
        sockets.push(socket);
    }
    let long = "sockeye ".repeat(1000);
    sockets[0].send(&*long).await.unwrap();
    sockets[0].send("short").await.unwrap();
    for socket in &mut sockets {
        assert_text(&receive(socket).await, &long);
        assert_text(&receive(socket).await, "short");
    }
    // Two connections got the long one compressed, and the entry keeps one compressed form, which is
    // much shorter.
    server.hub.sweep();
    let forms = server.hub.figures().form_bytes;
    assert!((1..long.len() as u64 / 10).contains(&forms), "{forms} bytes");
}

#[tokio::test]
async fn compression_can_be_declined() {
    let server = TestServer::with(|options| options.channels.deflate = None).await;
    for protocol in [None, Some("sockeye.v1")] {
        let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
        let client = match protocol {
            Some(name) => client.subprotocol(name),
            None => client,
        };
        let socket = client.deflate(DeflateConfig::default()).connect().await.unwrap();
        assert!(socket.deflate().is_none());
    }
}

#[tokio::test]
#[cfg(feature = "prometheus")]
async fn clients_keep_their_context_while_the_budget_lasts_which_the_metrics_tell() {
    let budget = sockeye::DeflateBudget::new(40 << 10);
    let deflate = DeflateConfig::default().takeover_budget(budget);
    let server = TestServer::with(|options| options.channels.deflate = Some(deflate)).await;
    assert_eq!(server.metric("sockeye_max_deflate_bytes").await, f64::from(40 << 10));
    let keeping = DeflateConfig::default().client_takeover(true);
    let mut open = Vec::new();
    for keeps in [true, false] {
        let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
        let socket = client.deflate(keeping.clone()).connect().await.unwrap();
        assert_eq!(socket.deflate().unwrap().client_no_context_takeover(), !keeps);
        assert_eq!(server.metric("sockeye_deflate_bytes").await, f64::from(32 << 10));
        open.push(socket);
    }
    drop(open);
    server.until_metric("sockeye_deflate_bytes", 0.0).await;
}

/// With takeover each connection compresses for itself, and refers to what it has sent before.
#[tokio::test]
async fn a_channel_with_takeover_reaches_clients_that_allow_it_and_those_that_do_not() {
    let deflate = DeflateConfig::default().server_takeover(true);
    let server = TestServer::with(|options| options.channels.deflate = Some(deflate)).await;
    let mut sockets = Vec::new();
    for config in [DeflateConfig::default(), DeflateConfig::default().server_takeover(true)] {
        let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
        let socket = client.deflate(config.clone()).connect().await.unwrap();
        let agreed = socket.deflate().unwrap();
        assert_eq!(agreed.server_no_context_takeover(), !config.server_takeover);
        sockets.push(socket);
    }
    let long = "sockeye ".repeat(1000);
    for _ in 0..3 {
        server.publish("/c/chat", &long).await;
        for socket in &mut sockets {
            assert_text(&receive(socket).await, &long);
        }
    }
}

#[tokio::test]
async fn what_is_posted_comes_as_its_payload_alone() {
    let server = TestServer::start().await;
    let mut socket = connect(&server, "/c/chat").await;
    let json = "{ \"b\":1.0, \"a\" : 1e5 }";
    server.post("/c/chat", "application/json", json).await;
    server.post("/c/chat", "application/x-www-form-urlencoded", "hello").await;
    server.post("/c/chat", "image/png", &b"\x89PNG"[..]).await;
    assert_text(&receive(&mut socket).await, json);
    assert_text(&receive(&mut socket).await, "hello");
    assert_eq!(receive(&mut socket).await, Message::binary(b"\x89PNG".to_vec()));
}

#[tokio::test]
async fn what_is_sent_is_polled_with_positions() {
    let server = TestServer::start().await;
    let mut socket = connect(&server, "/c/chat").await;
    let first = server.publish("/c/chat", "posted").await;
    receive(&mut socket).await;
    socket.send("sent").await.unwrap();
    socket.send(vec![0]).await.unwrap();
    receive(&mut socket).await;
    receive(&mut socket).await;

    let poll = server.get(&format!("/c/chat?after={first}")).await.json();
    let said: Vec<_> = poll["messages"].as_array().unwrap().iter().collect();
    assert_eq!(
        (said.len(), &said[0]["data"], &said[1]["b64"]),
        (2, &json!("sent"), &json!("AA=="))
    );
    let after_sent = said[0]["at"].as_str().unwrap();
    let mut resumed = connect(&server, &format!("/c/chat?after={after_sent}")).await;
    assert_eq!(receive(&mut resumed).await, Message::binary(vec![0]));
}

#[tokio::test]
async fn it_starts_at_now() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "before").await;
    let mut socket = connect(&server, "/c/chat").await;
    server.publish("/c/chat", "after").await;
    assert_text(&receive(&mut socket).await, "after");
}

#[tokio::test]
async fn it_starts_where_after_says() {
    let server = TestServer::start().await;
    for text in ["1", "2", "3"] {
        server.publish("/c/chat", text).await;
    }
    for (after, first) in [("earliest", "1"), ("-1", "3"), ("10m", "1"), ("-2", "2")] {
        let mut socket = connect(&server, &format!("/c/chat?after={after}")).await;
        assert_text(&receive(&mut socket).await, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_after_a_position_misses_nothing() {
    let server = TestServer::start().await;
    let channel = "chat".parse().unwrap();
    let publishing = tokio::spawn({
        let hub = server.hub.clone();
        async move {
            let mut offsets = Vec::new();
            for number in 1..=900 {
                let text = number.to_string();
                let published = hub.publish(&channel, Publication::text(&text)).await;
                offsets.push(published.unwrap().offset);
                tokio::task::yield_now().await;
            }
            offsets
        }
    });
    // In the middle of it: the position first, then the socket after it.
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let at = server.head("/c/chat").await.header("etag").trim_matches('"').to_owned();
        let (_, offset) = at.split_once('.').unwrap();
        let socket = connect(&server, &format!("/c/chat?after={at}")).await;
        sockets.push((offset.parse::<u64>().unwrap(), socket));
    }
    let offsets = publishing.await.unwrap();
    for (offset, mut socket) in sockets {
        for number in offsets.partition_point(|before| *before <= offset) + 1..=900 {
            assert_text(&receive(&mut socket).await, &number.to_string());
        }
    }
}

#[tokio::test]
async fn where_messages_are_missing_it_closes_with_4410() {
    let server = TestServer::with(|options| options.channels.history_count = 2).await;
    let first = server.publish("/c/chat", "1").await;
    for text in ["2", "3", "4"] {
        server.publish("/c/chat", text).await;
    }
    for after in [first.as_str(), "zzzzzzz.1"] {
        let mut socket = connect(&server, &format!("/c/chat?after={after}")).await;
        assert_eq!(close_of(&mut socket).await, 4410, "after={after}");
    }
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_closed_with_4410() {
    let server = TestServer::with(|options| options.channels.history_bytes = 256 * 1024).await;
    let mut slow = connect(&server, "/c/chat").await;
    let (channel, large) = ("chat".parse().unwrap(), vec![0; 60 * 1024]);
    // More than the sockets' buffers hold; and time for the server to have filled them.
    for _ in 0..1000 {
        server.hub.publish(&channel, Publication::bytes(&large)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(close_of(&mut slow).await, 4410);
}

#[tokio::test]
async fn it_stays_open_when_the_history_is_deleted() {
    let server = TestServer::start().await;
    let mut socket = connect(&server, "/c/chat").await;
    server.publish("/c/chat", "before").await;
    assert_text(&receive(&mut socket).await, "before");
    assert_eq!(server.delete("/c/chat").await.status, StatusCode::NO_CONTENT);
    server.publish("/c/chat", "after").await;
    assert_text(&receive(&mut socket).await, "after");
}

#[tokio::test]
async fn a_message_larger_than_the_limit_closes_with_1009() {
    let server = TestServer::with(|options| options.channels.max_message = 10).await;
    let mut socket = connect(&server, "/c/chat").await;
    socket.send("0123456789").await.unwrap();
    assert_text(&receive(&mut socket).await, "0123456789");
    socket.send("0123456789x").await.unwrap();
    assert_eq!(close_of(&mut socket).await, 1009);

    // One that is larger than the whole history is too large as well.
    let server = TestServer::with(|options| options.channels.history_bytes = 1000).await;
    let mut socket = connect(&server, "/c/chat").await;
    socket.send("x".repeat(1001)).await.unwrap();
    assert_eq!(close_of(&mut socket).await, 1009);
}

#[tokio::test]
async fn messages_of_a_client_that_does_not_read_are_still_read() {
    let server = TestServer::with(|options| options.channels.history_bytes = 64 << 20).await;
    let mut socket = connect(&server, "/c/chat").await;
    let large = "x".repeat(60 * 1024);
    let sending = async {
        for _ in 0..400 {
            socket.send(large.as_str()).await.unwrap();
        }
    };
    timeout(SOON, sending).await.expect("the server reads though its answers stay unread");
    for _ in 0..400 {
        assert_eq!(receive(&mut socket).await.len(), large.len());
    }
}

#[tokio::test]
async fn a_close_is_answered_with_the_same_code() {
    let server = TestServer::start().await;
    let mut socket = connect(&server, "/c/chat").await;
    let closed = socket.close(CloseFrame::new(4000.try_into().unwrap(), "bye").unwrap()).await;
    assert!(closed.is_clean());
    assert_eq!(closed.code(), 4000);
}

#[tokio::test]
async fn a_server_that_stops_closes_its_websockets_with_1012() {
    let server = TestServer::start().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(connect(&server, "/c/chat").await);
    }
    let begun = Instant::now();
    let running = server.begin_to_stop();
    for socket in &mut sockets {
        assert_eq!(close_of(socket).await, 1012);
    }
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
    // It ends when all connections have ended, and does not wait for the end of the drain.
    assert!(begun.elapsed() < DRAIN / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_a_server_that_stops() {
    let server = TestServer::with(|options| options.drain = Duration::from_millis(200)).await;
    let _deaf = connect(&server, "/c/chat").await;
    let (channel, large) = ("chat".parse().unwrap(), vec![0; 60 * 1024]);
    for _ in 0..200 {
        server.hub.publish(&channel, Publication::bytes(&large)).await.unwrap();
    }
    server.stop().await;
}

/// The head of a valid handshake without these header lines.
fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A refusal ends the connection: what follows on it was meant to be frames.
#[tokio::test]
async fn handshakes_that_are_refused_say_why_and_end_the_connection() {
    let server = TestServer::start().await;
    let version = "Sec-WebSocket-Version: 13\r\n";
    let cases = [
        ("/c/chat", "Sec-WebSocket-Version: 8\r\n".to_owned(), 426, "upgrade_required"),
        ("/c/chat", String::new(), 400, "bad_request"),
        ("/c/chat", format!("{version}Sec-WebSocket-Key: again\r\n"), 400, "bad_request"),
        ("/c/chat?after=yesterday", version.to_owned(), 400, "bad_position"),
        ("/c/-chat", version.to_owned(), 400, "bad_channel"),
        ("/nowhere", version.to_owned(), 404, "not_found"),
        ("/c/chat", format!("{version}Origin: http://evil.example\r\n"), 403, "bad_origin"),
        ("/c/chat", format!("{version}Origin: null\r\n"), 403, "bad_origin"),
        (
            "/c/chat",
            format!("{version}Sec-WebSocket-Protocol: sockeye.v0\r\n"),
            406,
            "not_acceptable",
        ),
    ];
    for (path, headers, status, code) in cases {
        let answer = server.send_raw(handshake(path, &headers)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}{answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{headers}{answer}");
        assert!(status != 426 || answer.contains("sec-websocket-version: 13"), "{answer}");
    }
    let rebound = handshake("/c/chat", version).replace("localhost", "evil.example");
    assert!(server.send_raw(rebound).await.contains("\"bad_origin\""));
}

#[tokio::test]
async fn an_upgrade_to_something_else_is_an_ordinary_request() {
    let server = TestServer::start().await;
    let request = "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n";
    assert!(server.send_raw(request).await.starts_with("HTTP/1.1 200 "));
}

/// A client that does not wait for the answer to its handshake: what it sends may come in one piece with it,
/// or in the middle of what is read at once.
#[tokio::test]
async fn frames_that_come_before_the_answer_are_not_lost() {
    const COUNT: usize = 500;
    let server = TestServer::start().await;
    for padding in [0, 900, 7_000, 8_000, 9_000, 15_000] {
        server.delete("/c/chat").await;
        let headers = format!("Sec-WebSocket-Version: 13\r\nX: {}\r\n", "x".repeat(padding));
        let mut bytes = handshake("/c/chat?after=now", &headers).into_bytes();
        for number in 0..COUNT {
            // A bare LF, as it ends no line here.
            let text = format!("{number:04}\n{}", "x".repeat(95));
            bytes.extend_from_slice(&[0x81, 0x80 | 100, 0, 0, 0, 0]);
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(b"\x88\x82\0\0\0\0\x03\xE8");
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it ends").unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{padding}");
        assert!(answer.ends_with(b"\x88\x02\x03\xE8"), "{padding}");
        let kept = server.get(&format!("/c/chat?after=earliest&limit={COUNT}")).await.json();
        let kept = kept["messages"].as_array().unwrap();
        assert_eq!(kept.len(), COUNT, "{padding}");
        for (number, message) in kept.iter().enumerate() {
            let text = message["data"].as_str().unwrap();
            assert!(text.starts_with(&format!("{number:04}\n")), "{padding}: {text}");
        }
    }
}

/// A message and the Close behind it, as a page sends them that is about to close.
#[tokio::test]
#[cfg(feature = "fjall")]
async fn what_is_published_right_before_a_close_comes_back_before_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    for data in [None, Some(folder.path().to_owned())] {
        let server = TestServer::with(|options| options.channels.data = data).await;
        for round in 0..50 {
            let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
            let url = format!("ws://{}/c/chat", server.address);
            let mut socket = Client::new(&url).unwrap().open_over(stream).await.unwrap().socket;
            let text = format!("message {round}");
            socket.send(&*text).await.unwrap();
            let (mut reader, writer) = socket.split();
            let (closed, message) = tokio::join!(
                timeout(SOON, writer.close(sockeye::CloseCode::NORMAL)),
                timeout(SOON, reader.recv()),
            );
            let message = message.unwrap().expect("the message comes first").unwrap();
            assert_text(&message, &text);
            let closed = closed.unwrap();
            assert!(closed.is_clean() && closed.code() == 1000, "{closed}");
        }
    }
}
