//! Several channels by one request: `GET /c/a,b,c`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::auth::{self, token};
use crate::client::{Answer, TestServer};
use crate::event_source::EventSource;

/// The messages in a page or a stream, each as its channel and its data.
fn told<'a>(messages: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let tell = |message: &Value| format!("{}:{}", word(&message["ch"]), word(&message["data"]));
    messages.into_iter().map(tell).collect()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The position of an answer, which its headers say, too.
#[track_caller]
fn at(answer: &Answer) -> String {
    let at = answer.json()["at"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("etag"), format!("\"{at}\""));
    assert_eq!(answer.header("sockeye-position"), at);
    at
}

fn messages(answer: &Answer) -> Vec<String> {
    told(answer.json()["messages"].as_array().unwrap())
}

fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}

#[tokio::test]
async fn a_poll_says_of_each_message_its_channel_and_goes_on_after_one_position() {
    let server = TestServer::start().await;
    for (channel, text) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")] {
        server.publish(&format!("/c/{channel}"), text).await;
    }
    let first = server.get("/c/a,b,c").await;
    assert_eq!(messages(&first), ["a:1", "a:2", "b:1", "c:1"]);
    let mut single = server.get("/c/a").await.json()["messages"][0].take();
    single["ch"] = json!("a");
    assert_eq!(first.json()["messages"][0], single, "a message is the same as alone");
    let after = at(&first);
    let head = server.head("/c/a,b,c").await.header("sockeye-position").to_owned();
    // In a cluster the positions of one channel go on with those of others.
    assert!(head == after || server.is_cluster(), "{head}");
    assert_eq!(messages(&server.get(&format!("/c/a,b,c?after={head}")).await), [""; 0]);

    let nothing = server.get(&format!("/c/a,b,c?after={after}")).await;
    assert_eq!((messages(&nothing), at(&nothing)), (vec![], after.clone()));
    let known = server.request(Method::GET, &format!("/c/a,b,c?after={after}"));
    let known = known.header("If-None-Match", format!("\"{after}\""));
    assert_eq!(server.send(known, "").await.status, StatusCode::NOT_MODIFIED);
    server.publish("/c/b", "2").await;
    let next = server.get(&format!("/c/a%2Cb,c?after={after}")).await;
    assert_eq!(messages(&next), ["b:2"]);
    assert_eq!(messages(&server.get("/c/a,b?after=-1").await), ["a:2", "b:2"]);
}

#[tokio::test]
async fn a_long_history_holds_up_no_other_channel() {
    let server = TestServer::start().await;
    for number in 0..20 {
        server.publish("/c/long", &number.to_string()).await;
    }
    server.publish("/c/short", "here").await;
    let mut seen = Vec::new();
    let mut after = "earliest".to_owned();
    for poll in 0.. {
        let page = server.get(&format!("/c/long,short?limit=4&after={after}")).await;
        after = at(&page);
        let messages = messages(&page);
        assert!(messages.len() <= 4, "{messages:?}");
        assert!(poll > 0 || messages.contains(&"short:here".to_owned()), "{messages:?}");
        if messages.is_empty() {
            break;
        }
        seen.extend(messages);
    }
    assert_eq!(seen.len(), 21);
}

