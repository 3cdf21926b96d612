//! Taps: what passes on a channel or a connection, as operators see it.

use std::time::Duration;

use http::header::HOST;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use sockeye::{CloseCode, CloseFrame};
use sockeye_hub::Publication;
use sockeye_testing::eventually_async;
use tokio::time::timeout;

use crate::auth::{self, token};
use crate::client::{SOON, TestServer};
use crate::listening::{Listening, listen_at};
use crate::operating::{POLLS, SOCKETS, STREAMS, ask, web_socket};
use crate::v1::V1;

const LINES: &str = "application/x-ndjson";

/// A tap that is open, and its lines.
struct Tapped {
    stream: Listening,
    /// How much of the text was read.
    read: usize,
    /// What it said first.
    opening: Value,
}

impl Tapped {
    /// The next line.
    async fn next(&mut self) -> Value {
        loop {
            let read = self.read;
            self.stream.until_that(|text| text[read..].contains('\n')).await;
            let (line, _) = self.stream.text[read..].split_once('\n').unwrap();
            self.read += line.len() + 1;
            if !line.is_empty() {
                return serde_json::from_str(line).unwrap();
            }
        }
    }

    /// What the next line of that kind says.
    async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let mut line = self.next().await;
            if line.get(kind).is_some() {
                return line[kind].take();
            }
        }
    }

    /// All lines that are left.
    async fn rest(self) -> Vec<Value> {
        let text = self.stream.rest().await;
        let lines = text[self.read..].lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl TestServer {
    /// What an operator is answered.
    async fn begin_tap(&self, path: &str, accept: &str) -> Listening {
        let request = Request::builder().uri(path).header(HOST, self.admin().to_string());
        listen_at(self.admin(), request.header("accept", accept)).await
    }

    /// A tap, which is open.
    async fn tap(&self, path: &str) -> Tapped {
        let stream = self.begin_tap(path, LINES).await;
        assert_eq!(stream.status, StatusCode::OK, "{path}");
        assert_eq!(stream.header("content-type"), LINES);
        let mut tap = Tapped { stream, read: 0, opening: Value::Null };
        tap.opening = tap.next_of("tap").await;
        tap
    }

    /// A tap of the one connection.
    async fn tap_connection(&self) -> Tapped {
        let id = self.connections(1).await[0]["id"].clone();
        let tap = self.tap(&format!("/connections/{id}/tap")).await;
        assert_eq!(tap.opening["id"], id);
        tap
    }
}

#[tokio::test]
async fn a_channel_shows_what_is_published_and_where_it_comes_from() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "before").await;
    let mut tap = server.tap("/channels/chat/tap").await;
    assert_eq!(tap.opening["channel"], "chat");
    let at = server.publish("/c/chat?as=ann", "hello").await;
    let message = tap.next_of("message").await;
    assert_eq!((&message["at"], &message["data"]), (&json!(at), &json!("hello")));
    assert_eq!(message["size"], 5);
    assert!(message["ts"].is_u64(), "{message}");
    if server.is_cluster() {
        // It was published at another node.
        return;
    }
    let by = json!({"transport": "http", "subject": "ann", "address": "127.0.0.1"});
    assert_eq!(message["by"], by);

    let mut plain = web_socket(&server, false, SOCKETS[0]).await;
    let id = tap.next_of("subscribed").await["connection"].clone();
    plain.send(vec![1, 2]).await.unwrap();
    let message = tap.next_of("message").await;
    assert_eq!((&message["b64"], &message["by"]["connection"]), (&json!("AQI="), &id));
    assert_eq!(
        (&message["by"]["transport"], &message["by"]["subject"]),
        (&json!("ws"), &json!("ann"))
    );

    let mut v1 = V1::connect(&server, "/connect").await;
    v1.done(json!({"op": "pub", "ch": "chat", "data": {"a": 1}, "event": "x"})).await;
    let message = tap.next_of("message").await;
    assert_eq!((&message["data"], &message["event"]), (&json!({"a": 1}), &json!("x")));
    assert_eq!(message["by"]["transport"], "v1");

    let lines = "{\"data\":1}\n{\"data\":2}\n";
    server.post("/c/chat", LINES, lines).await;
    for number in [1, 2] {
        let message = tap.next_of("message").await;
        assert_eq!(
            (&message["data"], &message["by"]["transport"]),
            (&json!(number), &json!("http"))
        );
    }
    // What the program itself publishes came by none of them.
    server.hub.publish(&"chat".parse().unwrap(), Publication::text("own")).await.unwrap();
    let message = tap.next_of("message").await;
    assert_eq!((&message["data"], message.get("by")), (&json!("own"), None));
}

