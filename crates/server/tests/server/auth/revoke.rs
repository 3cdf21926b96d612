//! Tokens that are not valid any more before they expire.

use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use sockeye::{Client, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::transports::{UPGRADE, head_of};
use super::{HEADER, key, now, server, sign};
use crate::client::{Answer, SOON, TestServer, send};

/// A token for an hour, with these claims beside the usual ones.
fn token(more: &Value) -> String {
    let mut claims =
        json!({"exp": now() + 3600.0, "channels": {"*": ["read", "write", "presence"]}});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sign(HEADER, claims.to_string())
}

async fn revoke(server: &TestServer, body: &str) -> Answer {
    let request = Request::builder().method(Method::POST).uri("/revoke");
    let request = request.header(header::HOST, server.admin().to_string());
    send(server.admin(), request, body.to_owned().into()).await
}

async fn revoked(server: &TestServer, what: &Value) -> u64 {
    let answer = revoke(server, &what.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["revoked"].as_u64().unwrap()
}

async fn poll(server: &TestServer, token: &str) -> Answer {
    let request = server.request(Method::GET, "/c/chat");
    server.send(request.header(header::AUTHORIZATION, format!("Bearer {token}")), "").await
}

async fn status(server: &TestServer, token: &str) -> u16 {
    poll(server, token).await.status.as_u16()
}

async fn open(server: &TestServer, (is_http2, path): (bool, &str), token: &str) -> WebSocket {
    let client = Client::new(format!("ws://{}{path}", server.address)).unwrap();
    let value = http::HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let client = if path == "/connect" { client.subprotocol("sockeye.v1") } else { client };
    let client = client.header(header::AUTHORIZATION, value);
    if !is_http2 {
        return client.connect().await.unwrap();
    }
    let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
    connection.open(client).await.unwrap().socket
}

#[tokio::test]
async fn what_a_revoked_token_has_opened_ends_on_every_transport_and_nothing_else() {
    let server = server().await;
    let (bad, good) =
        (token(&json!({"sub": "ann", "jti": "7"})), token(&json!({"sub": "ann", "jti": "8"})));
    let mut sockets = Vec::new();
    for path in [(false, "/c/chat"), (false, "/connect"), (true, "/c/chat"), (true, "/connect")] {
        sockets.push((open(&server, path, &bad).await, open(&server, path, &good).await));
    }
    let mut streams = Vec::new();
    for headers in
        ["Accept: text/event-stream\r\n", "Accept: application/x-ndjson\r\n", "Prefer: wait=50\r\n"]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {bad}\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    server.connections(11).await;
    assert_eq!(revoked(&server, &json!({"jti": "7"})).await, 1);
    let refused = poll(&server, &bad).await;
    refused.assert_problem(401, "unauthorized");
    assert!(refused.text().contains("revoked"), "{}", refused.text());
    assert_eq!(status(&server, &good).await, 200);
    for (mut gone, stays) in sockets {
        let end = async { while let Some(Ok(_)) = gone.recv().await {} };
        timeout(SOON, end).await.expect("it ends");
        let closed = gone.closed().unwrap();
        assert_eq!(
            (closed.code(), closed.reason()),
            (4401, "the token has been revoked: connect with another one")
        );
        timeout(SOON, stays.ping()).await.expect("it is open").unwrap();
        assert!(stays.closed().is_none());
    }
    for (index, mut stream) in streams.into_iter().enumerate() {
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it ends").unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let expected = if index == 2 { "HTTP/1.1 401" } else { "HTTP/1.1 200" };
        assert!(answer.starts_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_number_is_a_jti_too() {
    let server = server().await;
    let bad = token(&json!({"jti": 7}));
    revoked(&server, &json!({"jti": "7"})).await;
    assert_eq!(status(&server, &bad).await, 401);
    // Other values are ignored.
    assert_eq!(status(&server, &token(&json!({"jti": {"a": 1}, "iss": [1]}))).await, 200);
}

#[tokio::test]
async fn tokens_of_a_subject_or_of_all_are_revoked_by_the_time_of_their_issue() {
    let server = server().await;
    let time = now().floor();
    let of = |sub: &str, ago: f64| token(&json!({"sub": sub, "iat": time - ago}));
    let timeless = |sub: &str| token(&json!({ "sub": sub }));
    revoked(&server, &json!({"sub": "ann", "before": time - 100.0})).await;
    for (token, expected) in [
        (of("ann", 101.0), 401),
        (of("ann", 100.0), 200),
        (timeless("ann"), 401),
        (of("ben", 101.0), 200),
        (timeless("ben"), 200),
    ] {
        assert_eq!(status(&server, &token).await, expected);
    }
    // An earlier time takes nothing back.
    revoked(&server, &json!({"sub": "ann", "before": time - 500.0})).await;
    assert_eq!(status(&server, &of("ann", 101.0)).await, 401);
    revoked(&server, &json!({"sub": "ann"})).await;
    assert_eq!(status(&server, &of("ann", 0.0)).await, 401);
    assert_eq!(status(&server, &of("ann", -30.0)).await, 200, "issued later");
    assert_eq!(revoked(&server, &json!({"before": time - 50.0})).await, 1, "subjects are counted");
    for (token, expected) in
        [(of("ben", 51.0), 401), (of("ben", 50.0), 200), (timeless("ben"), 401)]
    {
        assert_eq!(status(&server, &token).await, expected);
    }
    let metrics = server.operate("/metrics").await;
    if cfg!(feature = "prometheus") {
        assert!(metrics.text().contains("\nsockeye_revoked 1\n"), "{}", metrics.text());
    }
}

#[tokio::test]
async fn a_ticket_is_revoked_with_its_token() {
    let server = server().await;
    let bad = token(&json!({"jti": "7"}));
    let ask = || {
        let request = server.request(Method::POST, "/tickets");
        server.send(request.header(header::AUTHORIZATION, format!("Bearer {bad}")), "")
    };
    let ticket = ask().await.json()["ticket"].as_str().unwrap().to_owned();
    revoked(&server, &json!({"jti": "7"})).await;
    for headers in ["", UPGRADE, "Accept: text/event-stream\r\n"] {
        let line =
            format!("GET /c/chat?ticket={ticket} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        assert_eq!(head_of(&server, &line).await.status(), 401, "{headers}");
    }
    assert_eq!(ask().await.status, 401);
}

#[tokio::test]
async fn a_connection_goes_on_with_another_token() {
    let server = server().await;
    let (bad, good) =
        (token(&json!({"sub": "ann", "jti": "7"})), token(&json!({"sub": "ann", "jti": "8"})));
    let mut socket = crate::v1::V1::connect(&server, "/connect").await;
    socket.done(json!({"op": "auth", "token": bad})).await;
    socket.done(json!({"op": "auth", "token": good})).await;
    revoked(&server, &json!({"jti": "7"})).await;
    socket.done(json!({"op": "pub", "ch": "chat", "data": 1})).await;
    assert_eq!(socket.refused(json!({"op": "auth", "token": bad})).await, "unauthorized");
    revoked(&server, &json!({"jti": "8"})).await;
    assert_eq!(status(&server, &good).await, 401);
}

#[tokio::test]
async fn mistakes_revoke_nothing() {
    let server = server().await;
    let (past, future) = (now() - 1.0, now() + 100.0);
    for (body, status, code) in [
        (String::new(), 400, "bad_json"),
        ("[]".to_owned(), 400, "bad_json"),
        (r#"{"jti":"7","jti":"8"}"#.to_owned(), 400, "bad_json"),
        (r#"{"jti":"7","all":true}"#.to_owned(), 400, "bad_json"),
        ("{}".to_owned(), 400, "bad_request"),
        (r#"{"exp":4102444800}"#.to_owned(), 400, "bad_request"),
        (r#"{"jti":"7","sub":"ann"}"#.to_owned(), 400, "bad_request"),
        (r#"{"jti":"7","before":1}"#.to_owned(), 400, "bad_request"),
        (r#"{"jti":""}"#.to_owned(), 400, "bad_request"),
        (format!(r#"{{"jti":"{}"}}"#, "x".repeat(256)), 400, "bad_request"),
        (r#"{"sub":"a\u0000"}"#.to_owned(), 400, "bad_request"),
        (format!(r#"{{"before":{future}}}"#), 400, "bad_request"),
        (format!(r#"{{"jti":"7","exp":{past}}}"#), 400, "bad_request"),
        ("x".repeat(4097), 413, "too_large"),
    ] {
        revoke(&server, &body).await.assert_problem(status, code);
    }
    let request = Request::builder().method(Method::POST).uri("/revoke");
    let request = request.header(header::HOST, server.admin().to_string());
    let foreign = request.header(header::ORIGIN, "https://page.example");
    let answer = send(server.admin(), foreign, r#"{"jti":"7"}"#.into()).await;
    answer.assert_problem(403, "bad_origin");
    assert_eq!(status(&server, &token(&json!({"sub": "ann", "jti": "7"}))).await, 200);
    let open = TestServer::start().await;
    revoke(&open, r#"{"jti":"7"}"#).await.assert_problem(404, "not_found");
}

#[cfg(feature = "fjall")]
#[tokio::test]
async fn revocations_are_kept_with_the_channels() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        TestServer::with(|options| {
            options.channels.auth_key = Some(key());
            options.channels.data = Some(folder.path().to_owned());
        })
    };
    let (by_id, by_subject) = (token(&json!({"jti": "7"})), token(&json!({"sub": "ann"})));
    let server = start().await;
    revoked(&server, &json!({"jti": "7", "exp": now() + 3600.0})).await;
    revoked(&server, &json!({"sub": "ann"})).await;
    server.stop().await;
    for revoked_before in [2, 3] {
        let server = start().await;
        assert_eq!((status(&server, &by_id).await, status(&server, &by_subject).await), (401, 401));
        let more = json!({"jti": format!("more {revoked_before}")});
        assert_eq!(revoked(&server, &more).await, revoked_before + 1);
        server.stop().await;
    }
}
