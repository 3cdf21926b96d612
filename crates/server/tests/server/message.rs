//! One message: `GET /c/{channel}?at=POSITION`.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::auth::{self, token};
use crate::client::TestServer;

#[tokio::test]
async fn a_message_is_had_by_its_position() {
    let server = TestServer::start().await;
    let (first, second) =
        (server.publish("/c/chat", "1").await, server.publish("/c/chat", "2").await);
    for (at, index) in [(first, 0), (second, 1)] {
        let path = format!("/c/chat?at={at}");
        let message = server.get(&path).await;
        assert_eq!(message.status, StatusCode::OK);
        assert_eq!(message.json(), server.get("/c/chat").await.json()["messages"][index]);
        assert_eq!(message.header("content-type"), "application/json");
        assert_eq!(message.header("etag"), format!("\"{at}\""));
        assert_eq!(message.header("sockeye-position"), at);
        let head = server.head(&path).await;
        assert_eq!((head.status, head.header("etag")), (StatusCode::OK, message.header("etag")));
        assert_eq!(head.header("content-length"), message.body.len().to_string());
        let known = server.request(Method::GET, &path).header("If-None-Match", head.header("etag"));
        assert_eq!(server.send(known, "").await.status, StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_is_not_there_any_more() {
    let server = TestServer::with(|options| options.channels.history_count = 1).await;
    let first = server.publish("/c/chat", "1").await;
    let second = server.publish("/c/chat", "2").await;
    let get = async |at: &str| server.get(&format!("/c/chat?at={at}")).await;
    get(&first).await.assert_problem(410, "gone");
    assert_eq!(get(&second).await.status, StatusCode::OK);
    let (epoch, _) = second.split_once('.').unwrap();
    get(&format!("{epoch}.0")).await.assert_problem(404, "not_found");
    get("zzzz.1").await.assert_problem(404, "not_found");
    if !server.is_cluster() {
        // In a cluster it is first asked whether another node has got so far.
        get(&format!("{epoch}.3")).await.assert_problem(404, "not_found");
        get("k3f9").await.assert_problem(400, "bad_position");
    }
    server.delete("/c/chat").await;
    get(&second).await.assert_problem(410, "gone");
    for wrong in ["earliest", "now", "-1", ""] {
        get(wrong).await.assert_problem(400, "bad_position");
    }
}

#[tokio::test]
async fn what_is_asked_of_one_message_concerns_no_other() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "kept").await;
    for (method, query) in [
        (Method::DELETE, format!("at={at}")),
        (Method::POST, format!("at={at}")),
        (Method::GET, "close=1".to_owned()),
        (Method::DELETE, "close=1".to_owned()),
    ] {
        let request = server.request(method, &format!("/c/chat?{query}"));
        server.send(request, "").await.assert_problem(400, "bad_request");
    }
    assert_eq!(server.get("/c/chat").await.json()["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_has_one_representation() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "1").await;
    for (accept, path) in [
        ("text/event-stream", format!("/c/chat?at={at}")),
        ("*/*", format!("/c/chat?at={at}&stream=ndjson")),
    ] {
        let request = server.request(Method::GET, &path).header("Accept", accept);
        server.send(request, "").await.assert_problem(406, "not_acceptable");
    }
}

#[tokio::test]
async fn a_message_needs_the_right_to_read_and_a_refusal_tells_nothing() {
    let server = auth::server().await;
    for (channels, status) in
        [(r#"{"chat":["write","presence"]}"#, 403), (r#"{"chat":["read"]}"#, 404)]
    {
        let request = server.request(Method::GET, "/c/chat?at=k3f9.1");
        let request = request.header("Authorization", format!("Bearer {}", token(channels)));
        assert_eq!(server.send(request, "").await.status, status);
    }
    server.get("/c/chat?at=k3f9.1").await.assert_problem(401, "unauthorized");
}

#[cfg(feature = "fjall")]
#[tokio::test]
async fn a_message_is_had_from_disk_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let data = directory.path().to_owned();
        TestServer::with(move |options| options.channels.data = Some(data))
    };
    let server = start().await;
    let at = server.publish("/c/chat", "kept").await;
    server.stop().await;
    let server = start().await;
    assert_eq!(server.get(&format!("/c/chat?at={at}")).await.json()["data"], Value::from("kept"));
    server.stop().await;
}

/// Every answer that has a position says it in a header of its own, too.
#[tokio::test]
async fn every_answer_that_has_a_position_says_it() {
    let server = TestServer::start().await;
    let post = server.post("/c/chat", "text/plain", "1").await;
    let at = post.json()["at"].as_str().unwrap().to_owned();
    let known = server.request(Method::GET, "/c/chat").header("If-None-Match", format!("\"{at}\""));
    for answer in [
        post,
        server.get("/c/chat").await,
        server.get("/c/chat?after=earliest&wait=5").await,
        server.get("/c/chat?wait=0").await,
        server.head("/c/chat").await,
        server.get(&format!("/c/chat?at={at}")).await,
        server.send(known, "").await,
    ] {
        assert_eq!(answer.header("sockeye-position"), at, "{answer:?}");
        assert_eq!(answer.header("etag"), format!("\"{at}\""));
    }
    for stream in [server.events("/c/chat").await, server.lines("/c/chat").await] {
        assert_eq!(stream.header("sockeye-position"), at);
    }
}
