//! `POST /c/{channel}`.

use http::{Method, StatusCode};
use serde_json::json;

use crate::client::{Answer, TestServer};

/// The one message in the channel `chat`, as the server wrote it.
async fn only_message(server: &TestServer) -> String {
    let poll = server.get("/c/chat").await;
    let (_, messages) = poll.text().split_once("\"messages\":[").unwrap();
    messages.strip_suffix("]}").unwrap().to_owned()
}

#[tokio::test]
async fn publishing_gives_the_position() {
    let server = TestServer::start().await;
    let first = server.post("/c/chat", "text/plain", "one").await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(first.header("content-type"), "application/json");
    let at = first.json()["at"].as_str().unwrap().to_owned();
    assert_eq!(first.text(), format!("{{\"at\":\"{at}\"}}"));
    assert_eq!(first.header("etag"), format!("\"{at}\""));

    let (epoch, offset) = at.split_once('.').unwrap();
    let second = server.publish("/c/chat", "two").await;
    if server.is_cluster() {
        let (same, next) = second.split_once('.').unwrap();
        assert_eq!(same, epoch);
        assert!(next.parse::<u64>().unwrap() > offset.parse().unwrap(), "{at} {second}");
    } else {
        assert_eq!((offset, second), ("1", format!("{epoch}.2")));
        assert_eq!(server.publish("/c/other", "one").await, format!("{epoch}.1"));
    }
}

#[tokio::test]
async fn json_is_kept_byte_for_byte() {
    let server = TestServer::start().await;
    let json =
        "{ \"b\" : 1.0,\t\"a\":1e5, \"a\": 123456789012345678901234567890, \"u\":\"\\u00e9\\/\" }";
    let answer = server.post("/c/chat", "Application/JSON; charset=utf-8", json).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let message = only_message(&server).await;
    assert!(message.ends_with(&format!(",\"data\":{json}}}")), "{message}");
}

#[tokio::test]
async fn any_json_value_is_a_message() {
    let server = TestServer::start().await;
    for value in ["null", "true", "-0.0", "\"text\"", "[]", " {} \n"] {
        let answer = server.post("/c/chat", "application/json", value).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{value}");
    }
    let data = server.get("/c/chat").await.json();
    let data: Vec<_> = data["messages"].as_array().unwrap().iter().map(|m| &m["data"]).collect();
    assert_eq!(json!(data), json!([null, true, -0.0, "text", [], {}]));
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let server = TestServer::start().await;
    let bad: [&[u8]; 8] =
        [b"", b"{", b"{\"a\":1,}", b"hello", b"1 2", b"\"\xff\"", b"\"a\nb\"", b"\xef\xbb\xbf{}"];
    for body in bad {
        server.post("/c/chat", "application/json", body).await.assert_problem(400, "bad_json");
    }
    assert_eq!(server.get("/c/chat").await.json()["messages"], json!([]));
}

#[tokio::test]
async fn text_is_text_when_it_is_utf_8_and_bytes_when_it_is_not() {
    for kind in ["text/plain", "TEXT/markdown; charset=utf-8", "application/x-www-form-urlencoded"]
    {
        let server = TestServer::start().await;
        server.post("/c/chat", kind, "a=1&b=%20 \"ü\"\n\u{0}").await;
        server.post("/c/chat", kind, &b"gr\xfc\xdfe"[..]).await;
        let messages = &server.get("/c/chat").await.json()["messages"];
        assert_eq!(messages[0]["data"], "a=1&b=%20 \"ü\"\n\u{0}", "{kind}");
        assert_eq!(messages[1]["b64"], "Z3L832U=", "{kind}");
        assert_eq!(messages[1].get("data"), None, "{kind}");
    }
}

#[tokio::test]
async fn anything_else_is_bytes() {
    let server = TestServer::start().await;
    server.post("/c/chat", "application/octet-stream", "hello").await;
    server.post("/c/chat", "image/png", &b"\x89PNG"[..]).await;
    server.post("/c/chat", "nonsense", "no type").await;
    let messages = server.get("/c/chat").await.json();
    let b64: Vec<_> = messages["messages"].as_array().unwrap().iter().map(|m| &m["b64"]).collect();
    assert_eq!(json!(b64), json!(["aGVsbG8=", "iVBORw==", "bm8gdHlwZQ=="]));
}

