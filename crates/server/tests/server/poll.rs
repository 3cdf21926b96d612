//! `GET`, `HEAD` and `DELETE` of `/c/{channel}`.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use sockeye_hub::Publication;

use crate::client::{Answer, TestServer};

/// The texts of the messages in a poll.
fn texts(poll: &Answer) -> Vec<String> {
    let poll = poll.json();
    let messages = poll["messages"].as_array().unwrap();
    messages.iter().map(|message| message["data"].as_str().unwrap().to_owned()).collect()
}

/// Publishes `1` to `count` and gives the positions.
async fn publish_numbers(server: &TestServer, count: usize) -> Vec<String> {
    let mut positions = Vec::new();
    for number in 1..=count {
        positions.push(server.publish("/c/chat", &number.to_string()).await);
    }
    positions
}

async fn get_if_none_match(server: &TestServer, path: &str, tag: &str) -> Answer {
    server.send(server.request(Method::GET, path).header("If-None-Match", tag), "").await
}

#[tokio::test]
async fn a_message_says_where_when_and_what() {
    let server = TestServer::start().await;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let before = now();
    let at = server.publish("/c/chat", "hello").await;
    let poll = server.get("/c/chat").await;
    assert_eq!(poll.status, StatusCode::OK);
    assert_eq!(poll.header("content-type"), "application/json");
    let ts = poll.json()["messages"][0]["ts"].as_u64().unwrap();
    assert!((before..=now()).contains(&u128::from(ts)));
    let message = format!(r#"{{"at":"{at}","ts":{ts},"data":"hello"}}"#);
    assert_eq!(poll.text(), format!(r#"{{"at":"{at}","messages":[{message}]}}"#));
}

#[tokio::test]
async fn an_unused_channel_is_empty_and_has_a_position() {
    let server = TestServer::start().await;
    let poll = server.get("/c/never-used").await;
    assert_eq!(poll.json()["messages"], json!([]));
    assert!(server.is_cluster() || poll.json()["at"].as_str().unwrap().ends_with(".0"));
    assert_eq!(poll.json().get("gap"), None);
}

#[tokio::test]
async fn reading_continues_after_the_given_position() {
    let server = TestServer::start().await;
    let positions = publish_numbers(&server, 5).await;
    let mut after = "earliest".to_owned();
    let mut read = Vec::new();
    for expected in [2, 4, 5, 5] {
        let page = server.get(&format!("/c/chat?after={after}&limit=2")).await;
        read.extend(texts(&page));
        after = page.json()["at"].as_str().unwrap().to_owned();
        assert_eq!(after, positions[expected - 1]);
    }
    assert_eq!(read, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn every_form_of_after_starts_where_it_says() {
    let server = TestServer::start().await;
    let positions = publish_numbers(&server, 4).await;
    let cases = [
        ("earliest", "1234"),
        ("now", ""),
        ("-2", "34"),
        ("-50", "1234"),
        ("-0", ""),
        ("10m", "1234"),
        ("500ms", "1234"),
        ("2h", "1234"),
        (&positions[1], "34"),
        (&positions[3], ""),
    ];
    for (after, expected) in cases {
        let poll = server.get(&format!("/c/chat?after={after}")).await;
        assert_eq!(texts(&poll).concat(), expected, "after={after}");
        assert_eq!(poll.json()["at"], json!(positions[3]), "after={after}");
    }
}

#[tokio::test]
async fn a_poll_gives_the_last_hundred_unless_told_otherwise() {
    let server = TestServer::with(|options| options.channels.history_count = 2000).await;
    for number in 1..=1005 {
        let number = number.to_string();
        server.hub.publish(&"chat".parse().unwrap(), Publication::text(&number)).await.unwrap();
    }
    let first_and_count = async |query: &str| {
        let texts = texts(&server.get(&format!("/c/chat{query}")).await);
        (texts[0].clone(), texts.len())
    };
    assert_eq!(first_and_count("").await, ("906".to_owned(), 100));
    assert_eq!(first_and_count("?limit=3").await, ("1003".to_owned(), 3));
    assert_eq!(first_and_count("?limit=1000").await, ("6".to_owned(), 1000));
    assert_eq!(first_and_count("?after=earliest").await, ("1".to_owned(), 100));
}

#[tokio::test]
async fn a_trimmed_history_is_a_gap() {
    let server = TestServer::with(|options| options.channels.history_count = 2).await;
    let positions = publish_numbers(&server, 5).await;
    let poll = server.get(&format!("/c/chat?after={}", positions[0])).await;
    assert_eq!(texts(&poll), ["4", "5"]);
    let gap = json!({"after": positions[0], "next": positions[2], "why": "expired"});
    assert_eq!(poll.json()["gap"], gap);
    assert!(poll.text().ends_with(&format!(
        r#"],"gap":{{"after":"{}","next":"{}","why":"expired"}}}}"#,
        positions[0], positions[2]
    )));
}

#[tokio::test]
async fn positions_of_another_life_or_of_the_future_are_reset() {
    let server = TestServer::start().await;
    let position = server.publish("/c/chat", "hello").await;
    let (epoch, _) = position.split_once('.').unwrap();
    for after in ["zzzzzzz.1".to_owned(), format!("{epoch}.99")] {
        let poll = server.get(&format!("/c/chat?after={after}")).await;
        assert_eq!(poll.json()["gap"]["why"], "reset", "{after}");
        assert_eq!(poll.json()["gap"]["after"], json!(after));
        assert_eq!(texts(&poll), ["hello"]);
    }
}

#[tokio::test]
async fn a_known_position_answers_304() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "hello").await;
    let etag = format!("\"{at}\"");
    assert_eq!(server.get("/c/chat").await.header("etag"), etag);
    let all = [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()];
    for tag in &all {
        let answer = get_if_none_match(&server, "/c/chat", tag).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::NOT_MODIFIED, ""), "{tag}");
        assert_eq!(answer.header("etag"), etag);
    }
    let answer = get_if_none_match(&server, &format!("/c/chat?after={at}"), &etag).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);

    server.publish("/c/chat", "news").await;
    assert_eq!(get_if_none_match(&server, "/c/chat", &etag).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_gap_is_never_hidden_behind_304() {
    let server = TestServer::with(|options| options.channels.history_count = 1).await;
    let positions = publish_numbers(&server, 3).await;
    let tag = format!("\"{}\"", positions[2]);
    let path = format!("/c/chat?after={}", positions[0]);
    let poll = get_if_none_match(&server, &path, &tag).await;
    assert_eq!(poll.json()["gap"]["why"], "expired");
}

#[tokio::test]
async fn head_is_the_position_to_subscribe_after() {
    let server = TestServer::start().await;
    let empty = server.head("/c/chat").await.header("etag");
    assert!(server.is_cluster() || empty.ends_with(".0\""), "{empty}");
    let at = server.publish("/c/chat", "before the page was rendered").await;
    let head = server.head("/c/chat").await;
    assert_eq!((head.status, head.text()), (StatusCode::OK, ""));
    assert_eq!(head.header("etag"), format!("\"{at}\""));
    assert_eq!(head.header("content-type"), "application/json");
    assert_eq!(head.header("content-length"), "", "no length is better than a wrong one");
    server.publish("/c/chat", "after it").await;
    assert_eq!(texts(&server.get(&format!("/c/chat?after={at}")).await), ["after it"]);
}

#[tokio::test]
async fn delete_deletes_the_history_and_keeps_the_channel() {
    let server = TestServer::start().await;
    let positions = publish_numbers(&server, 3).await;
    let deleted = server.delete("/c/chat").await;
    assert_eq!((deleted.status, deleted.text()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(texts(&server.get("/c/chat?after=earliest").await), [""; 0]);
    let poll = server.get(&format!("/c/chat?after={}", positions[0])).await;
    assert_eq!(poll.json()["gap"]["why"], "reset");

    let next = server.publish("/c/chat", "4").await;
    let (epoch, offset) = next.split_once('.').unwrap();
    let (last_epoch, last) = positions[2].split_once('.').unwrap();
    assert_eq!(epoch, last_epoch);
    assert!(offset.parse::<u64>().unwrap() > last.parse().unwrap(), "{last} {offset}");
    assert!(server.is_cluster() || offset == "4", "{offset}");
    assert_eq!(server.delete("/c/never-used").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_client_chooses_among_forms_and_gets_no_other() {
    let server = TestServer::start().await;
    let accepting = async |accept: &str| {
        server.send(server.request(Method::GET, "/c/chat").header("Accept", accept), "").await
    };
    for accept in ["*/*", "application/json", "text/html, */*;q=0.8", "application/*"] {
        assert_eq!(accepting(accept).await.status, StatusCode::OK, "{accept}");
    }
    for accept in ["image/png", "application/json;q=0", "application/xml"] {
        accepting(accept).await.assert_problem(406, "not_acceptable");
    }
    assert_eq!(accepting("*/*").await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn pages_of_large_messages_arrive_whole_a_megabyte_at_a_time() {
    let server = TestServer::start().await;
    let large = "é".repeat(32 * 1024);
    for _ in 0..40 {
        server.publish("/c/chat", &large).await;
    }
    let (mut after, mut counts) = ("earliest".to_owned(), Vec::new());
    loop {
        let poll = server.get(&format!("/c/chat?after={after}&limit=1000")).await;
        assert_eq!(poll.header("content-length"), poll.body.len().to_string());
        assert!(poll.body.len() <= 1 << 20, "{} bytes", poll.body.len());
        let page: Value = poll.json();
        let messages = page["messages"].as_array().unwrap();
        if messages.is_empty() {
            break;
        }
        assert!(messages.iter().all(|message| message["data"] == large.as_str()));
        assert_eq!(page["at"], messages.last().unwrap()["at"]);
        counts.push(messages.len());
        after = page["at"].as_str().unwrap().to_owned();
    }
    assert_eq!(counts, [15, 15, 10]);
}

#[tokio::test]
async fn a_page_is_bounded_by_what_is_sent_and_has_the_newest() {
    let server = TestServer::start().await;
    for payload in ["\u{7}".repeat(60_000), "\"\\".repeat(30_000), "\n".repeat(60_000)] {
        for _ in 0..20 {
            server.publish("/c/chat", &payload).await;
        }
        for query in ["?after=-20", "?limit=20", "?after=-20&wait=1"] {
            let poll = server.get(&format!("/c/chat{query}")).await;
            let len = poll.body.len();
            assert!((1..=(1 << 20)).contains(&len), "{len} bytes");
        }
        // Without a start, the newest are returned.
        let (newest, head) = (server.get("/c/chat").await, server.head("/c/chat").await);
        assert_eq!(newest.header("etag"), head.header("etag"));
    }
}
