//! One client cannot hold up the others.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use sockeye::Client;
use sockeye_hub::Publication;
use sockeye_testing::eventually_async;

use super::{V1, error_code};
use crate::client::{SOON, TestServer};

#[tokio::test]
async fn a_client_that_reads_too_slowly_gets_a_gap_and_goes_on() {
    let server = TestServer::with(|options| options.channels.history_bytes = 256 * 1024).await;
    let mut slow = V1::connect(&server, "/c/chat").await;
    let (channel, large) = ("chat".parse().unwrap(), "x".repeat(60 * 1024));
    // More than the sockets' buffers hold; and time for the server to have filled them.
    for _ in 0..1000 {
        server.hub.publish(&channel, Publication::text(&large)).await.unwrap();
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
        options.channels.history_bytes = 256 * 1024;
        options.channels.policy = vec!["strict=close".parse().unwrap()];
    })
    .await;
    let mut slow = V1::connect(&server, "/connect").await;
    slow.subscribe("strict").await;
    slow.subscribe("other").await;
    let (channel, large) = ("strict".parse().unwrap(), "x".repeat(60 * 1024));
    for _ in 0..1000 {
        server.hub.publish(&channel, Publication::text(&large)).await.unwrap();
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

/// Commands are executed though messages wait; and answers come before messages.
#[tokio::test]
async fn commands_of_a_client_that_does_not_read_are_still_read() {
    let server = TestServer::with(|options| options.channels.history_bytes = 64 << 20).await;
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
    tokio::time::timeout(SOON, kept).await.expect("all is published");
    let (mut answers, mut messages) = (0, 0);
    while answers + messages < 300 {
        let frame = connection.receive().await;
        answers += u32::from(frame["ok"].is_object());
        messages += u32::from(frame["ch"] == "chat");
    }
    assert_eq!((answers, messages), (150, 150));
}

/// A client that sends commands and does not read the answers is not read any more.
#[tokio::test]
async fn unread_answers_are_not_piled_up() {
    let server = TestServer::start().await;
    let (channel, large) = ("chat".parse().unwrap(), "x".repeat(60 * 1024));
    for _ in 0..10 {
        server.hub.publish(&channel, Publication::text(&large)).await.unwrap();
    }
    let mark = "mark".parse().unwrap();
    let before = server.hub.position(&mark);
    let mut connection = V1::connect(&server, "/connect").await;
    for number in 0..150 {
        connection.send(json!({"id": number, "op": "read", "ch": "chat"})).await;
    }
    connection.send(json!({"id": 150, "op": "pub", "ch": "mark", "data": 1})).await;
    // The server had time to read up to the last command.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.hub.position(&mark), before);
    for number in 0..=150 {
        assert_eq!(connection.receive().await["id"], number);
    }
    // On another node it arrives when it does.
    eventually_async("it is published", async || server.hub.position(&mark) != before).await;
}

#[tokio::test]
async fn read_gives_a_page_at_a_time() {
    let server = TestServer::start().await;
    let channel = "chat".parse().unwrap();
    for number in 0..1000 {
        server.hub.publish(&channel, Publication::text(&number.to_string())).await.unwrap();
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

/// With a paused clock it would take no time at all; here it takes real time.
#[tokio::test]
async fn a_client_that_sends_everything_at_once_gets_every_answer_at_its_pace() {
    let server = TestServer::with(|options| options.channels.max_commands = Some(400)).await;
    let mut connection = V1::connect(&server, "/connect").await;
    let begun = Instant::now();
    for number in 0..1000 {
        connection.send(json!({"id": number, "op": "ping"})).await;
    }
    for number in 0..1000 {
        let answer = connection.receive().await;
        assert_eq!((&answer["id"], answer["ok"].is_object()), (&json!(number), true), "{answer}");
    }
    // 800 at once, and 200 in half a second.
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
}

/// As a plain WebSocket and POSTs: a rate of publications is for operators to set.
#[tokio::test]
async fn publications_have_a_pace_only_where_one_is_set() {
    for (limit, is_slow) in [(None, false), (Some(400), true)] {
        let server = TestServer::with(|options| options.channels.max_commands = limit).await;
        let mut connection = V1::connect(&server, "/connect").await;
        let begun = Instant::now();
        for number in 0..1000 {
            let command = json!({"id": number, "op": "pub", "ch": "chat", "data": number});
            connection.send(command).await;
        }
        for number in 0..1000 {
            let answer = connection.receive().await;
            assert!(answer["id"] == number && answer["ok"].is_object(), "{answer}");
        }
        // At 100 a second, the pace of other commands, it would take eight seconds.
        let bounds = if is_slow { 450..8000 } else { 0..4000 };
        assert!(bounds.contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_plain_websocket_and_posts_have_the_same_pace() {
    let server = TestServer::with(|options| options.channels.max_commands = Some(400)).await;
    let channel = "chat".parse().unwrap();
    let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let mut socket = client.connect().await.unwrap();
    let begun = Instant::now();
    for number in 0..1000 {
        socket.send(number.to_string()).await.unwrap();
        let _ = socket.recv().now_or_never();
    }
    let kept = async {
        while server.hub.position(&channel).offset < 1000 {
            let _ = tokio::time::timeout(Duration::from_millis(5), socket.recv()).await;
        }
    };
    tokio::time::timeout(SOON, kept).await.expect("all is published");
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());

    let begun = Instant::now();
    let posts = (0..1000).map(async |_| server.publish("/c/posted", "x").await);
    futures_util::stream::iter(posts).buffer_unordered(20).count().await;
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
}

/// What a message takes in JSON counts, and not what it takes in the history.
#[tokio::test]
async fn read_gives_as_many_messages_as_their_json_has_room_for() {
    let server = TestServer::start().await;
    let channel = "chat".parse().unwrap();
    for number in 0..40 {
        // Each takes 60 KB in JSON.
        let text = format!("{number:02}{}", "\u{1}".repeat(10_000));
        server.hub.publish(&channel, Publication::text(&text)).await.unwrap();
    }
    let mut connection = V1::connect(&server, "/connect").await;
    let (mut after, mut heard) = (json!("earliest"), 0);
    loop {
        let command = json!({"op": "read", "ch": "chat", "after": after, "limit": 1000});
        connection.send(command).await;
        let answer = connection.receive_text().await;
        assert!(answer.len() < 66 << 10, "{} bytes", answer.len());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let messages = answer["ok"]["messages"].as_array().unwrap();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            assert_eq!(message["data"].as_str().unwrap()[..2], format!("{heard:02}"));
            heard += 1;
        }
        after = answer["ok"]["at"].clone();
    }
    assert_eq!(heard, 40);
}
