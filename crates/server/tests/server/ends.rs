//! Channels that have ended: what each transport tells of it, and what is refused then.

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use sockeye::{Client, Message};
use sockeye_server::Channels;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::auth::{self, token};
use crate::client::{Answer, SOON, TestServer, send};
use crate::event_source::EventSource;
use crate::v1::V1;

/// A way to read a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Poll,
    LongPoll,
    Events,
    MetaEvents,
    Lines,
    V1,
    Plain,
}

const ALL: [Way; 7] =
    [Way::Poll, Way::LongPoll, Way::Events, Way::MetaEvents, Way::Lines, Way::V1, Way::Plain];

/// Texts, and the position of the end behind them. A plain WebSocket has no positions.
type Read = (Vec<String>, Option<String>);

impl Way {
    /// Reads from there on, to the end of the channel.
    async fn read(self, address: SocketAddr, after: &str) -> Read {
        let query = format!("/c/chat?after={after}");
        match self {
            Self::Poll => polls(address, after, "").await,
            Self::LongPoll => polls(address, after, "&wait=60").await,
            Self::Events => events(address, &query).await,
            Self::MetaEvents => events(address, &format!("{query}&meta=1")).await,
            Self::Lines => lines(address, &query).await,
            Self::V1 => by_v1(address, &query).await,
            Self::Plain => plain(address, &query).await,
        }
    }

    /// What it tells.
    fn expected(self, texts: &[&str], end: &str) -> Read {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        (texts, (self != Self::Plain).then(|| end.to_owned()))
    }
}

async fn ask(address: SocketAddr, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header(HOST, address.to_string());
    send(address, request, Bytes::new()).await
}

async fn close(address: SocketAddr) -> Answer {
    ask(address, Method::POST, "/c/chat?close=1").await
}

async fn say(address: SocketAddr, text: &'static str) -> Answer {
    let request = Request::builder().method(Method::POST).uri("/c/chat");
    let request = request.header(HOST, address.to_string()).header(CONTENT_TYPE, "text/plain");
    send(address, request, Bytes::from_static(text.as_bytes())).await
}

/// The position in an answer, which its headers say, too.
#[track_caller]
fn position(answer: &Answer) -> String {
    let at = answer.json()["at"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("etag"), format!("\"{at}\""));
    assert_eq!(answer.header("sockeye-position"), at);
    at
}

fn text(message: &Value) -> String {
    message["data"].as_str().unwrap().to_owned()
}

async fn polls(address: SocketAddr, after: &str, wait: &str) -> Read {
    let (mut texts, mut after) = (Vec::new(), after.to_owned());
    loop {
        let answer = ask(address, Method::GET, &format!("/c/chat?after={after}{wait}")).await;
        after = position(&answer);
        let page = answer.json();
        texts.extend(page["messages"].as_array().unwrap().iter().map(text));
        if page["end"] == true {
            return (texts, Some(after));
        }
        assert_eq!(page.get("end"), None, "{page}");
    }
}

async fn events(address: SocketAddr, path: &str) -> Read {
    let request = Request::builder().uri(path).header(HOST, address.to_string());
    // The answer is whole: the stream ends by itself.
    let answer = send(address, request.header(ACCEPT, "text/event-stream"), Bytes::new()).await;
    let mut events = EventSource::read(answer.text()).events;
    let end = events.pop().unwrap();
    assert_eq!((&*end.name, &*end.data), ("end", &*end_of(&end.last_id)));
    let texts = events.iter().map(|event| match path.contains("meta=1") {
        true => text(&serde_json::from_str(&event.data).unwrap()),
        false => event.data.clone(),
    });
    (texts.collect(), Some(end.last_id))
}

fn end_of(at: &str) -> String {
    format!("{{\"at\":\"{at}\",\"end\":true}}")
}

async fn lines(address: SocketAddr, path: &str) -> Read {
    let request = Request::builder().uri(path).header(HOST, address.to_string());
    let request = request.header(ACCEPT, "application/x-ndjson");
    let answer = send(address, request, Bytes::new()).await;
    let lines: Vec<_> = answer.text().lines().collect();
    let (end, messages) = lines.split_last().unwrap();
    let at: Value = serde_json::from_str(end).unwrap();
    let at = at["at"].as_str().unwrap().to_owned();
    assert_eq!(*end, end_of(&at));
    (messages.iter().map(|line| text(&serde_json::from_str(line).unwrap())).collect(), Some(at))
}

