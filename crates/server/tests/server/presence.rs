//! `GET /c/{channel}/presence`: the members of a channel.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use sockeye::{Client, CloseCode, WebSocket};
use sockeye_testing::eventually_async;
use url::form_urlencoded;

use crate::client::TestServer;
use crate::v1::V1;

async fn connect(server: &TestServer, path: &str) -> WebSocket {
    sockeye::connect(format!("ws://{}{path}", server.address)).await.unwrap()
}

/// The response, with every `since` taken out.
async fn presence(server: &TestServer) -> Value {
    let mut presence = server.get("/c/chat/presence").await.json();
    for member in presence["members"].as_array_mut().unwrap() {
        assert!(member.as_object_mut().unwrap().remove("since").unwrap().is_u64());
    }
    presence
}

/// Waits for this response.
async fn until(server: &TestServer, expected: Value) {
    eventually_async(format!("presence is {expected}"), async || {
        let presence = presence(server).await;
        if presence == expected { Ok(()) } else { Err(presence) }
    })
    .await;
}

#[tokio::test]
async fn a_websocket_is_present_until_it_closes() {
    let server = TestServer::start().await;
    assert_eq!(presence(&server).await, json!({"count": 0, "members": []}));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let before = now();
    let mut ann = connect(&server, "/c/chat?as=ann").await;
    let nameless = connect(&server, "/c/chat").await;
    let _elsewhere = connect(&server, "/c/other?as=bob").await;
    let answer = server.get("/c/chat/presence").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let since = answer.json()["members"][0]["since"].as_u64().unwrap();
    assert!((before..=now()).contains(&u128::from(since)), "{since}");
    let members = json!([{"id": "ann", "since": since}]);
    assert_eq!(answer.json(), json!({"count": 2, "members": members}));

    ann.close(CloseCode::NORMAL).await;
    until(&server, json!({"count": 1, "members": []})).await;
    drop(nameless);
    until(&server, json!({"count": 0, "members": []})).await;
}

#[tokio::test]
async fn a_polling_member_is_present_like_a_connected_one() {
    let server = TestServer::start().await;
    for _ in 0..2 {
        server.get("/c/chat?as=ann&presence=1").await;
        server.get("/c/chat?after=earliest&wait=0").await;
    }
    let members = json!([{"id": "ann"}]);
    assert_eq!(presence(&server).await, json!({"count": 2, "members": members}));
    // The same client, by another transport.
    let _ann = connect(&server, "/c/chat?as=ann").await;
    assert_eq!(presence(&server).await, json!({"count": 2, "members": members}));
}

#[tokio::test]
async fn reading_history_asking_and_publishing_is_not_listening() {
    let server = TestServer::start().await;
    server.publish("/c/chat?as=ann", "hello").await;
    server.head("/c/chat?as=ann").await;
    server.get("/c/chat/presence?as=ann").await;
    server.get("/c/chat?as=ann").await;
    server.get("/c/chat?as=ann&presence=0").await;
    server.get("/c/chat?as=ann&after=nowhere&presence=1").await.assert_problem(400, "bad_position");
    server.get("/c/chat?as=ann&presence=yes").await.assert_problem(400, "bad_request");
    assert_eq!(presence(&server).await, json!({"count": 0, "members": []}));
    assert_eq!(server.hub.figures().presence_bytes, 0);
}

#[tokio::test]
async fn it_can_be_asked_for_and_nothing_else() {
    let server = TestServer::start().await;
    let head = server.head("/c/chat/presence").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    let options = server.send(server.request(Method::OPTIONS, "/c/chat/presence"), "").await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.header("allow"), "GET, HEAD, OPTIONS");
    server.delete("/c/chat/presence").await.assert_problem(405, "method_not_allowed");
    server
        .post("/c/chat/presence", "text/plain", "")
        .await
        .assert_problem(405, "method_not_allowed");
    server.get("/c/!/presence").await.assert_problem(400, "bad_channel");
    server.get("/c/chat/presence/ann").await.assert_problem(404, "not_found");
}

