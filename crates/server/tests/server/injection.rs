//! A published message can write nothing but its own data into a stream.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sockeye_hub::Publication;
use tokio::runtime::Runtime;

use crate::client::TestServer;
use crate::event_source::EventSource;

/// Attacks of known advisories: each would forge a field, an event or a line if it came through
/// unchanged.
const ATTACKS: [&str; 16] = [
    "x\n\nevent: forged\ndata: y",
    "x\r\revent: forged\rdata: y",
    "x\r\n\r\nid: 9.9\r\ndata: y",
    "x\nid: 9.9",
    "x\rid: 9.9",
    "x\nretry: 1",
    "\n",
    "\r",
    "\r\n",
    "\n\r\n\r\r",
    ": comment",
    "data: data",
    "\u{feff}data: x",
    "\0",
    "x\u{85}id: 9.9\u{2028}id: 9.9\u{2029}id: 9.9\u{0b}\u{0c}id: 9.9",
    "{\"at\":\"9.9\"}\n{\"gap\":{}}",
];

/// The text as a page gets it: all line breaks are the same to an event stream.
fn with_plain_breaks(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Publishes the texts and asserts that each form of stream has them and nothing else.
async fn assert_nothing_is_forged(server: &TestServer, texts: &[&str]) {
    let channel = "chat".parse().unwrap();
    server.hub.forget(&channel).await.unwrap();
    let mut positions = Vec::new();
    for text in texts {
        let position = server.hub.publish(&channel, Publication::text(text)).await.unwrap();
        positions.push(position.to_string());
    }
    let (count, last) = (texts.len(), positions.last().unwrap());

    let events = server.events("/c/chat?after=earliest").await.until_events(count).await;
    let expected: Vec<_> = texts.iter().map(|text| with_plain_breaks(text)).collect();
    assert_eq!(
        events.iter().map(|event| &event.data).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    assert_eq!(
        events.iter().map(|event| &event.last_id).collect::<Vec<_>>(),
        positions.iter().collect::<Vec<_>>()
    );
    assert!(events.iter().all(|event| event.name == "message"));

    let mut stream = server.events("/c/chat?after=earliest&meta=1").await;
    let messages: Vec<Value> = stream
        .until_events(count)
        .await
        .iter()
        .map(|event| serde_json::from_str(&event.data).unwrap())
        .collect();
    assert_eq!(
        messages.iter().map(|message| &message["data"]).collect::<Vec<_>>(),
        texts.iter().map(|text| json!(text)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    assert_eq!(EventSource::read(&stream.text).retries.len(), 1);

    let mut stream = server.lines("/c/chat?after=earliest").await;
    let lines = stream.until(&format!("\"at\":\"{last}\"")).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, messages);
}

#[tokio::test]
async fn known_attacks_are_data() {
    let server = TestServer::start().await;
    assert_nothing_is_forged(&server, &ATTACKS).await;
}

#[test]
fn any_text_is_data() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(TestServer::start());
    let piece = prop_oneof![
        Just("\r"),
        Just("\n"),
        Just("\r\n"),
        Just("\0"),
        Just(":"),
        Just(" "),
        Just("id: 9.9"),
        Just("data"),
        Just("event: x"),
        Just("retry: 1"),
        Just("\u{2028}"),
        Just("ü"),
        Just("\"}"),
    ];
    let text = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    let texts = prop::collection::vec(text, 1..6);
    let mut runner =
        TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    runner
        .run(&texts, |texts| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            runtime.block_on(assert_nothing_is_forged(&server, &texts));
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn json_with_line_breaks_is_one_value() {
    let server = TestServer::start().await;
    for json in ["[1,\n2]", "{\r\"a\"\r:\r1\r}", "\n\n[]\r\n"] {
        server.delete("/c/chat").await;
        let published = server.post("/c/chat", "application/json", json).await;
        assert_eq!(published.status.as_u16(), 201);
        let value: Value = serde_json::from_str(json).unwrap();
        let events = server.events("/c/chat?after=earliest").await.until_events(1).await;
        assert_eq!(serde_json::from_str::<Value>(&events[0].data).unwrap(), value);
        let mut stream = server.lines("/c/chat?after=earliest").await;
        let line: Value = serde_json::from_str(stream.until("\n").await).unwrap();
        assert_eq!(line["data"], value);
    }
}

#[tokio::test]
async fn a_name_that_could_forge_a_field_is_invalid() {
    let server = TestServer::start().await;
    // As raw bytes: no client library lets such headers through.
    for name in ["a\rid: 9", "a\0b", "a b", "ü", "message", "gap", "binary"] {
        let request = format!(
            "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nSockeye-Event: {name}\r\n\
             Content-Length: 1\r\n\r\nx"
        );
        let answer = server.send_raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name:?}: {answer}");
    }
    assert_eq!(server.get("/c/chat").await.json()["messages"], json!([]));
}

#[tokio::test]
async fn an_id_that_could_forge_a_field_is_not_a_position() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "kept").await;
    let (epoch, _) = at.split_once('.').unwrap();
    for id in ["1.1%0Aid:%209", "1.1%0D", "1.1%00", "%0A1.1"] {
        server.get(&format!("/c/chat?after={id}")).await.assert_problem(400, "bad_position");
        for name in ["last_event_id", "lastEventId"] {
            // A gap, which repeats nothing of the id.
            let mut stream = server.events(&format!("/c/chat?{name}={id}")).await;
            let events = stream.until_events(2).await;
            let gap: Value = serde_json::from_str(&events[0].data).unwrap();
            assert_eq!(gap["after"], format!("{epoch}.0"), "{id}");
            // The epoch is random: its own letters could end or begin like the id.
            let text = stream.text.replace(epoch, "epoch");
            assert!(!text.contains("1.1\n") && !text.contains("id: 9"), "{id}: {text}");
        }
    }
}