/// Java, Go, httpx, undici and OkHttp send text without a type.
#[tokio::test]
async fn without_a_type_a_body_is_what_it_looks_like() {
    let server = TestServer::start().await;
    for body in [&b"gr\xc3\xbc\xc3\x9fe"[..], b"gr\xfc\xdfe", b"{\"a\":1}", b""] {
        for empty in [false, true] {
            let request = server.request(Method::POST, "/c/chat");
            let request = if empty { request.header("content-type", "") } else { request };
            assert_eq!(server.send(request, body).await.status, StatusCode::CREATED);
        }
    }
    let messages = server.get("/c/chat").await.json();
    let what = |index: usize| messages["messages"][index].clone();
    for index in [0, 1] {
        assert_eq!(what(index)["data"], "grüße");
        assert_eq!(what(2 + index)["b64"], "Z3L832U=");
        assert_eq!(what(4 + index)["data"], "{\"a\":1}", "text, for nothing calls it JSON");
        assert_eq!(what(6 + index)["data"], "");
    }
}

#[tokio::test]
async fn types_that_are_written_in_json_are_json() {
    let server = TestServer::start().await;
    for kind in ["application/cloudevents+json", "application/vnd.api+json; charset=UTF-8"] {
        server.post("/c/chat", kind, "{\"a\":[1]}").await;
        server.post("/c/chat", kind, "{").await.assert_problem(400, "bad_json");
    }
    let messages = server.get("/c/chat").await.json();
    let data: Vec<_> =
        messages["messages"].as_array().unwrap().iter().map(|m| &m["data"]).collect();
    assert_eq!(json!(data), json!([{"a": [1]}, {"a": [1]}]));
}

#[tokio::test]
async fn xml_and_other_textual_types_are_text() {
    let server = TestServer::start().await;
    let kinds = [
        "application/xml",
        "application/soap+xml; charset=utf-8",
        "image/svg+xml",
        "application/yaml",
    ];
    for kind in kinds {
        server.post("/c/chat", kind, "<a>ü</a>").await;
    }
    let messages = server.get("/c/chat").await.json();
    let data: Vec<_> =
        messages["messages"].as_array().unwrap().iter().map(|m| &m["data"]).collect();
    assert_eq!(json!(data), json!(vec!["<a>ü</a>"; kinds.len()]));
}

#[tokio::test]
async fn a_charset_other_than_utf_8_is_refused_with_what_to_do() {
    let server = TestServer::start().await;
    for kind in ["text/plain; charset=iso-8859-1", "application/json; charset=\"utf-16\""] {
        let answer = server.post("/c/chat", kind, "hello").await;
        answer.assert_problem(415, "unsupported_type");
        assert!(answer.json()["detail"].as_str().unwrap().contains("send UTF-8"), "{kind}");
    }
    let bytes = "application/octet-stream; charset=iso-8859-1";
    assert_eq!(server.post("/c/chat", bytes, &b"\xfc"[..]).await.status, StatusCode::CREATED);
    assert_eq!(server.get("/c/chat").await.json()["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn two_headers_where_one_is_expected_are_refused() {
    let server = TestServer::start().await;
    for (name, values) in [
        ("Content-Type", ["text/plain", "application/json"]),
        ("Content-Encoding", ["identity", "identity"]),
        ("Sockeye-Event", ["a", "b"]),
        ("Idempotency-Key", ["a", "a"]),
        ("Authorization", ["Basic YTpi", "Bearer x"]),
    ] {
        let request = server.request(Method::POST, "/c/chat");
        let request = request.header(name, values[0]).header(name, values[1]);
        server.send(request, "1").await.assert_problem(400, "bad_request");
    }
    let request = server.request(Method::GET, "/c/chat").header("Accept", "text/event-stream");
    let request = request.header("Last-Event-ID", "earliest").header("Last-Event-ID", "now");
    server.send(request, "").await.assert_problem(400, "bad_request");
    assert_eq!(server.get("/c/chat").await.json()["messages"], json!([]));
}

#[tokio::test]
async fn an_empty_body_is_an_empty_message() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "").await;
    assert_eq!(server.get("/c/chat").await.json()["messages"][0]["data"], "");
}