async fn by_v1(address: SocketAddr, path: &str) -> Read {
    let mut v1 = V1::with(Client::new(format!("ws://{address}{path}")).unwrap()).await;
    let mut texts = Vec::new();
    loop {
        let frame = v1.receive_text().await;
        let message: Value = serde_json::from_str(&frame).unwrap();
        if message["end"] == true {
            let at = message["at"].as_str().unwrap().to_owned();
            assert_eq!(frame, format!("{{\"ch\":\"chat\",\"at\":\"{at}\",\"end\":true}}"));
            // The connection stays, and the channel can be subscribed to again.
            assert_eq!(v1.done(json!({"op": "unsub", "ch": "chat"})).await, json!({}));
            return (texts, Some(at));
        }
        texts.push(text(&message));
    }
}

async fn plain(address: SocketAddr, path: &str) -> Read {
    let url = format!("ws://{address}{path}");
    let mut socket = timeout(SOON, sockeye::connect(&url)).await.expect("an answer").unwrap();
    let mut texts = Vec::new();
    while let Some(message) = timeout(SOON, socket.recv()).await.expect("a message or the end") {
        let Message::Text(text) = message.unwrap() else { panic!("no text") };
        texts.push(text.to_string());
    }
    let closed = socket.closed().unwrap();
    assert_eq!((closed.code(), closed.reason()), (1000, "the channel has ended"));
    (texts, None)
}

/// Publishes, ends the channel and reads it in all ways, from all places.
async fn end_and_read(address: SocketAddr) {
    let first = position(&say(address, "1").await);
    let last = position(&say(address, "2").await);
    let closed = close(address).await;
    assert_eq!(closed.status, StatusCode::OK);
    let end = position(&closed);
    assert_eq!(closed.text(), end_of(&end));
    late_readers(address, [&first, &last, &end]).await;
}

async fn late_readers(address: SocketAddr, [first, last, end]: [&str; 3]) {
    for way in ALL {
        for (after, texts) in [
            ("earliest", &["1", "2"][..]),
            (first, &["2"]),
            ("-1", &["2"]),
            (last, &[]),
            (end, &[]),
            ("now", &[]),
        ] {
            let read = way.read(address, after).await;
            assert_eq!(read, way.expected(texts, end), "{way:?} after {after}");
        }
    }
}

#[tokio::test]
async fn late_readers_get_the_history_and_then_the_end() {
    let server = TestServer::start().await;
    end_and_read(server.address).await;
    server.stop().await;
}

#[tokio::test]
async fn a_program_that_has_the_channels_inside_ends_them_alike() {
    let channels = Channels::builder().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let program = Router::new().merge(channels.router());
    tokio::spawn(async move { axum::serve(listener, program).await });
    end_and_read(address).await;
}

#[cfg(feature = "fjall")]
#[tokio::test]
async fn an_end_holds_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let data = directory.path().to_owned();
        TestServer::with(move |options| options.channels.data = Some(data))
    };
    let server = start().await;
    let first = server.publish("/c/chat", "1").await;
    let last = server.publish("/c/chat", "2").await;
    let end = position(&close(server.address).await);
    server.stop().await;
    let server = start().await;
    late_readers(server.address, [&first, &last, &end]).await;
    say(server.address, "3").await.assert_problem(409, "ended");
    assert_eq!(server.delete("/c/chat").await.status, StatusCode::NO_CONTENT);
    server.stop().await;
    let server = start().await;
    server.publish("/c/chat", "anew").await;
    assert_eq!(server.get("/c/chat").await.json().get("end"), None);
    server.stop().await;
}

