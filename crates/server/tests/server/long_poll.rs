//! Long polls of `/c/{channel}`: `?wait=` and `Prefer: wait=`.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::{Answer, SOON, TestServer};

/// The texts of the messages in an answer.
fn texts(poll: &Answer) -> Vec<String> {
    let messages = poll.json()["messages"].as_array().unwrap().clone();
    messages.iter().map(|message| message["data"].as_str().unwrap().to_owned()).collect()
}

/// Polls, and publishes as soon as the poll waits.
async fn poll_and_publish(server: &TestServer, path: &str, text: &str) -> (Answer, String) {
    tokio::join!(server.get(path), async {
        server.has_readers(1).await;
        server.publish("/c/chat", text).await
    })
}

#[tokio::test]
async fn what_is_there_is_answered_at_once_and_all_of_it() {
    let server = TestServer::start().await;
    let first = server.publish("/c/chat", "1").await;
    server.publish("/c/chat", "2").await;
    let last = server.publish("/c/chat", "3").await;
    let begun = Instant::now();
    let poll = server.get(&format!("/c/chat?after={first}&wait=60")).await;
    assert!(begun.elapsed() < SOON);
    assert_eq!((texts(&poll), &poll.json()["at"]), (vec!["2".into(), "3".into()], &json!(last)));
    assert_eq!(poll.header("preference-applied"), "wait=60");
    assert_eq!(poll.header("content-length"), poll.body.len().to_string());
    assert_eq!(poll.header("cache-control"), "no-store");
    assert!(poll.header("vary").contains("Accept, Prefer"), "{}", poll.header("vary"));
}

#[tokio::test]
async fn what_is_not_there_is_answered_when_it_comes() {
    let server = TestServer::start().await;
    let first = server.publish("/c/chat", "1").await;
    for path in [format!("/c/chat?after={first}&wait=60"), "/c/chat?wait=60".to_owned()] {
        let (poll, at) = poll_and_publish(&server, &path, "news").await;
        assert_eq!((poll.status, poll.header("etag")), (StatusCode::OK, format!("\"{at}\"")));
        assert_eq!(texts(&poll), ["news"], "{path}");
        server.delete("/c/chat").await;
    }
}

#[tokio::test]
async fn at_the_end_of_the_wait_the_answer_is_the_cursor() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "1").await;
    for path in ["/c/chat?wait=1".to_owned(), format!("/c/chat?after={at}&wait=1")] {
        let begun = Instant::now();
        let poll = server.get(&path).await;
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(poll.status, StatusCode::OK);
        assert_eq!(poll.json(), json!({"at": at, "messages": []}));
    }
}

#[tokio::test]
async fn a_preference_waits_like_the_parameter_which_wins() {
    let server = TestServer::start().await;
    let poll = async |path: &str, prefer: &str| {
        server.send(server.request(Method::GET, path).header("Prefer", prefer), "").await
    };
    let applied =
        async |path: &str, prefer: &str| poll(path, prefer).await.header("preference-applied");
    assert_eq!(applied("/c/chat", "respond-async, wait=0").await, "wait=0");
    assert_eq!(applied("/c/chat?wait=0", "wait=50").await, "wait=0");
    assert_eq!(applied("/c/chat", "wait=soon").await, "");
    server.publish("/c/chat", "1").await;
    assert_eq!(applied("/c/chat?after=earliest", "wait=120").await, "wait=60");
    for wait in ["-1", "soon", "", "1.5"] {
        server.get(&format!("/c/chat?wait={wait}")).await.assert_problem(400, "bad_request");
    }
}

#[tokio::test]
async fn a_limit_bounds_the_answer_and_the_rest_comes_next() {
    let server = TestServer::start().await;
    for number in 1..=3 {
        server.publish("/c/chat", &number.to_string()).await;
    }
    let poll = server.get("/c/chat?after=earliest&limit=2&wait=5").await;
    assert_eq!(texts(&poll), ["1", "2"]);
    let at = poll.json()["at"].as_str().unwrap().to_owned();
    assert_eq!(texts(&server.get(&format!("/c/chat?after={at}&wait=5")).await), ["3"]);
}

#[tokio::test]
async fn a_known_position_waits_for_the_next() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "1").await;
    let tag = format!("\"{at}\"");
    let ask = |path: &str| server.request(Method::GET, path).header("If-None-Match", &tag);
    let poll = server.send(ask("/c/chat?wait=1"), "").await;
    assert_eq!((poll.status, poll.text()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(poll.header("etag"), tag);
    server.publish("/c/chat", "2").await;
    assert_eq!(texts(&server.send(ask("/c/chat?wait=60"), "").await), ["2"]);
}

#[tokio::test]
async fn a_gap_is_answered_at_once() {
    let server = TestServer::with(|options| options.channels.history_count = 1).await;
    let first = server.publish("/c/chat", "1").await;
    server.publish("/c/chat", "2").await;
    server.publish("/c/chat", "3").await;
    let poll = server.get(&format!("/c/chat?after={first}&wait=60")).await;
    assert_eq!(
        (poll.json()["gap"]["why"].clone(), texts(&poll)),
        (json!("expired"), vec!["3".into()])
    );

    let (poll, _) = tokio::join!(server.get("/c/chat?wait=60"), async {
        server.has_readers(1).await;
        server.delete("/c/chat").await
    });
    assert_eq!(poll.json()["gap"]["why"], "reset");
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /c/chat?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    server.has_readers(1).await;
    drop(stream);
    server.has_readers(0).await;
}

#[tokio::test]
async fn a_server_that_stops_answers_long_polls() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "1").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /c/chat?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    server.has_readers(1).await;
    let running = server.begin_to_stop();
    let answer = crate::client::read_to_end(stream).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    assert!(answer.ends_with(&format!("{{\"at\":\"{at}\",\"messages\":[]}}")), "{answer}");
    running.await.unwrap().unwrap();
}
