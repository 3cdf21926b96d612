//! Server-Sent Events on `/c/{channel}`.

use std::collections::HashSet;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::TestServer;
use crate::event_source::{Event, EventSource};

fn event(name: &str, data: &str, last_id: &str) -> Event {
    Event { name: name.to_owned(), data: data.to_owned(), last_id: last_id.to_owned() }
}

/// The data of the events, in order.
fn data(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.data.as_str()).collect()
}

#[tokio::test]
async fn the_head_forbids_proxies_to_buffer_the_stream() {
    let server = TestServer::start().await;
    let stream = server.events("/c/chat").await;
    assert_eq!(stream.status, StatusCode::OK);
    assert_eq!(stream.header("content-type"), "text/event-stream");
    assert_eq!(stream.header("cache-control"), "no-store, no-transform");
    assert_eq!(stream.header("x-accel-buffering"), "no");
    assert_eq!(stream.header("content-length"), "");
    assert_eq!(stream.header("x-content-type-options"), "nosniff");
    assert!(stream.header("vary").contains("Accept"), "{:?}", stream.headers);
}

#[tokio::test]
async fn a_stream_begins_with_the_time_to_reconnect_and_the_position() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "before").await;
    let mut stream = server.events("/c/chat").await;
    assert!(stream.until("\n\n").await.starts_with("retry: "));
    let source = EventSource::read(&stream.text);
    assert_eq!((source.last_id, source.events), (at, vec![]));
}

#[tokio::test]
async fn each_client_gets_its_own_time_to_reconnect() {
    let server = TestServer::start().await;
    let mut times = HashSet::new();
    for _ in 0..10 {
        let mut stream = server.events("/c/chat").await;
        stream.until("\n\n").await;
        times.extend(EventSource::read(&stream.text).retries);
    }
    assert!(times.len() > 5, "{times:?}");
    assert!(times.iter().all(|time| (500..=2500).contains(time)), "{times:?}");
}

#[tokio::test]
async fn messages_come_as_they_are_published() {
    let server = TestServer::start().await;
    let mut stream = server.events("/c/chat").await;
    for text in ["one", "", " three: \"3\"", "vier ü 四"] {
        let at = server.publish("/c/chat", text).await;
        let wanted = format!("id: {at}\ndata: {text}\n\n");
        stream.until(&wanted).await;
    }
    let events = stream.until_events(4).await;
    assert_eq!(data(&events), ["one", "", " three: \"3\"", "vier ü 四"]);
    assert!(events.iter().all(|event| event.name == "message"));
}

#[tokio::test]
async fn each_kind_of_message_has_its_form() {
    let server = TestServer::start().await;
    let mut stream = server.events("/c/chat").await;
    let post = async |kind: &str, name: Option<&str>, body: &'static [u8]| {
        let mut request = server.request(Method::POST, "/c/chat").header("Content-Type", kind);
        if let Some(name) = name {
            request = request.header("Sockeye-Event", name);
        }
        server.send(request, body).await.json()["at"].as_str().unwrap().to_owned()
    };
    let named = post("text/plain", Some("price"), b"42").await;
    let json = post("application/json", None, b"{\"a\":\r\n[1,\n2]}").await;
    let lines = post("text/plain", None, b"a\nb\r\nc\rd\n").await;
    let bytes = post("application/octet-stream", Some("frame"), b"\x00\xff\n").await;
    assert_eq!(
        stream.until_events(4).await,
        [
            event("price", "42", &named),
            event("message", "{\"a\":\n[1,\n2]}", &json),
            event("message", "a\nb\nc\nd\n", &lines),
            event("binary", "AP8K", &bytes),
        ]
    );
}