#[tokio::test]
async fn one_position_resumes_all_channels_on_every_transport() {
    let server = TestServer::start().await;
    let mut after = at(&server.get("/c/a,b").await);
    let (mut seen, mut published) = (Vec::new(), Vec::new());
    for hop in 0..12 {
        for channel in ["a", "b", "a"] {
            let text = published.len().to_string();
            server.publish(&format!("/c/{channel}"), &text).await;
            published.push(format!("{channel}:{text}"));
        }
        let path = format!("/c/a,b?after={after}");
        let came = match hop % 4 {
            0 => {
                let mut stream = server.events(&path).await;
                let events = stream.until_events(3).await;
                after.clone_from(&events[2].last_id);
                let json = events.iter().map(|event| serde_json::from_str(&event.data).unwrap());
                told(&json.collect::<Vec<Value>>())
            }
            1 => {
                let mut stream = server.lines(&path).await;
                while stream.text.lines().count() < 3 || !stream.text.ends_with('\n') {
                    let seen = stream.text.len();
                    stream.until_longer(seen).await;
                }
                let lines: Vec<Value> =
                    stream.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                word(&lines[2]["id"]).clone_into(&mut after);
                told(&lines)
            }
            wait => {
                let wait = if wait == 2 { "" } else { "&wait=60" };
                let page = server.get(&format!("{path}{wait}")).await;
                after = at(&page);
                messages(&page)
            }
        };
        assert_eq!(came.len(), 3, "{hop}: {came:?}");
        seen.extend(came);
    }
    assert_eq!(sorted(seen), sorted(published), "each once");
}

#[tokio::test]
async fn what_comes_wakes_a_long_poll_and_reaches_a_stream() {
    let server = TestServer::start().await;
    let (poll, _) = tokio::join!(server.get("/c/a,b,c?wait=60"), async {
        server.has_readers(3).await;
        server.publish("/c/b", "news").await
    });
    assert_eq!(
        (messages(&poll), &*poll.header("preference-applied")),
        (vec!["b:news".to_owned()], "wait=60")
    );
    let mut stream = server.events("/c/a,b").await;
    for (channel, text) in [("a", "one"), ("b", "two"), ("a", "three")] {
        server.publish(&format!("/c/{channel}"), text).await;
        stream.until(&format!("\"data\":\"{text}\"}}\n\n")).await;
    }
    assert_eq!(EventSource::read(&stream.text).events.len(), 3);
}

#[tokio::test]
async fn an_end_that_was_told_wakes_no_long_poll() {
    let server = TestServer::start().await;
    server.publish("/c/b", "1").await;
    server.post("/c/a?close=1", "text/plain", "").await;
    let page = server.get("/c/a,b?after=earliest").await;
    let after = at(&page);
    assert_eq!(page.json()["ends"].as_array().unwrap().len(), 1);
    let path = format!("/c/a,b?wait=60&after={after}");
    let (poll, _) = tokio::join!(server.get(&path), async {
        server.has_readers(2).await;
        server.publish("/c/b", "news").await
    });
    assert_eq!(messages(&poll), ["b:news"]);
    server.post("/c/b?close=1", "text/plain", "").await;
    let page = server.get(&path).await.json();
    assert_eq!(page["end"], json!(true), "of the last end it is told at once");
}

#[tokio::test]
async fn a_page_of_several_channels_has_the_bound_of_one() {
    let server = TestServer::start().await;
    // Each byte is six in JSON.
    let text = "\u{7}".repeat(60_000);
    let names: Vec<_> = ('a'..='h').map(String::from).collect();
    for name in &names {
        server.publish(&format!("/c/{name}"), &text).await;
    }
    let (mut seen, mut after) = (Vec::new(), "earliest".to_owned());
    while seen.len() < names.len() {
        let page = server.get(&format!("/c/{}?after={after}", names.join(","))).await;
        assert!(page.text().len() < (1 << 20) + 7 * 60_000, "{}", page.text().len());
        after = at(&page);
        let channels = page.json()["messages"].take();
        seen.extend(channels.as_array().unwrap().iter().map(|it| word(&it["ch"]).to_owned()));
    }
    assert_eq!(sorted(seen), names, "each once");
}