/// The ids of all members, page by page.
async fn paged(server: &TestServer, limit: usize) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/c/chat/presence?limit={limit}&after={after}");
        let page = server.get(&path).await.json();
        assert_eq!(page["count"], 250, "the count is that of all");
        let members = page["members"].as_array().unwrap();
        ids.extend(members.iter().map(|member| member["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { return ids };
        after = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    }
}

#[tokio::test]
async fn many_members_come_in_the_same_pages_by_http_and_sockeye_v1() {
    let server = TestServer::start().await;
    let channel = "chat".parse().unwrap();
    let join = |n| server.hub.join(&channel, Some(&format!("mem\"ber & {n:03}")));
    let _leases: Vec<_> = (0..250).map(join).collect();
    let first = server.get("/c/chat/presence").await.json();
    assert_eq!(first["members"].as_array().unwrap().len(), 100, "the default");
    assert_eq!(first["next"], "mem\"ber & 099");
    let all = paged(&server, 1000).await;
    assert_eq!(all.len(), 250);
    for limit in [1, 99, 125, 249, 250] {
        assert_eq!(paged(&server, limit).await, all, "{limit}");
    }

    let mut v1 = V1::connect(&server, "/connect").await;
    let who = json!({"op": "who", "ch": "chat", "limit": 70, "after": "mem\"ber & 099"});
    let path = "/c/chat/presence?limit=70&after=mem%22ber%20%26%20099";
    let told = server.get(path).await.json();
    assert_eq!(v1.done(who).await, told);
    assert_eq!(v1.done(json!({"op": "who", "ch": "chat"})).await, first);
}

#[tokio::test]
async fn a_page_that_is_asked_for_wrongly_is_refused() {
    let server = TestServer::start().await;
    let mut v1 = V1::connect(&server, "/connect").await;
    let long = "x".repeat(256);
    let wrong = [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1&limit=2",
        &format!("after={long}"),
    ];
    for query in wrong {
        server.get(&format!("/c/chat/presence?{query}")).await.assert_problem(400, "bad_request");
    }
    for wrong in
        [json!({"limit": 0}), json!({"limit": 1001}), json!({"after": 5}), json!({"after": long})]
    {
        let mut who = json!({"op": "who", "ch": "chat"});
        who.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(v1.refused(who).await, "bad_request", "{wrong}");
    }
}

/// A page is bounded in bytes, too, whatever ids the program that embeds the hub uses.
#[tokio::test]
async fn a_page_of_long_ids_ends_early_and_says_where_to_continue() {
    let server = TestServer::start().await;
    let channel = "chat".parse().unwrap();
    let id = |n| format!("{n:03}{}", "\u{1}".repeat(252));
    let _leases: Vec<_> = (0..250).map(|n| server.hub.join(&channel, Some(&id(n)))).collect();
    let page = server.get("/c/chat/presence?limit=1000").await;
    assert!(page.body.len() <= (64 << 10) + 2048, "{}", page.body.len());
    let told = page.json()["members"].as_array().unwrap().len();
    assert!((30..60).contains(&told), "{told}");
    assert_eq!(page.json()["next"], id(told - 1));
    assert_eq!(paged(&server, 1000).await.len(), 250);
}

/// No client gives itself a name that is shown as another, on any transport.
#[tokio::test]
async fn a_name_that_turns_the_direction_of_text_is_refused() {
    let server = TestServer::start().await;
    for char in ["%E2%80%AE", "%E2%81%A6", "%D8%9C", "%E2%80%8F", "%E2%80%A8", "%C2%85", "%00"] {
        let name = format!("as=ann{char}nimda");
        server.get(&format!("/c/chat?{name}")).await.assert_problem(400, "bad_request");
        for path in ["/c/chat", "/connect"] {
            let url = format!("ws://{}{path}?{name}", server.address);
            let client = Client::new(&url).unwrap().subprotocol("sockeye.v1");
            let refused = client.open().await.unwrap_err().to_string();
            assert!(refused.contains("400"), "{name}: {refused}");
        }
    }
    assert_eq!(presence(&server).await, json!({"count": 0, "members": []}));
}