#[tokio::test]
async fn open_readers_are_told_when_the_channel_ends() {
    let server = TestServer::start().await;
    let address = server.address;
    let live: Vec<_> = ALL.into_iter().filter(|&way| way != Way::Poll).collect();
    let reading: Vec<_> = live.iter().map(|&way| tokio::spawn(way.read(address, "now"))).collect();
    server.has_readers(live.len() as u64).await;
    server.publish("/c/chat", "last words").await;
    let end = position(&close(address).await);
    for (way, read) in live.into_iter().zip(reading) {
        let read = timeout(SOON, read).await.expect("it ends").unwrap();
        // A long poll that has got the message begins again at `now`'s position.
        assert_eq!(read, way.expected(&["last words"], &end), "{way:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn publishing_is_refused_until_the_channel_is_deleted() {
    let server = TestServer::start().await;
    let address = server.address;
    let mut v1 = V1::connect(&server, "/connect").await;
    let publish = json!({"op": "pub", "ch": "chat", "data": "1"});
    let first = v1.done(publish.clone()).await;
    let closing = json!({"op": "close", "ch": "chat"});
    let closed = v1.done(closing.clone()).await;
    assert_eq!(closed["end"], true);
    let end = closed["at"].as_str().unwrap();
    assert_ne!(first["at"], end);
    assert_eq!(v1.done(closing).await["at"], end, "it has ended once");
    assert_eq!(position(&close(address).await), end);

    assert_eq!(v1.refused(publish.clone()).await, "ended");
    let refused = say(address, "2").await;
    refused.assert_problem(409, "ended");
    assert!(refused.json()["detail"].as_str().unwrap().contains("DELETE"));
    let read = v1.done(json!({"op": "read", "ch": "chat"})).await;
    assert_eq!((&read["at"], &read["end"]), (&json!(end), &json!(true)));
    let known =
        server.request(Method::GET, "/c/chat").header("If-None-Match", format!("\"{end}\""));
    assert_eq!(server.send(known, "").await.json()["end"], true, "an end is told each time");

    assert_eq!(server.delete("/c/chat").await.status, StatusCode::NO_CONTENT);
    v1.done(publish).await;
    let poll = server.get("/c/chat").await.json();
    assert_eq!((poll["messages"].as_array().unwrap().len(), poll.get("end")), (1, None));
}

#[tokio::test]
async fn an_event_source_that_was_told_stays_away() {
    let server = TestServer::start().await;
    let last = server.publish("/c/chat", "1").await;
    let end = position(&close(server.address).await);
    let come_back = async |id: &str| {
        let request = server.request(Method::GET, "/c/chat").header(ACCEPT, "text/event-stream");
        server.send(request.header("Last-Event-ID", id), "").await
    };
    // Only this status makes a browser give up (WHATWG HTML §9.2.2).
    let told = come_back(&end).await;
    assert_eq!(
        (told.status, told.header("sockeye-position")),
        (StatusCode::NO_CONTENT, end.clone())
    );
    let untold = EventSource::read(come_back(&last).await.text());
    assert_eq!((untold.events.len(), &untold.last_id), (1, &end), "{untold:?}");
    server.delete("/c/chat").await;
    server.publish("/c/chat", "anew").await;
    let mut stream = server.events(&format!("/c/chat?lastEventId={end}")).await;
    // A cluster tells all that come from before a deletion that there was one.
    let gaps = usize::from(server.is_cluster());
    assert_eq!(stream.until_events(1 + gaps).await[gaps].data, "anew");
}

#[tokio::test]
async fn ending_a_channel_needs_the_right_to_write() {
    let server = auth::server().await;
    let ask = async |token: &str| {
        let request = server.request(Method::POST, "/c/chat?close=1");
        let request = match token {
            "" => request,
            token => request.header("Authorization", format!("Bearer {token}")),
        };
        server.send(request, "").await
    };
    ask("").await.assert_problem(401, "unauthorized");
    ask(&token(r#"{"chat":["read","presence"]}"#)).await.assert_problem(403, "forbidden");
    let mut v1 = V1::connect(&server, "/connect").await;
    v1.done(json!({"op": "auth", "token": token(r#"{"chat":["read"]}"#)})).await;
    assert_eq!(v1.refused(json!({"op": "close", "ch": "chat"})).await, "forbidden");
    assert_eq!(ask(&token(r#"{"chat":["write"]}"#)).await.status, 200);
}

#[tokio::test]
async fn what_is_no_request_to_end_a_channel_ends_none() {
    let server = TestServer::start().await;
    for (path, body) in [("/c/chat?close=yes", ""), ("/c/chat?close=1", "bye")] {
        server.post(path, "text/plain", body).await.assert_problem(400, "bad_request");
    }
    let posted = server.post("/c/chat?close=0", "text/plain", "1").await;
    assert_eq!(posted.status, StatusCode::CREATED);
}

/// A message with an event of that name is no end, and not taken for one where it can be told.
#[tokio::test]
async fn an_event_may_be_named_end() {
    let server = TestServer::start().await;
    let request = server.request(Method::POST, "/c/chat").header("Sockeye-Event", "end");
    let at = server.send(request, r#"{"at":"k3f9.1","end":true}"#).await.json()["at"].take();
    let mut stream = server.events("/c/chat?after=earliest&meta=1").await;
    let event = stream.until_events(1).await.remove(0);
    let message: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!((&*event.name, &message["at"], message.get("end")), ("end", &at, None));
}
