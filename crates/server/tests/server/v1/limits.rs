//! What one client may do to the others: nothing.

use serde_json::json;
use sockeye_hub::Publication;

use super::{V1, error_code};
use crate::client::TestServer;

#[tokio::test]
async fn one_who_is_too_fast_is_told_and_at_last_sent_away_with_4429() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    // More than a burst, and not so many more that it ends there.
    for number in 0..300 {
        connection.send(json!({"id": number, "op": "ping"})).await;
    }
    let mut refused = 0;
    for number in 0..300 {
        let answer = connection.receive().await;
        assert_eq!(answer["id"], number);
        if answer["ok"].is_null() {
            assert_eq!(error_code(&answer), "too_many");
            assert_eq!(answer["err"]["retry"], true);
            refused += 1;
        }
    }
    assert!((1..=100).contains(&refused), "{refused} of 300");
    let mut fast = V1::connect(&server, "/connect").await;
    for _ in 0..1000 {
        // It may be closed before all are sent.
        let _ = fast.socket.send("{\"op\":\"ping\"}").await;
    }
    assert_eq!(fast.end().await.1, 4429);
}

#[tokio::test]
async fn one_who_reads_too_slowly_is_told_a_gap_and_goes_on() {
    let server = TestServer::with(|options| options.history_bytes = 256 * 1024).await;
    let mut slow = V1::connect(&server, "/c/chat").await;
    let (channel, large) = ("chat".parse().unwrap(), "x".repeat(60 * 1024));
    // More than the sockets' buffers hold; and time for the server to have filled them.
    for _ in 0..1000 {
        server.hub.publish(&channel, Publication::text(&large)).wait().unwrap();
        tokio::task::yield_now().await;
    }
    let end = server.publish("/c/chat", "the end").await;
    let (mut at, mut gaps) = (None, 0);
    while at.as_deref() != Some(&*end) {
        let frame = slow.receive().await;
        let place = if frame["gap"].is_object() {
            assert_eq!(frame["gap"]["why"], "slow");
            gaps += 1;
            &frame["gap"]["next"]
        } else {
            &frame["at"]
        };
        at = place.as_str().map(str::to_owned);
    }
    assert!(gaps > 0);
}

#[tokio::test]
async fn where_the_policy_is_to_close_it_ends_the_subscription_after_the_gap() {
    let server = TestServer::with(|options| {
        options.history_bytes = 256 * 1024;
        options.policy = vec!["strict=close".parse().unwrap()];
    })
    .await;
    let mut slow = V1::connect(&server, "/connect").await;
    slow.subscribe("strict").await;
    slow.subscribe("other").await;
    let (channel, large) = ("strict".parse().unwrap(), "x".repeat(60 * 1024));
    for _ in 0..1000 {
        server.hub.publish(&channel, Publication::text(&large)).wait().unwrap();
        tokio::task::yield_now().await;
    }
    let mut frame = slow.receive().await;
    while frame["gap"].is_null() {
        frame = slow.receive().await;
    }
    assert_eq!(frame["gap"]["why"], "slow");
    let ended = slow.receive().await;
    assert_eq!((&ended["ch"], error_code(&ended).as_str()), (&json!("strict"), "unavailable"));
    server.publish("/c/strict", "unheard").await;
    server.publish("/c/other", "heard").await;
    assert_eq!(slow.data("other").await, "heard");
    let again = json!({"op": "sub", "ch": "strict", "after": frame["gap"]["next"]});
    slow.done(again).await;
}

/// Commands are heard though what there is to tell waits; and answers come before messages.
#[tokio::test]
async fn one_who_does_not_read_is_still_listened_to() {
    let server = TestServer::with(|options| options.history_bytes = 64 << 20).await;
    let mut connection = V1::connect(&server, "/c/chat").await;
    let large = "x".repeat(60 * 1024);
    for number in 0..150 {
        let command = json!({"id": number, "op": "pub", "ch": "chat", "data": large});
        connection.send(command).await;
    }
    let kept = async {
        while server.hub.position(&"chat".parse().unwrap()).offset < 150 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::client::SOON, kept).await.expect("all is published");
    let (mut answers, mut messages) = (0, 0);
    while answers + messages < 300 {
        let frame = connection.receive().await;
        answers += u32::from(frame["ok"].is_object());
        messages += u32::from(frame["ch"] == "chat");
    }
    assert_eq!((answers, messages), (150, 150));
}

/// Who asks and does not read the answers is not read any more himself.
#[tokio::test]
async fn answers_that_nobody_reads_are_not_piled_up() {
    let server = TestServer::start().await;
    let (channel, large) = ("chat".parse().unwrap(), "x".repeat(60 * 1024));
    for _ in 0..10 {
        server.hub.publish(&channel, Publication::text(&large)).wait().unwrap();
    }
    let mut connection = V1::connect(&server, "/connect").await;
    for number in 0..150 {
        connection.send(json!({"id": number, "op": "read", "ch": "chat"})).await;
    }
    connection.send(json!({"id": 150, "op": "pub", "ch": "mark", "data": 1})).await;
    // It has been given every chance to go on to the last command.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.hub.position(&"mark".parse().unwrap()).offset, 0);
    for number in 0..=150 {
        assert_eq!(connection.receive().await["id"], number);
    }
    assert_eq!(server.hub.position(&"mark".parse().unwrap()).offset, 1);
}

#[tokio::test]
async fn read_gives_a_page_at_a_time() {
    let server = TestServer::start().await;
    let channel = "chat".parse().unwrap();
    for number in 0..1000 {
        server.hub.publish(&channel, Publication::text(&number.to_string())).wait().unwrap();
    }
    let mut connection = V1::connect(&server, "/connect").await;
    let (mut after, mut heard) = (json!("earliest"), Vec::new());
    loop {
        let command = json!({"op": "read", "ch": "chat", "after": after, "limit": 1000});
        let page = connection.done(command).await;
        let messages = page["messages"].as_array().unwrap();
        assert!(messages.len() <= 300);
        if messages.is_empty() {
            break;
        }
        heard.extend(messages.iter().map(|message| message["data"].as_str().unwrap().to_owned()));
        after = page["at"].clone();
    }
    assert_eq!(heard, (0..1000).map(|number: u32| number.to_string()).collect::<Vec<_>>());
}