#[tokio::test]
async fn a_channel_shows_readers_of_every_transport_and_what_they_miss() {
    for is_http2 in [false, true] {
        let server = TestServer::with(|options| options.channels.history_count = 1).await;
        if server.is_cluster() {
            return;
        }
        let first = server.publish("/c/chat", "1").await;
        server.publish("/c/chat", "2").await;
        server.publish("/c/chat", "3").await;
        let mut tap = server.tap("/channels/chat/tap").await;
        let path = format!("/c/chat?after={first}&as=ann");
        let mut streams = Vec::new();
        for (name, accept) in [("sse", "text/event-stream"), ("ndjson", LINES)] {
            streams.push(ask(&server, is_http2, (path.as_str(), accept)));
            assert_eq!(tap.next_of("subscribed").await["subject"], "ann");
            let gap = tap.next_of("gap").await;
            assert_eq!((&gap["after"], &gap["why"]), (&json!(first), &json!("expired")));
            assert_eq!(gap["transport"], name);
        }
        for socket in &SOCKETS[..] {
            let opened = web_socket(&server, is_http2, *socket).await;
            if socket.0.starts_with("/c/") {
                let reader = tap.next_of("subscribed").await;
                let transport = socket.1.map_or("ws", |_| "v1");
                assert_eq!(reader["transport"], transport);
                drop(opened);
                let left = tap.next_of("unsubscribed").await;
                assert_eq!(
                    (&left["connection"], &left["why"]),
                    (&reader["connection"], &json!("left"))
                );
            }
        }
        let poll = ask(&server, is_http2, (POLLS[0], "application/json"));
        assert_eq!(tap.next_of("subscribed").await["transport"], "longpoll");
        server.order(Method::POST, "/disconnect?subject=ann").await;
        for _ in 0..3 {
            assert_eq!(tap.next_of("unsubscribed").await["why"], "disconnected");
        }
        for stream in streams {
            timeout(SOON, stream).await.expect("it ends").unwrap();
        }
        timeout(SOON, poll).await.expect("it is answered").unwrap();
    }
}

#[tokio::test]
async fn a_channel_shows_refusals_deletion_and_its_end() {
    let server = TestServer::with(|options| options.channels.max_message = 5).await;
    let mut tap = server.tap("/channels/chat/tap").await;
    if server.is_cluster() {
        return;
    }
    server.publish("/c/chat", "hello").await;
    tap.next_of("message").await;
    let mut plain = V1::connect(&server, "/connect").await;
    assert_eq!(
        plain.refused(json!({"op": "pub", "ch": "chat", "data": "too long"})).await,
        "too_large"
    );
    let refused = tap.next_of("refused").await;
    assert_eq!((&refused["code"], &refused["size"]), (&json!("too_large"), &json!(8)));
    assert_eq!(refused["by"]["transport"], "v1");
    // Before its body is read.
    server.post("/c/chat", "text/plain", "too long").await;
    let refused = tap.next_of("refused").await;
    assert_eq!((&refused["code"], &refused["size"]), (&json!("too_large"), &json!(8)));
    assert_eq!(refused["by"], json!({"transport": "http", "address": "127.0.0.1"}));
    server.delete("/c/chat").await;
    let gap = tap.next_of("gap").await;
    assert_eq!((&gap["why"], gap.get("connection")), (&json!("reset"), None));
    server.post("/c/chat?close=1", "text/plain", "").await;
    let last = tap.rest().await;
    assert_eq!(last.last().unwrap()["end"]["why"], "ended", "{last:?}");
}

