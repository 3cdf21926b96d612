//! Many messages by one request: lines to a channel, a list or lines to many.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::auth::{self, token};
use crate::client::{Answer, TestServer, read_to_end};

const LINES: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// What became of each message: its position, or the code of its refusal.
fn results(answer: &Answer) -> Vec<String> {
    let results = answer.json()["results"].as_array().unwrap().clone();
    let told = |result: &Value| match result["at"].as_str() {
        Some(at) => at.to_owned(),
        None => crate::v1::error_code(result),
    };
    results.iter().map(told).collect()
}

/// The messages of a channel, without their times.
async fn messages(server: &TestServer, channel: &str) -> Vec<Value> {
    let page = server.get(&format!("/c/{channel}?limit=1000")).await.json();
    let mut messages = page["messages"].as_array().unwrap().clone();
    messages.iter_mut().for_each(|message| drop(message["ts"].take()));
    messages
}

#[tokio::test]
async fn each_line_is_a_message_in_the_order_of_the_lines() {
    let server = TestServer::start().await;
    let body = concat!(
        "{\"data\":\"text\"}\n\n",
        "{\"data\":{\"a\":1.0},\"event\":\"named\"}\r\n",
        " {\"ch\":\"chat\",\"b64\":\"AP8=\"} \n",
        "{\"data\":null,\"more\":1}"
    );
    let answer = server.post("/c/chat", LINES, body).await;
    assert_eq!((answer.status, &answer.json()["refused"]), (StatusCode::CREATED, &json!(0)));
    let at = results(&answer);
    let expected = [
        json!({"at": at[0], "ts": null, "data": "text"}),
        json!({"at": at[1], "ts": null, "data": {"a": 1.0}, "event": "named"}),
        json!({"at": at[2], "ts": null, "b64": "AP8="}),
        json!({"at": at[3], "ts": null, "data": null}),
    ];
    assert_eq!(messages(&server, "chat").await, expected);
    assert_eq!(answer.json()["at"], at[3].as_str());
    assert_eq!(answer.header("sockeye-position"), at[3]);
    assert!(server.get("/c/chat").await.text().contains("{\"a\":1.0}"), "byte for byte");
}

#[tokio::test]
async fn what_is_refused_is_told_in_its_place_and_the_rest_is_taken() {
    let server = TestServer::with(|options| options.channels.max_message = 10).await;
    let body = [
        r#"{"data":1}"#,
        "{",
        r#"{"data":2}"#,
        r#"{"data":"far too long"}"#,
        r#"{"data":3,"event":"gap"}"#,
        r#"{"data":4,"ch":"other"}"#,
        "[5]",
        r#"{"data":6,"b64":""}"#,
        r#"{"data":7,"key":""}"#,
        r#"{"data":8}"#,
    ];
    let answer = server.post("/c/chat", LINES, body.join("\n")).await;
    assert_eq!((answer.status, &answer.json()["refused"]), (StatusCode::MULTI_STATUS, &json!(7)));
    let told = results(&answer);
    let refused = [
        "bad_json",
        "too_large",
        "bad_event",
        "bad_request",
        "bad_request",
        "bad_request",
        "bad_request",
    ];
    let codes: Vec<_> = told.iter().filter(|told| !told.contains('.')).collect();
    assert_eq!(codes, refused);
    let data: Vec<_> =
        messages(&server, "chat").await.iter().map(|message| message["data"].clone()).collect();
    assert_eq!(data, [json!(1), json!(2), json!(8)]);
    assert!(messages(&server, "other").await.is_empty());
}

#[tokio::test]
async fn each_message_has_its_own_key() {
    let server = TestServer::start().await;
    let body = r#"[{"ch":"a","data":1,"key":"k"},{"ch":"b","data":2,"key":"k"},{"ch":"a","data":1,"key":"k"}]"#;
    let first = results(&server.post("/publish", JSON, body).await);
    assert_eq!((first.len(), &first[0]), (3, &first[2]), "within a request");
    assert_eq!(results(&server.post("/publish", JSON, body).await), first, "and by another");
    let posted = server.request(Method::POST, "/c/b").header("Idempotency-Key", "k");
    assert_eq!(server.send(posted, "2").await.json()["at"], first[1].as_str(), "one set of keys");
    assert_eq!(messages(&server, "a").await.len(), 1);
}

#[tokio::test]
async fn a_list_goes_to_many_channels_as_lines_do() {
    let server = TestServer::start().await;
    let list = r#" [ {"ch":"a","data":[1,
        2]}, {"ch":"b","data":"x","event":"named"},{"ch":"a","data":2}, {"data":3}, {"ch":"a b","data":4}, 5 ] "#;
    let lines = list.replace('\n', " ").replace("}, {", "}\n{").replace("},{", "}\n{");
    let lines = lines.replace(", 5", "\n5").replace(" [ ", "").replace(" ] ", "");
    for (kind, body) in [(JSON, list), (LINES, &lines)] {
        let answer = server.post("/publish", kind, body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::MULTI_STATUS, "{kind}");
        let told = results(&answer);
        assert_eq!(told[3..], ["bad_request", "bad_channel", "bad_request"], "{kind}");
        let (a, b) = (messages(&server, "a").await, messages(&server, "b").await);
        let last: Vec<_> = a[a.len() - 2..].iter().map(|message| message["data"].clone()).collect();
        assert_eq!(last, [json!([1, 2]), json!(2)], "{kind}");
        assert_eq!(b[b.len() - 1]["event"], "named");
        assert_eq!(told[1], b[b.len() - 1]["at"].as_str().unwrap());
        assert_eq!(answer.json().get("at"), None, "there are several");
    }
}