#[tokio::test]
async fn an_event_has_its_name() {
    let server = TestServer::start().await;
    let request = server.request(Method::POST, "/c/chat").header("content-type", "text/plain");
    let named = request.header("Sockeye-Event", "user-\"joined\"\\");
    assert_eq!(server.send(named, "ann").await.status, StatusCode::CREATED);
    let message = only_message(&server).await;
    assert!(message.ends_with(r#","data":"ann","event":"user-\"joined\"\\"}"#), "{message}");
}

#[tokio::test]
async fn reserved_and_malformed_event_names_are_refused() {
    let server = TestServer::start().await;
    let long = "e".repeat(65);
    for name in ["message", "gap", "binary", "open", "error", "", "two words", "é", &long] {
        let request = server.request(Method::POST, "/c/chat").header("Sockeye-Event", name);
        server.send(request, "x").await.assert_problem(400, "bad_event");
    }
    let request = server.request(Method::POST, "/c/chat").header("Sockeye-Event", &long[1..]);
    assert_eq!(server.send(request, "x").await.status, StatusCode::CREATED);
}

/// Publishes a text with that key, as that publisher.
async fn publish_with_key(server: &TestServer, publisher: &str, key: &str, text: &str) -> Answer {
    let request = server.request(Method::POST, &format!("/c/chat{publisher}"));
    let request = request.header("content-type", "text/plain").header("Idempotency-Key", key);
    server.send(request, text.to_owned()).await
}

#[tokio::test]
async fn a_request_that_is_repeated_with_its_key_gets_its_first_answer() {
    let server = TestServer::start().await;
    let first = publish_with_key(&server, "", "\"8e03978e\"", "one").await;
    assert_eq!(first.status, StatusCode::CREATED);
    server.publish("/c/chat", "two").await;
    // Quoted or not, it is the same key.
    for key in ["\"8e03978e\"", "8e03978e", " \"8e03978e\" "] {
        let again = publish_with_key(&server, "", key, "one").await;
        assert_eq!((again.status, again.text()), (StatusCode::CREATED, first.text()));
    }
    let messages = server.get("/c/chat").await.json();
    assert_eq!(messages["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn another_key_another_publisher_or_another_channel_is_another_message() {
    let server = TestServer::start().await;
    let mut given = Vec::new();
    for (publisher, key) in
        [("", "k1"), ("", "k2"), ("", "K1"), ("?as=ann", "k1"), ("?as=ben", "k1")]
    {
        given.push(publish_with_key(&server, publisher, key, "x").await.text().to_owned());
    }
    let request = server.request(Method::POST, "/c/other").header("Idempotency-Key", "k1");
    assert_eq!(server.send(request, "x").await.status, StatusCode::CREATED);
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 5);
    assert_eq!(server.get("/c/other").await.json()["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_malformed_idempotency_key_is_refused() {
    let server = TestServer::start().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", "\"a\"b", "\"a\\b\"", "ü", &long] {
        publish_with_key(&server, "", key, "x").await.assert_problem(400, "bad_request");
    }
    let twice = server.request(Method::POST, "/c/chat").header("Idempotency-Key", "a");
    let twice = server.send(twice.header("Idempotency-Key", "b"), "x").await;
    twice.assert_problem(400, "bad_request");
    assert_eq!(server.get("/c/chat").await.json()["messages"], json!([]));
    assert_eq!(publish_with_key(&server, "", &long[1..], "x").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn headers_that_cannot_be_honoured_are_not_ignored() {
    let server = TestServer::start().await;
    let request = server.request(Method::POST, "/c/chat").header("Content-Encoding", "gzip");
    server.send(request, "x").await.assert_problem(415, "unsupported_type");
    assert_eq!(server.get("/c/chat").await.json()["messages"], json!([]));
}