#[tokio::test]
async fn a_connection_shows_what_is_sent_to_it_on_every_transport_until_it_ends() {
    for is_http2 in [false, true] {
        let server = TestServer::start().await;
        if server.is_cluster() {
            return;
        }
        let end = async |mut tap: Tapped, is_socket: bool| {
            server.publish("/c/chat", "hello").await;
            let out = loop {
                let out = tap.next_of("out").await;
                if out["kind"] == "message" {
                    break out;
                }
            };
            assert_eq!((&out["channel"], &out["data"]), (&json!("chat"), &json!("hello")));
            server.order(Method::POST, "/disconnect?subject=ann").await;
            let rest = tap.rest().await;
            assert!(rest.iter().any(|line| line["unsubscribed"]["channel"] == "chat"), "{rest:?}");
            if is_socket {
                let close = rest.iter().find_map(|line| line.get("close")).expect("a Close");
                assert_eq!((&close["from"], &close["code"]), (&json!("server"), &json!(4403)));
            }
            assert_eq!(rest.last().unwrap()["end"]["why"], "disconnected", "{rest:?}");
            server.connections(0).await;
        };
        for socket in SOCKETS {
            let mut opened = web_socket(&server, is_http2, socket).await;
            let tap = server.tap_connection().await;
            if socket.0.starts_with("/connect") {
                opened.send(r#"{"op":"sub","ch":"chat"}"#).await.unwrap();
                eventually_async("it is subscribed", async || server.readers() == 1).await;
            }
            end(tap, true).await;
        }
        for stream in STREAMS {
            let _stream = ask(&server, is_http2, stream);
            end(server.tap_connection().await, false).await;
        }
        for poll in POLLS {
            let answered = ask(&server, is_http2, (poll, "application/json"));
            let mut tap = server.tap_connection().await;
            server.publish("/c/chat", "hello").await;
            assert_eq!(tap.next_of("out").await["data"], "hello");
            // An answer is the end of it.
            assert_eq!(tap.next_of("end").await["why"], "left");
            timeout(SOON, answered).await.expect("it is answered").unwrap();
        }
    }
}

#[tokio::test]
async fn a_plain_websocket_shows_what_its_client_sends_and_how_it_closes() {
    for is_http2 in [false, true] {
        let server = TestServer::start().await;
        if server.is_cluster() {
            return;
        }
        let mut plain = web_socket(&server, is_http2, SOCKETS[0]).await;
        let mut tap = server.tap_connection().await;
        plain.send("hello").await.unwrap();
        let sent = tap.next_of("in").await;
        assert_eq!(sent, json!({"kind": "text", "size": 5, "data": "hello"}));
        plain.send(vec![0xff; 2000]).await.unwrap();
        let sent = tap.next_of("in").await;
        assert_eq!((&sent["kind"], &sent["size"]), (&json!("binary"), &json!(2000)));
        assert_eq!(sent["b64_start"].as_str().unwrap().len(), 1368, "of 1 KiB");
        let close = CloseFrame::new(CloseCode::try_from(4001).unwrap(), "enough").unwrap();
        timeout(SOON, plain.close(close)).await.expect("it is answered");
        let close = tap.next_of("close").await;
        assert_eq!(close, json!({"from": "client", "code": 4001, "reason": "enough"}));
        assert_eq!(tap.next_of("end").await["why"], "left");
    }
}

#[tokio::test]
async fn commands_and_answers_are_shown_and_tokens_are_not() {
    let server = auth::server().await;
    if server.is_cluster() {
        return;
    }
    let mut client = V1::connect(&server, "/connect").await;
    let mut tap = server.tap_connection().await;
    let secret = token(r#"{"chat":["read","write","presence"]}"#);
    client.done(json!({"op": "auth", "token": secret})).await;
    client.send_text(&format!("{{\"op\":\"auth\",\"tokens\":\"{secret}\"}}")).await;
    client.send_text(&format!("auth {secret}")).await;
    for _ in 0..2 {
        assert!(client.receive().await["err"].is_object());
    }
    client.subscribe("chat").await;
    client.publish(r#"{"op":"pub","ch":"chat","data":1}"#).await;
    let first = tap.next_of("in").await;
    assert_eq!((&first["kind"], &first["data"]["op"]), (&json!("command"), &json!("auth")));
    assert_eq!(first["data"]["token"], "***");
    let answer = tap.next_of("out").await;
    assert_eq!((&answer["kind"], &answer["data"]["ok"]), (&json!("answer"), &json!({})));
    for _ in 0..2 {
        assert_eq!(tap.next_of("in").await["hidden"], true);
        assert_eq!(tap.next_of("out").await["data"]["err"]["retry"], false);
    }
    assert_eq!(tap.next_of("in").await["data"]["op"], "sub");
    assert_eq!(tap.next_of("subscribed").await["channel"], "chat");
    assert_eq!(tap.next_of("in").await["data"]["data"], 1);
    client.socket.send(vec![1]).await.unwrap();
    let rest = tap.rest().await;
    let kinds: Vec<_> = rest.iter().filter_map(|line| line["out"]["kind"].as_str()).collect();
    assert!(kinds.contains(&"message"), "{rest:?}");
    assert!(rest.iter().any(|line| line["close"]["code"] == 1003), "{rest:?}");
    assert_eq!(rest.last().unwrap()["end"]["why"], "refused", "{rest:?}");
}

/// No word of a token is in what a tap says, wherever that was sent.
#[tokio::test]
async fn no_credential_of_any_kind_is_in_a_tap() {
    let server = auth::server().await;
    if server.is_cluster() {
        return;
    }
    let secret = token(r#"{"chat":["read","write"]}"#);
    let signature = secret.rsplit('.').next().unwrap().to_owned();
    let client = sockeye::Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let mut client = V1::with(client.subprotocol(format!("bearer.{secret}"))).await;
    let (of_channel, of_connection) =
        (server.tap("/channels/chat/tap").await, server.tap_connection().await);
    client.done(json!({"op": "auth", "token": secret})).await;
    client.refused(json!({"op": "auth", "token": format!("x{secret}")})).await;
    client.refused(json!({"op": "nothing", "token": secret})).await;
    client.done(json!({"op": "pub", "data": 1, "token": secret})).await;
    let request =
        server.request(Method::POST, "/c/chat").header("authorization", format!("Bearer {secret}"));
    assert_eq!(server.send(request, "text").await.status, StatusCode::CREATED);
    client.receive().await;
    client.receive().await;
    server.order(Method::POST, "/disconnect?subject=ann").await;
    let running = server.begin_to_stop();
    let shown = of_connection.stream.rest().await + &of_channel.stream.rest().await;
    assert!(shown.contains("\"message\"") && shown.contains("***"), "{shown}");
    assert!(!shown.contains(&signature), "{shown}");
    timeout(SOON, running).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn a_tap_is_events_or_lines_and_shows_as_much_as_is_asked_for() {
    let server = TestServer::start().await;
    let mut events = server.begin_tap("/channels/chat/tap?data=3", "text/event-stream").await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    let mut named = server.begin_tap("/channels/chat/tap?stream=sse&data=0", "*/*").await;
    assert_eq!(named.header("content-type"), "text/event-stream");
    let lines = server.begin_tap("/channels/chat/tap", "*/*").await;
    assert_eq!(lines.header("content-type"), LINES);
    events.until("\n\n").await;
    server.publish("/c/chat", "hello").await;
    let events = events.until_events(2).await;
    let message: Value = serde_json::from_str(&events[1].data).unwrap();
    assert_eq!(message["message"]["start"], "hel");
    let events = named.until_events(2).await;
    let message: Value = serde_json::from_str(&events[1].data).unwrap();
    assert_eq!(message["message"]["start"], "");

    server.operate("/channels/no%20name/tap").await.assert_problem(400, "bad_channel");
    server.operate("/channels/chat/tap?stream=ws").await.assert_problem(400, "bad_request");
    server.operate("/channels/chat/tap?data=x").await.assert_problem(400, "bad_request");
    for id in ["0", "99999", "18446744073709551616", "ann"] {
        server.operate(&format!("/connections/{id}/tap")).await.assert_problem(404, "not_found");
    }
    let refused = server.begin_tap("/channels/chat/tap", "image/png").await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    // The address of clients has no taps.
    server.get("/channels/chat/tap").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn there_are_16_taps_and_one_that_ends_makes_room() {
    let server = TestServer::start().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(server.tap("/channels/chat/tap").await);
    }
    server.operate("/channels/chat/tap").await.assert_problem(429, "too_many");
    assert_eq!(server.operate("/healthz").await.status, StatusCode::OK);
    open.pop();
    eventually_async("there is room", async || {
        server.begin_tap("/channels/chat/tap", LINES).await.status == StatusCode::OK
    })
    .await;
    drop(open);
    // Readers of the hub they were, and are not any more.
    server.has_readers(0).await;
}

#[tokio::test]
async fn a_tap_that_is_not_read_holds_up_no_client_and_is_told_what_it_missed() {
    let server = TestServer::with(|options| options.channels.history_count = 10).await;
    if server.is_cluster() {
        return;
    }
    let mut plain = web_socket(&server, false, SOCKETS[0]).await;
    let (mut of_connection, mut of_channel) =
        (server.tap_connection().await, server.tap("/channels/chat/tap").await);
    let (channel, text) = ("chat".parse().unwrap(), "x".repeat(1000));
    for _ in 0..2000 {
        server.hub.publish(&channel, Publication::text(&text)).await.unwrap();
        let message = timeout(SOON, plain.recv()).await.expect("it comes").unwrap().unwrap();
        assert_eq!(message.as_text(), Some(&*text));
    }
    #[cfg(feature = "prometheus")]
    {
        // 256 KiB of lines and one more wait for that of the connection; the other reads the log.
        assert_eq!(server.metric("sockeye_taps").await as u64, 2);
        let waiting = server.metric("sockeye_taps_queued_bytes").await as u64;
        assert!((1..=(256 << 10) + 2000).contains(&waiting), "{waiting}");
    }
    for tap in [&mut of_connection, &mut of_channel] {
        let dropped = tap.next_of("dropped").await.as_u64().unwrap();
        assert!((1..2000).contains(&dropped), "{dropped}");
    }
    // It goes on behind that.
    plain.send("still here").await.unwrap();
    while of_connection.next_of("in").await["data"] != "still here" {}
    while of_channel.next_of("message").await["data"] != "still here" {}
    drop((of_connection, of_channel));
    #[cfg(feature = "prometheus")]
    for name in ["sockeye_taps", "sockeye_taps_queued_bytes"] {
        server.until_metric(name, 0.0).await;
    }
}

#[tokio::test]
async fn a_tap_ends_with_the_server_and_does_not_hold_it_up() {
    let server = TestServer::with(|options| options.drain = Duration::from_secs(3600)).await;
    let tap = server.tap("/channels/chat/tap").await;
    let running = server.begin_to_stop();
    timeout(SOON, running).await.expect("it stops at once").unwrap().unwrap();
    assert_eq!(tap.rest().await, [json!({"end": {"why": "drain"}})]);
}

#[tokio::test]
async fn an_idle_tap_says_that_it_lives() {
    let server =
        TestServer::with(|options| options.channels.heartbeat = Duration::from_millis(20)).await;
    let mut tap = server.tap("/channels/chat/tap").await;
    tap.stream.until("\n\n\n").await;
}

#[tokio::test]
async fn the_page_for_browsers_is_there_with_its_files() {
    let server = TestServer::start().await;
    for (path, kind) in
        [("/tap", "text/html"), ("/tap.css", "text/css"), ("/tap.js", "text/javascript")]
    {
        let answer = server.operate(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.header("content-type").starts_with(kind), "{path}");
        assert!(!answer.text().contains("innerHTML"), "{path}");
    }
    let policy = server.operate("/tap").await.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
}

/// The server writes to many WebSockets of a channel by groups.
#[tokio::test]
async fn one_of_many_connections_shows_what_it_is_sent() {
    const MANY: usize = 40;
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut sockets = Vec::new();
    for _ in 0..MANY {
        sockets.push(web_socket(&server, false, SOCKETS[0]).await);
    }
    let id = server.connections(MANY).await[MANY - 1]["id"].clone();
    let mut tap = server.tap(&format!("/connections/{id}/tap")).await;
    for text in ["one", "two"] {
        server.publish("/c/chat", text).await;
        for socket in &mut sockets {
            assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some(text));
        }
        let sent = tap.next_of("out").await;
        assert_eq!((&sent["kind"], &sent["data"]), (&json!("message"), &json!(text)));
    }
}
