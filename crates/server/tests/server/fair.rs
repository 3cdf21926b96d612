//! No publisher uses up all storage, over whatever transport, and keys belong to their publisher.

use http::{Method, header};
use serde_json::json;
use sockeye::{Client, Message};
use tokio::time::timeout;

use crate::auth::{HEADER, key, now, sign};
use crate::client::{Answer, SOON, TestServer};
use crate::v1::V1;

/// A server with a low limit of channels, and with tokens.
async fn server(max_channels: u64) -> TestServer {
    TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.max_channels = max_channels;
    })
    .await
}

/// A token for everything, with this subject.
fn token(claims: &str) -> String {
    let exp = now() + 3600.0;
    sign(HEADER, format!(r#"{{{claims}"exp":{exp},"channels":{{"*":["read","write"]}}}}"#))
}

fn of(sub: &str) -> String {
    token(&format!(r#""sub":"{sub}","#))
}

async fn post(server: &TestServer, path: &str, token: &str, key: Option<&str>) -> Answer {
    let mut request = server.request(Method::POST, path);
    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    server.send(request, "x").await
}

fn client(server: &TestServer, path: &str, token: &str) -> Client {
    let client = Client::new(format!("ws://{}{path}", server.address)).unwrap();
    client.bearer(token)
}

async fn fill(server: &TestServer, token: &str) {
    for number in 0.. {
        let answer = post(server, &format!("/c/m:{number}"), token, None).await;
        if answer.status != 201 {
            answer.assert_problem(507, "insufficient_storage");
            return;
        }
    }
}

#[tokio::test]
async fn one_subject_leaves_room_for_another_and_the_problem_names_whose_is_used_up() {
    let server = server(8).await;
    let (flood, ann) = (of("flood"), of("ann"));
    fill(&server, &flood).await;
    assert_eq!(post(&server, "/c/ann", &ann, None).await.status, 201);
    let refused = post(&server, "/c/m:new", &flood, None).await;
    refused.assert_problem(507, "insufficient_storage");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("subject flood has 7 of them"), "{detail}");
    assert!(detail.contains("DELETE"), "{detail}");
    // Another token of the same subject is the same publisher.
    let again = token(r#""sub":"flood","jti":"2","#);
    assert_eq!(post(&server, "/c/m:new", &again, None).await.status, 507);
}

#[tokio::test]
async fn sockeye_v1_and_plain_websockets_pay_like_http() {
    let server = server(8).await;
    fill(&server, &of("flood")).await;
    let mut v1 = V1::with(client(&server, "/connect", &of("ann"))).await;
    v1.done(json!({"op": "pub", "ch": "ann", "data": "x"})).await;

    let mut plain = client(&server, "/c/bob", &of("bob")).open().await.unwrap().socket;
    plain.send("x").await.unwrap();
    let echo = timeout(SOON, plain.recv()).await.unwrap().unwrap().unwrap();
    assert!(matches!(echo, Message::Text(text) if text == "x"));

    let mut v1 = V1::with(client(&server, "/connect", &of("flood"))).await;
    let code = v1.refused(json!({"op": "pub", "ch": "m:new", "data": "x"})).await;
    assert_eq!(code, "insufficient_storage");
    // Nor by a name that the client gives itself.
    assert_eq!(post(&server, "/c/m:new?as=another", &of("flood"), None).await.status, 507);
}

#[tokio::test]
async fn without_tokens_an_address_is_one_publisher_under_whatever_names() {
    let server = TestServer::with(|options| {
        options.channels.max_channels = 8;
        options.channels.trust_proxy = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let post = async |path: String, address: &str| {
        let request = server.request(Method::POST, &path).header("X-Forwarded-For", address);
        server.send(request, "x").await
    };
    for number in 0..8 {
        let path = format!("/c/m:{number}?as=name-{number}");
        assert_eq!(post(path, "192.0.2.1").await.status, 201);
    }
    let refused = post("/c/m:new?as=new".to_owned(), "192.0.2.1").await;
    refused.assert_problem(507, "insufficient_storage");
    assert!(refused.text().contains("address 192.0.2.1"), "{refused:?}");
    assert_eq!(post("/c/a:0".to_owned(), "192.0.2.2").await.status, 201);
    for host in 1..=4 {
        let address = format!("2001:db8::{host}");
        assert_eq!(
            post(format!("/c/b:{host}"), &address).await.status,
            if host < 4 { 201 } else { 507 }
        );
    }
}

#[tokio::test]
async fn tokens_without_a_subject_share_no_keys() {
    let server = server(8).await;
    let (one, two) = (token(r#""jti":"1","#), token(r#""jti":"2","#));
    let at = async |token: &str| {
        let answer = post(&server, "/c/chat", token, Some("k")).await;
        answer.json()["at"].as_str().unwrap().to_owned()
    };
    let first = at(&one).await;
    assert_eq!(at(&one).await, first, "a repetition is known");
    let second = at(&two).await;
    assert_ne!(second, first);
    // The same over `sockeye.v1`.
    for (token, position) in [(&one, &first), (&two, &second)] {
        let mut v1 = V1::with(client(&server, "/connect", token)).await;
        let command = json!({"op": "pub", "ch": "chat", "data": "x", "key": "k"});
        assert_eq!(&v1.done(command).await["at"], position);
    }
    // Two tokens of one subject are one publisher.
    let ann = at(&of("ann")).await;
    assert_eq!(at(&token(r#""sub":"ann","jti":"2","#)).await, ann);
}

#[tokio::test]
async fn the_bounds_and_what_made_room_are_told() {
    let server = server(4).await;
    fill(&server, &of("flood")).await;
    post(&server, "/c/ann", &of("ann"), None).await;
    let metrics = server.operate("/metrics").await;
    for line in [
        "sockeye_accounts 2",
        "sockeye_max_channels 4",
        "sockeye_max_history_bytes 1073741824",
        "sockeye_evicted_total{what=\"channels\"} 1",
        "sockeye_evicted_total{what=\"keys\"} 0",
    ] {
        assert!(metrics.text().lines().any(|other| other == line), "{line}: {}", metrics.text());
    }
}
