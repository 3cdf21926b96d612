//! Subscriptions: where they begin, in which order messages come, and what is missing.

use serde_json::json;
use sockeye::{Client, DeflateConfig};
use sockeye_hub::Publication;

use super::V1;
use crate::client::TestServer;

#[tokio::test]
async fn the_answer_comes_before_the_missed_and_those_before_the_live() {
    let server = TestServer::start().await;
    let first = server.publish("/c/chat", "1").await;
    server.publish("/c/chat", "2").await;
    let third = server.publish("/c/chat", "3").await;
    let mut connection = V1::connect(&server, "/connect").await;
    let subscribed = connection.done(json!({"op": "sub", "ch": "chat", "after": first})).await;
    assert_eq!(subscribed, json!({"at": third, "recovered": true, "missed": 2}));
    server.publish("/c/chat", "4").await;
    for text in ["2", "3", "4"] {
        assert_eq!(connection.data("chat").await, text);
    }
}

#[tokio::test]
async fn a_subscription_starts_where_after_says() {
    let server = TestServer::start().await;
    for text in ["1", "2", "3"] {
        server.publish("/c/chat", text).await;
    }
    for (after, missed) in [("earliest", 3), ("-1", 1), ("10m", 3), ("now", 0), ("-99", 3)] {
        let mut connection = V1::connect(&server, "/connect").await;
        let subscribed = connection.done(json!({"op": "sub", "ch": "chat", "after": after})).await;
        assert_eq!(subscribed["missed"], missed, "{after}");
        assert_eq!(subscribed["recovered"], true, "{after}");
        for number in 4 - missed..4 {
            assert_eq!(connection.data("chat").await, number.to_string(), "{after}");
        }
        connection.assert_silent().await;
    }
}

#[tokio::test]
async fn a_gap_comes_before_what_follows_it() {
    let server = TestServer::with(|options| options.channels.history_count = 2).await;
    let first = server.publish("/c/chat", "1").await;
    let mut second = String::new();
    for text in ["2", "3", "4"] {
        let at = server.publish("/c/chat", text).await;
        second = if text == "2" { at } else { second };
    }
    for (after, why) in [(first.as_str(), "expired"), ("zzzzzzz.1", "reset")] {
        let mut connection = V1::connect(&server, "/connect").await;
        let subscribed = connection.done(json!({"op": "sub", "ch": "chat", "after": after})).await;
        assert_eq!((&subscribed["recovered"], &subscribed["missed"]), (&json!(false), &json!(2)));
        let gap = json!({"after": after, "next": second, "why": why});
        assert_eq!(connection.receive().await, json!({"ch": "chat", "gap": gap}));
        assert_eq!(connection.data("chat").await, "3");
        assert_eq!(connection.data("chat").await, "4");
    }
}

#[tokio::test]
async fn a_history_that_is_deleted_is_a_gap_and_the_channel_goes_on() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/c/chat").await;
    let at = server.publish("/c/chat", "before").await;
    assert_eq!(connection.data("chat").await, "before");
    server.delete("/c/chat").await;
    let head = server.head("/c/chat").await.header("etag");
    let next = head.trim_matches('"');
    assert!(server.is_cluster() || next == at, "{next}");
    let gap = json!({"after": at, "next": next, "why": "reset"});
    assert_eq!(connection.receive().await, json!({"ch": "chat", "gap": gap}));
    server.publish("/c/chat", "after").await;
    assert_eq!(connection.data("chat").await, "after");
}

#[tokio::test]
async fn unsub_stops_at_once_and_another_sub_continues_where_it_says() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.subscribe("chat").await;
    let at = server.publish("/c/chat", "heard").await;
    assert_eq!(connection.data("chat").await, "heard");
    assert_eq!(connection.done(json!({"op": "unsub", "ch": "chat"})).await, json!({}));
    server.publish("/c/chat", "unheard").await;
    connection.assert_silent().await;
    assert_eq!(connection.done(json!({"op": "unsub", "ch": "chat"})).await, json!({}));
    connection.done(json!({"op": "sub", "ch": "chat", "after": at})).await;
    assert_eq!(connection.data("chat").await, "unheard");
    let again = json!({"op": "sub", "ch": "chat"});
    assert_eq!(connection.refused(again).await, "bad_request", "it is subscribed already");
}

