//! Errors are understandable for programs and people.

use http::{Method, StatusCode};

use crate::client::TestServer;

#[tokio::test]
async fn names_that_are_no_channel() {
    let server = TestServer::start().await;
    let long = "c".repeat(256);
    let bad = ["-chat", ".chat", "a%20b", "a%2Fb", "caf%C3%A9", "%FF", "a+b", "%00", "a!", &long];
    for name in bad {
        let path = format!("/c/{name}");
        server.get(&path).await.assert_problem(400, "bad_channel");
        server.post(&path, "text/plain", "x").await.assert_problem(400, "bad_channel");
        server.delete(&path).await.assert_problem(400, "bad_channel");
        assert_eq!(server.head(&path).await.status, StatusCode::BAD_REQUEST);
    }
    for name in ["a", "9", "A_b-c.d:e~f@g", "chat%3A1", &long[1..]] {
        assert_eq!(server.get(&format!("/c/{name}")).await.status, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn texts_that_are_no_position() {
    let server = TestServer::start().await;
    for after in ["yesterday", "k3f9", "k3f9.", ".5", "k3f9.-1", "5", "-", "10", "10y", "K3.1"] {
        let poll = server.get(&format!("/c/chat?after={after}")).await;
        poll.assert_problem(400, "bad_position");
    }
    server.get("/c/chat?after=now&after=earliest").await.assert_problem(400, "bad_request");
}

#[tokio::test]
async fn limits_that_are_none() {
    let server = TestServer::start().await;
    for limit in ["0", "1001", "-1", "%2B5", "ten", "", "99999999999999999999"] {
        let poll = server.get(&format!("/c/chat?limit={limit}")).await;
        poll.assert_problem(400, "bad_request");
    }
    assert_eq!(server.get("/c/chat?limit=1&unknown=7").await.status, StatusCode::OK);
}

#[tokio::test]
async fn paths_where_nothing_is() {
    let server = TestServer::start().await;
    for path in ["/c", "/c/", "/c/chat/", "/c/chat/x", "/index.htm", "/C/chat", "//", "/../c/chat"]
    {
        server.get(path).await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn methods_that_a_resource_has_not() {
    let server = TestServer::start().await;
    for method in [Method::PUT, Method::PATCH, Method::TRACE, Method::from_bytes(b"BREW").unwrap()]
    {
        let answer = server.send(server.request(method.clone(), "/c/chat"), "").await;
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, POST, DELETE, OPTIONS");
        if cfg!(feature = "console") {
            let answer = server.send(server.request(method, "/"), "").await;
            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), "GET, HEAD");
        }
    }
    let options = server.send(server.request(Method::OPTIONS, "/c/chat"), "").await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.header("allow"), "GET, HEAD, POST, DELETE, OPTIONS");
}

#[tokio::test]
async fn errors_are_neither_cached_nor_guessed() {
    let server = TestServer::start().await;
    let answer = server.get("/nowhere").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
}