#[tokio::test]
async fn rights_are_those_of_each_channel() {
    let server = auth::server().await;
    let list = r#"[{"ch":"mine","data":1},{"ch":"others","data":2},{"ch":"read","data":3}]"#;
    let ask = async |path: &str, kind: &str, channels: &str, body: &'static str| {
        let request = server.request(Method::POST, path).header("Content-Type", kind);
        let request = request.header("Authorization", format!("Bearer {}", token(channels)));
        server.send(request, body).await
    };
    let answer = ask("/publish", JSON, r#"{"mine":["write"],"read":["read"]}"#, list).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    assert_eq!(results(&answer)[1..], ["forbidden", "forbidden"]);
    let line = r#"{"data":1}"#;
    let refused = ask("/c/chat", LINES, r#"{"chat":["read"]}"#, line).await;
    refused.assert_problem(403, "forbidden");
    for (path, kind, body) in [("/publish", JSON, list), ("/c/chat", LINES, line)] {
        server.post(path, kind, body).await.assert_problem(401, "unauthorized");
    }
    assert_eq!(ask("/c/chat", LINES, r#"{"chat":["write"]}"#, line).await.status, 201);
}

#[tokio::test]
async fn a_request_has_a_thousand_messages_at_most() {
    let server = TestServer::start().await;
    let lines = "{\"data\":1}\n".repeat(1001);
    let answer = server.post("/c/chat", LINES, lines).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    assert_eq!(answer.header("connection"), "close");
    let told = results(&answer);
    assert_eq!((told.len(), &*told[1000]), (1001, "too_large"));
    assert_eq!(messages(&server, "chat").await.len(), 1000);

    let list = |count| format!("[{}]", vec![r#"{"ch":"list","data":1}"#; count].join(","));
    server.post("/publish", JSON, list(1001)).await.assert_problem(413, "too_large");
    assert!(messages(&server, "list").await.is_empty(), "of a list that is too long nothing is");
    assert_eq!(server.post("/publish", JSON, list(1000)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn lines_and_lists_are_bounded_in_bytes() {
    let server = TestServer::with(|options| options.channels.max_message = 10).await;
    // Six times the longest message, and 4 KiB.
    let long = format!("{{\"data\":1,\"x\":\"{}\"}}", "x".repeat(5000));
    server.post("/c/chat", LINES, long.clone()).await.assert_problem(413, "too_large");
    server.post("/publish", JSON, format!("[{long}]")).await.assert_problem(413, "too_large");
    // What came before is taken, and the answer says so.
    let answer = server.post("/c/chat", LINES, format!("{{\"data\":1}}\n{long}\n{{}}")).await;
    let told = results(&answer);
    assert_eq!((told.len(), &*told[1]), (2, "too_large"));
    assert_eq!(messages(&server, "chat").await.len(), 1);
}

#[tokio::test]
async fn lines_are_published_as_they_come() {
    let server = TestServer::start().await;
    let mut events = server.events("/c/chat").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for number in 1..=3 {
        let line = format!("{{\"data\":{number}}}\n{{\"da");
        let line = if number == 1 { line } else { format!("ta\":0}}\n{line}") };
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.unwrap();
        events.until(&format!("data: {number}\n")).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 207 "), "the last line is cut: {answer}");
    assert!(answer.contains("\"refused\":1"), "{answer}");
}

#[tokio::test]
async fn what_is_no_bulk_is_refused_whole() {
    let server = TestServer::start().await;
    for (path, kind, body, status, code) in [
        ("/publish", "text/plain", "x", 415, "unsupported_type"),
        ("/publish", "", "[]", 415, "unsupported_type"),
        ("/publish", JSON, "{}", 400, "bad_request"),
        ("/publish", JSON, "[", 400, "bad_json"),
        ("/publish", "application/x-ndjson; charset=utf-16", "{}", 415, "unsupported_type"),
        ("/c/chat", "Application/X-NDJSON; charset=latin1", "{}", 415, "unsupported_type"),
    ] {
        server.post(path, kind, body).await.assert_problem(status, code);
    }
    for (name, value) in [("Idempotency-Key", "k"), ("Sockeye-Event", "e")] {
        let request = server.request(Method::POST, "/c/chat").header("Content-Type", LINES);
        server.send(request.header(name, value), "{}").await.assert_problem(400, "bad_request");
    }
    server.get("/publish").await.assert_problem(405, "method_not_allowed");
    let nothing = server.post("/c/chat", LINES, "\n \n").await;
    assert_eq!((nothing.status, results(&nothing).len()), (StatusCode::CREATED, 0));
}

#[tokio::test]
async fn behind_the_end_of_a_channel_each_is_refused() {
    let server = TestServer::start().await;
    server.post("/c/done?close=1", LINES, "").await;
    let body = r#"[{"ch":"done","data":1},{"ch":"open","data":2},{"ch":"done","data":3}]"#;
    let told = results(&server.post("/publish", JSON, body).await);
    assert_eq!((&*told[0], &*told[2]), ("ended", "ended"));
    assert_eq!(messages(&server, "open").await.len(), 1);
}

#[cfg(feature = "fjall")]
#[tokio::test]
async fn on_disk_the_order_is_kept_and_holds() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let data = directory.path().to_owned();
        TestServer::with(move |options| options.channels.data = Some(data))
    };
    let server = start().await;
    let lines: String = (0..300).map(|number| format!("{{\"data\":{number}}}\n")).collect();
    let answer = server.post("/c/chat", LINES, lines).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let told = results(&answer);
    server.stop().await;
    let server = start().await;
    let kept = messages(&server, "chat").await;
    let expected: Vec<_> =
        (0..300).map(|n| json!({"at": told[n], "ts": null, "data": n})).collect();
    assert_eq!(kept, expected);
    server.stop().await;
}
