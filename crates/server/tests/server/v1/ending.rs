//! How a connection ends.

use std::time::Instant;

use tokio::time::timeout;

use super::V1;
use crate::client::{DRAIN, SOON, TestServer};

#[tokio::test]
async fn a_server_that_stops_says_bye_and_when_to_come_back_each_its_own_time() {
    let server = TestServer::start().await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(V1::connect(&server, "/c/chat").await);
    }
    let begun = Instant::now();
    let running = server.begin_to_stop();
    let mut times = std::collections::HashSet::new();
    for connection in &mut connections {
        let (frames, code) = connection.end().await;
        let [last] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((code, last["bye"]["why"].as_str()), (1012, Some("drain")));
        times.insert(last["bye"]["retry_ms"].as_u64().expect("a time"));
    }
    assert!(times.len() > 10, "{times:?}");
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
    // It ends when all connections have ended, and does not wait for the end of the drain.
    assert!(begun.elapsed() < DRAIN / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.socket.send(vec![1, 2, 3]).await.unwrap();
    assert_eq!(connection.end().await.1, 1003);
}

#[tokio::test]
async fn a_frame_larger_than_any_message_closes_with_1009() {
    let server = TestServer::with(|options| options.channels.max_message = 100).await;
    let mut connection = V1::connect(&server, "/connect").await;
    connection.send_text(&" ".repeat(10_000)).await;
    assert_eq!(connection.end().await.1, 1009);
}

/// In JSON a message may take six times as many bytes as it has.
#[tokio::test]
async fn a_message_of_the_largest_size_fits_however_it_is_written() {
    let server = TestServer::with(|options| options.channels.max_message = 60_000).await;
    let mut connection = V1::connect(&server, "/c/chat").await;
    let escaped = "\\u0007".repeat(60_000);
    let publish = format!("{{\"op\":\"pub\",\"data\":\"{escaped}\"}}");
    let (_, message) = connection.publish(&publish).await;
    assert_eq!(message["data"], "\u{7}".repeat(60_000));
}

#[tokio::test]
async fn a_close_is_answered_with_the_same_code() {
    let server = TestServer::start().await;
    let mut connection = V1::connect(&server, "/connect").await;
    let closed = connection
        .socket
        .close(sockeye::CloseFrame::new(4000.try_into().unwrap(), "bye").unwrap())
        .await;
    assert!(closed.is_clean());
    assert_eq!(closed.code(), 4000);
}

#[tokio::test]
#[cfg(feature = "fjall")]
async fn a_command_right_before_a_close_is_answered_before_it() {
    let folder = tempfile::tempdir().unwrap();
    for data in [None, Some(folder.path().to_owned())] {
        let server = TestServer::with(|options| options.channels.data = data).await;
        for round in 0..50 {
            let V1 { socket, .. } = V1::connect(&server, "/c/chat").await;
            let (mut reader, writer) = socket.split();
            let command = format!(r#"{{"id":{round},"op":"pub","data":"x"}}"#);
            writer.send(command).await.unwrap();
            let is_answer = |frame: &sockeye::Message| {
                frame.as_text().is_some_and(|text| text.contains("\"ok\""))
            };
            // In a cluster the message itself may come before the answer.
            let answer = async {
                loop {
                    let frame = reader.recv().await.expect("the answer comes first").unwrap();
                    if is_answer(&frame) || !server.is_cluster() {
                        return frame;
                    }
                }
            };
            let (closed, answer) = tokio::join!(
                timeout(SOON, writer.close(sockeye::CloseCode::try_from(4000).unwrap())),
                timeout(SOON, answer),
            );
            let answer = answer.unwrap();
            assert!(is_answer(&answer), "{answer:?}");
            assert_eq!(closed.unwrap().code(), 4000);
        }
    }
}