#[tokio::test]
async fn a_gap_says_its_channel() {
    let server = TestServer::with(|options| options.channels.history_count = 1).await;
    let begin = at(&server.get("/c/a,b").await);
    for text in ["1", "2", "3"] {
        server.publish("/c/a", text).await;
    }
    server.publish("/c/b", "1").await;
    if server.is_cluster() {
        return;
    }
    let page = server.get(&format!("/c/a,b?after={begin}")).await;
    assert_eq!(messages(&page), ["a:3", "b:1"]);
    let gaps = page.json()["gaps"].take();
    assert_eq!((gaps.as_array().unwrap().len(), &gaps[0]["ch"]), (1, &json!("a")));
    assert_eq!(gaps[0]["gap"]["why"], "expired");
    let mut stream = server.events(&format!("/c/a,b?after={begin}")).await;
    let events = stream.until_events(3).await;
    assert_eq!(events[0].name, "gap");
    assert_eq!(serde_json::from_str::<Value>(&events[0].data).unwrap(), gaps[0]);
    let foreign = server.request(Method::GET, "/c/a,b").header("Last-Event-ID", "4711");
    let foreign = server.send(foreign, "").await.json();
    assert_eq!(foreign["gaps"].as_array().unwrap().len(), 2, "{foreign}");
}

#[tokio::test]
async fn a_stream_ends_with_the_last_of_its_channels() {
    let server = TestServer::start().await;
    let mut stream = server.events("/c/a,b").await;
    server.post("/c/a?close=1", "text/plain", "").await;
    stream.until("event: end").await;
    server.publish("/c/b", "still here").await;
    stream.until("still here").await;
    server.post("/c/b?close=1", "text/plain", "").await;
    let source = EventSource::read(&stream.rest().await);
    let names: Vec<_> = source.events.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["end", "message", "end"]);
    let page = server.get("/c/a,b").await;
    assert_eq!(
        (page.json()["ends"].as_array().unwrap().len(), &page.json()["end"]),
        (2, &json!(true))
    );
    assert_eq!(at(&page), source.last_id);
    let back = server.request(Method::GET, "/c/a,b").header("Accept", "text/event-stream");
    let back = server.send(back.header("Last-Event-ID", source.last_id), "").await;
    assert_eq!(back.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn each_channel_needs_the_right_to_read() {
    let server = auth::server().await;
    for accept in ["application/json", "text/event-stream", "application/x-ndjson"] {
        for (channels, status) in
            [(r#"{"a":["read"]}"#, 403), (r#"{"a":["read"],"b":["write","presence"]}"#, 403)]
        {
            for path in ["/c/a,b", "/c/b,a?wait=1", "/c/a,b?after=earliest"] {
                let request = server.request(Method::GET, path).header("Accept", accept);
                let bearer = format!("Bearer {}", token(channels));
                let answer = server.send(request.header("Authorization", bearer), "").await;
                assert_eq!(answer.status, status, "{path} {accept}");
                assert_eq!(answer.header("etag"), "");
            }
        }
    }
    server.get("/c/a,b").await.assert_problem(401, "unauthorized");
    let request = server.request(Method::GET, "/c/a,b");
    let bearer = format!("Bearer {}", token(r#"{"*":["read"]}"#));
    assert_eq!(server.send(request.header("Authorization", bearer), "").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_read_together_is_refused() {
    let server = TestServer::start().await;
    let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(server.get(&format!("/c/{}", names(64))).await.status, StatusCode::OK);
    for (path, code) in [
        (format!("/c/{}", names(65)), "bad_request"),
        ("/c/a,a".to_owned(), "bad_request"),
        ("/c/a,".to_owned(), "bad_channel"),
        ("/c/a, b".replace(' ', "%20"), "bad_channel"),
        ("/c/a,b?after=k3f9.1".to_owned(), "bad_position"),
        ("/c/a,b?after=k3f9.1.2.3".to_owned(), "bad_position"),
        ("/c/a,b?at=k3f9.1".to_owned(), "bad_request"),
    ] {
        server.get(&path).await.assert_problem(400, code);
    }
    server.post("/c/a,b", "text/plain", "x").await.assert_problem(405, "method_not_allowed");
    server.delete("/c/a,b").await.assert_problem(405, "method_not_allowed");
    server.get("/c/a,b?stream=ws").await.assert_problem(426, "upgrade_required");
}
