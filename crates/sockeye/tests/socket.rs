//! What an application does with an open WebSocket: sending without waiting, round trips, JSON.

mod common;

use std::time::Duration;

use common::{LINKS, Link, PING, PONG, TEXT, client_and_raw, pair, server_and_raw, soon};
use serde::{Deserialize, Serialize};
use sockeye::{CloseCode, Config, Error, Keepalive, Message, TrySendError};

#[tokio::test]
async fn try_send_sends_until_the_peer_is_slow_and_gives_the_message_back_then() {
    for link in LINKS {
        let (mut client, mut raw) = client_and_raw(link, Config::default()).await;
        let mut sent = 0_u32;
        let refused = loop {
            match client.try_send(sent.to_string().repeat(1000)) {
                Ok(()) => sent += 1,
                Err(refused) => break refused,
            }
            // The transport takes what it can.
            tokio::task::yield_now().await;
        };
        assert!(matches!(refused, TrySendError::Full(_)), "{refused:?}");
        assert_eq!(refused.into_message(), Message::from(sent.to_string().repeat(1000)));
        let queued = client.buffered_amount();
        assert!((64 << 10..80 << 10).contains(&queued), "{queued} bytes are queued");
        for number in 0..sent {
            let (first, payload) = raw.expect_frame().await;
            assert!(first == TEXT && payload == number.to_string().repeat(1000), "{number}");
        }
        // The peer has read: there is room again, and what was refused was not sent.
        while client.try_send("again").is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.expect_frame().await, (TEXT, "again".into()));
    }
}

#[tokio::test]
async fn try_send_on_a_closed_connection_gives_the_message_back_and_says_why() {
    for link in LINKS {
        let (mut client, mut server) = pair(link).await;
        let (closed, _) = tokio::join!(client.close(CloseCode::NORMAL), server.recv());
        assert!(closed.is_clean());
        let Err(TrySendError::Closed(message, error)) = client.try_send("late") else {
            panic!("it was sent")
        };
        assert!(message == Message::from("late") && matches!(error, Error::Closed(_)), "{error:?}");
    }
}

#[tokio::test]
async fn latency_is_that_of_the_last_ping_that_was_answered() {
    for link in LINKS {
        let (client, _server) = pair(link).await;
        assert_eq!(client.latency(), None);
        let first = soon(client.ping()).await.unwrap();
        assert_eq!(client.latency(), Some(first));
        let (_, writer) = client.split();
        let second = soon(writer.ping()).await.unwrap();
        assert_eq!(writer.latency(), Some(second));
    }
}

#[tokio::test]
async fn latency_is_also_that_of_keepalive_pings_whatever_comes_before_the_pong() {
    for link in LINKS {
        let interval = Duration::from_millis(50);
        let config = Config::default()
            .keepalive(Keepalive::default().interval(interval).timeout(common::PATIENCE));
        let (mut client, mut raw) = client_and_raw(link, config).await;
        let peer = async {
            assert_eq!(raw.expect_frame().await, (PING, "".into()));
            raw.send(TEXT, b"something else").await;
        };
        let (first, ()) = tokio::join!(soon(client.recv()), peer);
        assert_eq!(first.unwrap().unwrap().as_text(), Some("something else"));
        assert_eq!(client.latency(), None);
        raw.send(PONG, b"").await;
        raw.send(TEXT, b"done").await;
        assert_eq!(soon(client.recv()).await.unwrap().unwrap().as_text(), Some("done"));
        assert!(client.latency().is_some());
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Move {
    from: String,
    to: String,
}

#[tokio::test]
async fn values_go_as_json_texts_and_come_back_from_texts_and_bytes() {
    let (mut server, mut raw) = server_and_raw(Link::Tcp, Config::default()).await;
    let opening = Move { from: "e2".to_owned(), to: "e4".to_owned() };
    server.send_json(&opening).await.unwrap();
    assert_eq!(raw.expect_frame().await, (TEXT, r#"{"from":"e2","to":"e4"}"#.into()));
    for first in [TEXT, common::BINARY] {
        raw.send(first, br#"{"from":"e2","to":"e4"}"#).await;
        assert_eq!(soon(server.recv_json::<Move>()).await.unwrap().unwrap(), opening);
    }
}

#[tokio::test]
async fn what_is_not_the_json_expected_is_an_error_after_which_the_connection_goes_on() {
    let (mut server, mut raw) = server_and_raw(Link::Tcp, Config::default()).await;
    for wrong in [&b"{"[..], b"[]", b"", b"{\"from\":1}"] {
        raw.send(TEXT, wrong).await;
        let error = soon(server.recv_json::<Move>()).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Json(_)), "{error:?}");
    }
    let unspeakable = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(server.send_json(&unspeakable).await, Err(Error::Json(_))));
    server.send_json("still here").await.unwrap();
    assert_eq!(raw.expect_frame().await, (TEXT, "\"still here\"".into()));
    drop(raw);
    let end = soon(server.recv_json::<Move>()).await.unwrap();
    assert!(matches!(end, Err(Error::Failed(_) | Error::Io(_))), "{end:?}");
    assert!(server.recv_json::<Move>().await.is_none());
}