#[tokio::test]
async fn with_meta_the_data_is_the_message() {
    let server = TestServer::start().await;
    let mut stream = server.events("/c/chat?meta=1").await;
    server.publish("/c/chat", "two\nlines").await;
    let bytes = server.request(Method::POST, "/c/chat").header("Sockeye-Event", "frame");
    server.send(bytes.header("Content-Type", "application/octet-stream"), "\0").await;
    let json = server.post("/c/chat", "application/json", "[1,\n2]").await;
    assert_eq!(json.status, StatusCode::CREATED);
    let events = stream.until_events(3).await;
    let messages: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
    assert_eq!(json!(messages), server.get("/c/chat").await.json()["messages"]);
    assert_eq!(messages[0]["data"], "two\nlines");
    assert_eq!((&messages[1]["b64"], &messages[1]["event"]), (&json!("AA=="), &json!("frame")));
    assert!(events.iter().zip(&messages).all(|(event, message)| message["at"] == event.last_id));
    server.get("/c/chat?meta=yes").await; // JSON has its meta anyway.
    let refused = server.request(Method::GET, "/c/chat?meta=yes");
    let refused = server.send(refused.header("Accept", "text/event-stream"), "").await;
    refused.assert_problem(400, "bad_request");
}

#[tokio::test]
async fn a_stream_starts_where_the_request_says() {
    let server = TestServer::start().await;
    for number in 1..=4 {
        server.publish("/c/chat", &number.to_string()).await;
    }
    for (after, expected) in [("earliest", "1234"), ("-2", "34"), ("10m", "1234")] {
        let mut stream = server.events(&format!("/c/chat?after={after}")).await;
        let events = stream.until_events(expected.len()).await;
        assert_eq!(data(&events).concat(), expected, "after={after}");
    }
}

#[tokio::test]
async fn the_last_event_id_wins_over_the_url() {
    let server = TestServer::start().await;
    let mut positions = Vec::new();
    for number in 1..=4 {
        positions.push(server.publish("/c/chat", &number.to_string()).await);
    }
    let (first, third) = (&positions[0], &positions[2]);
    let cases = [
        (format!("?after={first}"), None, "234"),
        (format!("?after={first}"), Some(third.as_str()), "4"),
        (format!("?lastEventId={first}"), Some(third), "4"),
        (format!("?after={first}"), Some(""), "234"),
        (format!("?after={first}&lastEventId={third}"), None, "4"),
        (format!("?after={first}&last_event_id={third}"), None, "4"),
        (format!("?after={third}&last_event_id="), None, "4"),
    ];
    for (query, last_event_id, expected) in cases {
        let path = format!("/c/chat{query}");
        let mut request = server.request(Method::GET, &path).header("Accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let events = server.listen(request).await.until_events(expected.len()).await;
        assert_eq!(data(&events).concat(), expected, "{query} {last_event_id:?}");
    }
}

/// A refusal would end an `EventSource` for ever.
#[tokio::test]
async fn the_last_event_id_of_another_server_is_a_gap() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "kept").await;
    let (epoch, offset) = at.split_once('.').unwrap();
    // The position just before the message.
    let next = format!("{epoch}.{}", offset.parse::<u64>().unwrap() - 1);
    let gap = json!({"after": format!("{epoch}.0"), "next": next, "why": "reset"});
    for id in ["17", "urn:uuid:6a0f", "k3f9.x", "é"] {
        let request = server.request(Method::GET, "/c/chat").header("Accept", "text/event-stream");
        let request = request.header("Last-Event-ID", id.as_bytes());
        let events = server.listen(request).await.until_events(2).await;
        assert_eq!((&*events[0].name, &*events[1].data), ("gap", "kept"), "{id}");
        assert_eq!(serde_json::from_str::<Value>(&events[0].data).unwrap(), gap, "{id}");

        let poll = server.request(Method::GET, "/c/chat").header("Last-Event-ID", id.as_bytes());
        let page = server.send(poll, "").await.json();
        assert_eq!((&page["gap"], &page["messages"][0]["data"]), (&gap, &json!("kept")), "{id}");
    }
    let alias = server.events("/c/chat?lastEventId=17").await.until_events(2).await;
    assert_eq!(alias[0].name, "gap");
    server.get("/c/chat?after=17").await.assert_problem(400, "bad_position");
}