#[tokio::test]
async fn nothing_of_a_channel_comes_after_the_answer_to_unsub_however_much_there_is() {
    let server = TestServer::start().await;
    let channel = "chat".parse().unwrap();
    for number in 0..1000 {
        server.hub.publish(&channel, Publication::text(&number.to_string())).await.unwrap();
    }
    let mut connection = V1::connect(&server, "/connect").await;
    connection.send(json!({"op": "sub", "ch": "chat", "after": "earliest"})).await;
    connection.send(json!({"id": "end", "op": "unsub", "ch": "chat"})).await;
    while connection.receive().await["id"] != "end" {}
    connection.assert_silent().await;
}

#[tokio::test]
async fn a_hundred_and_twenty_eight_channels_each_in_their_order() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    let names: Vec<String> = (0..128).map(|number| format!("channel-{number}")).collect();
    for name in &names {
        connection.subscribe(name).await;
    }
    let beyond = json!({"op": "sub", "ch": "one-more"});
    assert_eq!(connection.refused(beyond.clone()).await, "too_many");
    for round in 0..10 {
        for name in &names {
            let text = round.to_string();
            let publication = Publication::text(&text);
            server.hub.publish(&name.parse().unwrap(), publication).await.unwrap();
        }
    }
    let mut heard = std::collections::HashMap::new();
    for _ in 0..10 * names.len() {
        let message = connection.receive().await;
        let channel = message["ch"].as_str().unwrap().to_owned();
        let next: &mut u32 = heard.entry(channel).or_default();
        assert_eq!(message["data"], next.to_string());
        *next += 1;
    }
    assert!(heard.len() == 128 && heard.values().all(|count| *count == 10));
    connection.done(json!({"op": "unsub", "ch": names[0]})).await;
    connection.done(beyond).await;
}

/// A busy channel waits for its turn behind the others after each page.
#[tokio::test]
async fn a_long_history_does_not_hold_up_another_channel() {
    let server = TestServer::with(|options| options.channels.history_count = 20_000).await;
    let (busy, text) = ("busy".parse().unwrap(), "x".repeat(1000));
    for _ in 0..10_000 {
        server.hub.publish(&busy, Publication::text(&text)).await.unwrap();
    }
    server.publish("/c/quiet", "here").await;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.send(json!({"op": "sub", "ch": "busy", "after": "earliest"})).await;
    connection.send(json!({"op": "sub", "ch": "quiet", "after": "earliest"})).await;
    let (mut of_busy, mut heard_quiet) = (0, false);
    while !heard_quiet {
        let frame = connection.receive().await;
        of_busy += u32::from(frame["ch"] == "busy");
        heard_quiet = frame["ch"] == "quiet";
    }
    assert!(of_busy < 5000, "{of_busy} messages of the busy channel came before");
}

#[tokio::test]
async fn a_message_is_compressed_once_for_all_its_subscribers() {
    let server = TestServer::start().await;
    let mut forms = Vec::new();
    let long = "sockeye ".repeat(1000);
    for deflate in [None, Some(DeflateConfig::default())] {
        let url = format!("ws://{}/connect", server.address);
        let client = || Client::new(&url).unwrap().deflate(deflate.clone());
        let mut readers = [V1::with(client()).await, V1::with(client()).await];
        for reader in &mut readers {
            reader.subscribe("chat").await;
        }
        server.delete("/c/chat").await;
        server.publish("/c/chat", &long).await;
        for reader in &mut readers {
            assert_eq!(reader.socket.deflate().is_some(), deflate.is_some());
            // The gap of the deletion comes before.
            assert!(reader.receive().await["gap"].is_object());
            assert_eq!(reader.data("chat").await, *long);
        }
        forms.push(server.hub.figures().form_bytes);
    }
    let compressed = forms[1] - forms[0];
    assert!((1..forms[0] / 10).contains(&compressed), "{forms:?} bytes");
}
