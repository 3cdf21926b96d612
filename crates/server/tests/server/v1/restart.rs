//! Positions on every transport, and after a restart.

use serde_json::{Value, json};

use super::V1;
use crate::client::TestServer;

/// One reader switches from transport to transport and from server to server, and gets everything once.
#[tokio::test]
async fn one_position_means_the_same_on_every_transport_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let data = directory.path().to_owned();
        TestServer::with(move |options| options.channels.data = Some(data))
    };
    let mut server = start().await;
    let mut at = V1::connect(&server, "/c/chat").await.hello["at"].as_str().unwrap().to_owned();
    let mut heard = Vec::new();
    for hop in 0..12 {
        for number in 3 * hop..3 * hop + 3 {
            server.publish("/c/chat", &number.to_string()).await;
        }
        let path = format!("/c/chat?after={at}");
        let messages = match hop % 4 {
            0 => by_v1(&server, &path).await,
            1 => by_events(&server, &format!("{path}&meta=1")).await,
            2 => by_poll(&server, &path).await,
            _ => by_poll(&server, &format!("{path}&wait=25")).await,
        };
        assert_eq!(messages.len(), 3);
        at = messages[2]["at"].as_str().unwrap().to_owned();
        heard.extend(messages.into_iter().map(|mut message| message["data"].take()));
        if hop % 3 == 2 {
            server.stop().await;
            server = start().await;
        }
    }
    let all: Vec<_> = (0..36).map(|number: u32| json!(number.to_string())).collect();
    assert_eq!(heard, all);
}

async fn by_v1(server: &TestServer, path: &str) -> Vec<Value> {
    let mut connection = V1::connect(server, path).await;
    assert_eq!(connection.hello["recovered"], true);
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.push(connection.receive().await);
    }
    messages
}

async fn by_events(server: &TestServer, path: &str) -> Vec<Value> {
    let events = server.events(path).await.until_events(3).await;
    events.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect()
}

async fn by_poll(server: &TestServer, path: &str) -> Vec<Value> {
    let mut page = server.get(path).await.json();
    assert_eq!(page.get("gap"), None);
    page["messages"].as_array_mut().unwrap().drain(..).collect()
}