#[tokio::test]
async fn an_empty_after_is_none() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "before").await;
    let mut stream = server.events("/c/chat?after=").await;
    server.publish("/c/chat", "after").await;
    assert_eq!(data(&stream.until_events(1).await), ["after"]);
    assert_eq!(server.get("/c/chat?after=").await.json()["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_stream_is_asked_for_in_the_url_by_clients_that_set_no_headers() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "hello").await;
    for accept in ["*/*", "application/json", "image/png"] {
        let request = |path: &str| server.request(Method::GET, path).header("Accept", accept);
        let mut stream = server.listen(request("/c/chat?stream=sse&after=earliest")).await;
        assert_eq!(stream.header("content-type"), "text/event-stream");
        assert_eq!(data(&stream.until_events(1).await), ["hello"]);
        let mut stream = server.listen(request("/c/chat?stream=ndjson&after=earliest")).await;
        assert_eq!(stream.header("content-type"), "application/x-ndjson");
        assert!(stream.until("\n").await.contains("\"data\":\"hello\""));
    }
    let head = server.head("/c/chat?stream=sse").await;
    assert_eq!(head.header("content-type"), "text/event-stream");
    let refused = server.get("/c/chat?stream=ws").await;
    refused.assert_problem(426, "upgrade_required");
    assert_eq!(refused.header("upgrade"), "websocket");
    server.get("/c/chat?stream=json5").await.assert_problem(400, "bad_request");
    server.get("/c/chat?stream=sse&stream=sse").await.assert_problem(400, "bad_request");
}

#[tokio::test]
async fn a_drop_before_the_first_message_is_resumed() {
    let server = TestServer::start().await;
    let mut stream = server.events("/c/chat").await;
    stream.until("\n\n").await;
    let last_id = EventSource::read(&stream.text).last_id;
    drop(stream);
    server.publish("/c/chat", "while away").await;
    let request = server.request(Method::GET, "/c/chat").header("Accept", "text/event-stream");
    let mut stream = server.listen(request.header("Last-Event-ID", last_id)).await;
    assert_eq!(data(&stream.until_events(1).await), ["while away"]);
}

/// Go's donovanhide/eventsource and Symfony's reader ask for no cached response, as browsers do, and
/// take each empty line for a message.
#[tokio::test]
async fn only_an_event_source_of_the_standard_is_shown_the_position_in_a_block() {
    let server =
        TestServer::with(|options| options.channels.heartbeat = Duration::from_millis(20)).await;
    for (header, is_block) in [("Pragma", true), ("Accept-Language", true), ("X-Other", false)] {
        let request = server.request(Method::GET, "/c/chat").header("Accept", "text/event-stream");
        let request = request.header("Cache-Control", "no-cache").header(header, "no-cache");
        let mut stream = server.listen(request).await;
        stream.until("\n:\n:\n").await;
        assert_eq!(stream.text.contains("\n\n"), is_block, "{header}: {}", stream.text);
    }
}

/// fetch-event-source and httpx-sse take each empty line for the end of a message, and store the id
/// with its line.
#[tokio::test]
async fn a_reader_that_takes_each_empty_line_for_a_message_sees_messages_alone() {
    let server =
        TestServer::with(|options| options.channels.heartbeat = Duration::from_millis(20)).await;
    let before = server.publish("/c/chat", "before").await;
    let request = || server.request(Method::GET, "/c/chat").header("Accept", "text/event-stream");
    let mut stream = server.listen(request()).await;
    stream.until("\n:\n:\n").await;
    assert!(stream.text.starts_with("retry: "), "{}", stream.text);
    assert!(stream.text.contains(&format!("\nid: {before}\n")), "{}", stream.text);
    assert!(!stream.text.contains("\n\n"), "{}", stream.text);
    drop(stream);

    let away = server.publish("/c/chat", "while away").await;
    let mut stream = server.listen(request().header("Last-Event-ID", &before)).await;
    stream.until("\n\n:\n").await;
    let later = server.publish("/c/chat", "later").await;
    stream.until("later\n\n:\n").await;
    assert_eq!(stream.text.matches("\n\n").count(), 2, "{}", stream.text);
    let events = EventSource::read(&stream.text).events;
    assert_eq!(data(&events), ["while away", "later"]);
    assert_eq!((&*events[0].last_id, &*events[1].last_id), (&*away, &*later));
}

#[tokio::test]
async fn a_gap_comes_in_band_with_the_position_to_resume_from() {
    let server = TestServer::with(|options| options.channels.history_count = 2).await;
    let mut positions = Vec::new();
    for number in 1..=5 {
        positions.push(server.publish("/c/chat", &number.to_string()).await);
    }
    let mut stream = server.events(&format!("/c/chat?after={}", positions[0])).await;
    let events = stream.until_events(3).await;
    assert!(stream.text.contains(&format!("id: {}\n\n", positions[0])), "it has not moved yet");
    let gap =
        format!(r#"{{"after":"{}","next":"{}","why":"expired"}}"#, positions[0], positions[2]);
    assert_eq!(events[0], event("gap", &gap, &positions[2]));
    assert_eq!(data(&events[1..]), ["4", "5"]);

    server.delete("/c/chat").await;
    let events = stream.until_events(4).await;
    assert_eq!(events[3].name, "gap");
    assert_eq!(format!("\"{}\"", events[3].last_id), server.head("/c/chat").await.header("etag"));
    assert!(server.is_cluster() || events[3].last_id == positions[4], "{events:?}");
    assert!(events[3].data.contains(r#""why":"reset""#), "{events:?}");
}

#[tokio::test]
async fn a_stream_on_which_nothing_comes_says_that_it_lives() {
    let server =
        TestServer::with(|options| options.channels.heartbeat = Duration::from_millis(20)).await;
    let mut stream = server.events("/c/chat").await;
    stream.until("\n\n:\n:\n").await;
    let source = EventSource::read(&stream.text);
    assert_eq!(source.events, []);
    assert!(source.comments >= 2);
}

#[tokio::test]
async fn padding_comes_first_and_means_nothing() {
    let server = TestServer::start().await;
    let mut stream = server.events("/c/chat?pad=2048").await;
    stream.until("\n\n").await;
    assert_eq!(stream.text.find('\n'), Some(2047));
    let source = EventSource::read(&stream.text);
    assert_eq!((source.comments, source.retries.len(), source.events.len()), (1, 1, 0));
    let request = server.request(Method::GET, "/c/chat?pad=65537");
    let refused = server.send(request.header("Accept", "text/event-stream"), "").await;
    refused.assert_problem(400, "bad_request");
}

#[tokio::test]
async fn a_server_that_stops_says_when_to_come_back_and_ends_the_stream() {
    let server = TestServer::start().await;
    let mut stream = server.events("/c/chat").await;
    stream.until("\n\n").await;
    let running = server.begin_to_stop();
    let text = stream.rest().await;
    let source = EventSource::read(&text);
    assert_eq!(source.retries.len(), 2, "{source:?}");
    assert!(text.ends_with("\n\n"), "a whole block: {text:?}");
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing_behind() {
    let server = TestServer::start().await;
    let streams = [server.events("/c/chat").await, server.lines("/c/chat?as=ann").await];
    server.has_readers(2).await;
    let chat = "chat".parse().unwrap();
    let presence = server.hub.presence_of_all(&chat, None, usize::MAX).await;
    assert_eq!((presence.count, &*presence.members[0].id), (2, "ann"));
    drop(streams);
    server.has_readers(0).await;
    assert_eq!(server.hub.presence_of_all(&chat, None, usize::MAX).await.count, 0);
}
