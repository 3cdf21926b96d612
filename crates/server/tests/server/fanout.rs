//! Many plain WebSockets on one channel, which the server writes to by groups.

use std::sync::Arc;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use sockeye::{Client, DeflateConfig, WebSocket};
use sockeye_hub::{ChannelName, Publication};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{SOON, TestServer};

/// Enough for groups, also where the connections are spread over three nodes.
const MANY: usize = 60;

fn chat() -> ChannelName {
    "chat".parse().unwrap()
}

/// Connects that many; every third one with compression.
async fn connect(server: &TestServer, count: usize) -> Vec<WebSocket> {
    let connecting = (0..count).map(async |number| {
        let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
        let client = match number % 3 {
            0 => client.deflate(DeflateConfig::default()),
            _ => client.deflate(None),
        };
        timeout(SOON, client.connect()).await.expect("the server answers").unwrap()
    });
    join_all(connecting).await
}

/// The next message of each is this text.
async fn assert_all_receive(sockets: &mut [WebSocket], text: &str) {
    for socket in sockets {
        let message = timeout(SOON, socket.recv()).await.expect("a message comes");
        assert_eq!(message.expect("it is open").unwrap().as_text(), Some(text));
    }
}

/// The code with which the server closes, when it has sent nothing more.
async fn code(socket: &mut WebSocket) -> u16 {
    let message = timeout(SOON, socket.recv()).await.expect("the server closes");
    assert!(message.is_none(), "{message:?}");
    socket.closed().expect("it is closed").code()
}

/// A thousand, of which some stop reading while messages are published, and go on when all are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_get_all_in_order_and_once_however_they_read() {
    const MESSAGES: usize = 40;
    sockeye::internals::raise_limit();
    let server = TestServer::start().await;
    let (all_published, _) = watch::channel(false);
    let mut reading = JoinSet::new();
    for _ in 0..10 {
        for mut socket in connect(&server, 100).await {
            let number = reading.len();
            // Every seventh, each at another message.
            let stops_at = (number % 7 == 0).then_some(number / 7 % MESSAGES);
            let mut all_published = all_published.subscribe();
            reading.spawn(async move {
                for next in 0..MESSAGES {
                    if stops_at == Some(next) {
                        all_published.wait_for(|all| *all).await.unwrap();
                    }
                    let message = socket.recv().await.expect("it is open").unwrap();
                    let text = message.as_text().unwrap();
                    assert_eq!(text.split(' ').next(), Some(&*next.to_string()));
                }
            });
        }
    }
    // More than the system's buffers of a connection take.
    let padding = "x".repeat(8 << 10);
    for number in 0..MESSAGES {
        let text = format!("{number} {padding}");
        server.hub.publish(&chat(), Publication::text(&text)).await.unwrap();
    }
    all_published.send_replace(true);
    let all = async {
        while let Some(read) = reading.join_next().await {
            read.unwrap()
        }
    };
    timeout(SOON, all).await.expect("all get all");
}

#[tokio::test]
#[cfg(feature = "prometheus")]
async fn what_is_counted_is_what_each_got() {
    let server = TestServer::start().await;
    let mut sockets = connect(&server, MANY).await;
    for number in 0..5 {
        let text = format!("message {number}");
        server.publish("/c/chat", &text).await;
        assert_all_receive(&mut sockets, &text).await;
    }
    if server.is_cluster() {
        return;
    }
    let (messages, bytes) = (5 * MANY, 5 * MANY * "message 0".len());
    server.until_metric("sockeye_messages_sent_total{transport=\"ws\"}", messages as f64).await;
    server.until_metric("sockeye_sent_bytes_total{transport=\"ws\"}", bytes as f64).await;
    server.until_metric("sockeye_delivery_seconds_count", messages as f64).await;
    for connection in server.connections(MANY).await {
        let counted = (&connection["messages"], &connection["bytes"]);
        assert_eq!(counted, (&json!(5), &json!(45)), "{connection}");
        assert_eq!(connection["channels"][0]["lag"], 0, "{connection}");
    }
}

#[tokio::test]
async fn each_member_may_publish_and_gets_its_own_message_before_its_close() {
    let server = TestServer::start().await;
    let mut sockets = connect(&server, MANY).await;
    server.publish("/c/chat", "first").await;
    assert_all_receive(&mut sockets, "first").await;
    while let Some(mut leaving) = sockets.pop() {
        let text = format!("the last words of {}", sockets.len());
        leaving.send(&*text).await.unwrap();
        leaving.start_close(sockeye::CloseCode::NORMAL);
        assert_all_receive(std::slice::from_mut(&mut leaving), &text).await;
        assert_eq!(code(&mut leaving).await, 1000);
        assert_all_receive(&mut sockets, &text).await;
    }
}

#[tokio::test]
async fn members_stay_when_the_history_is_deleted_and_are_closed_where_messages_are_missing() {
    let server = TestServer::with(|options| options.channels.history_count = 3).await;
    if server.is_cluster() {
        return;
    }
    let mut sockets = connect(&server, MANY).await;
    server.publish("/c/chat", "before").await;
    assert_all_receive(&mut sockets, "before").await;
    assert_eq!(server.delete("/c/chat").await.status, StatusCode::NO_CONTENT);
    for text in ["after", "and after"] {
        server.publish("/c/chat", text).await;
        assert_all_receive(&mut sockets, text).await;
    }
    // At once, so that no task of the server runs in between: the first of them is dropped unread.
    for number in 0..4 {
        let text = number.to_string();
        let publishing = server.hub.publish(&chat(), Publication::text(&text));
        publishing.wait().unwrap();
    }
    for socket in &mut sockets {
        assert_eq!(code(socket).await, 4410);
    }
}

/// What comes after a deletion is either sent or missed, also where a reader is told of both at once.
#[tokio::test]
async fn messages_that_are_dropped_behind_a_deletion_are_missing() {
    // One is served by its own task, many by a group.
    for count in [1, MANY] {
        let server = TestServer::with(|options| options.channels.history_count = 3).await;
        if server.is_cluster() {
            return;
        }
        let mut sockets = connect(&server, count).await;
        server.publish("/c/chat", "before").await;
        assert_all_receive(&mut sockets, "before").await;
        // At once, so that no task of the server runs in between: as many as are kept, then one more.
        let delete_and_publish = |messages: u32| {
            server.hub.forget(&chat()).wait().unwrap();
            for number in 0..messages {
                let text = number.to_string();
                server.hub.publish(&chat(), Publication::text(&text)).wait().unwrap();
            }
        };
        delete_and_publish(3);
        for text in ["0", "1", "2"] {
            assert_all_receive(&mut sockets, text).await;
        }
        delete_and_publish(4);
        for socket in &mut sockets {
            assert_eq!(code(socket).await, 4410);
        }
    }
}

#[tokio::test]
async fn the_end_of_the_channel_closes_all_members_behind_the_last_message() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut sockets = connect(&server, MANY).await;
    server.publish("/c/chat", "first").await;
    assert_all_receive(&mut sockets, "first").await;
    server.hub.publish(&chat(), Publication::text("last")).wait().unwrap();
    server.hub.end(&chat(), "").wait().unwrap();
    assert_all_receive(&mut sockets, "last").await;
    for socket in &mut sockets {
        assert_eq!(code(socket).await, 1000);
    }
}

#[tokio::test]
async fn members_are_closed_with_1012_when_the_server_stops() {
    let server = TestServer::start().await;
    let mut sockets = connect(&server, MANY).await;
    server.publish("/c/chat", "first").await;
    assert_all_receive(&mut sockets, "first").await;
    let running = server.begin_to_stop();
    let closing: Vec<_> = sockets.iter_mut().map(code).collect();
    assert!(join_all(closing).await.iter().all(|code| *code == 1012));
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
}

/// One that does not read at all holds no other up, and is closed when the history does not reach back to it.
#[tokio::test]
async fn a_member_that_does_not_read_holds_no_other_up() {
    let server = TestServer::with(|options| options.channels.history_count = 10).await;
    let mut sockets = connect(&server, MANY).await;
    let mut deaf = sockets.pop().unwrap();
    let padding = Arc::<str>::from("x".repeat(60 << 10));
    for number in 0..100 {
        let text = format!("{number} {padding}");
        server.hub.publish(&chat(), Publication::text(&text)).await.unwrap();
        assert_all_receive(&mut sockets, &text).await;
    }
    let mut next = 0;
    let end = async {
        while let Some(message) = deaf.recv().await {
            let text = message.unwrap();
            assert!(text.as_text().unwrap().starts_with(&format!("{next} ")));
            next += 1;
        }
    };
    timeout(SOON, end).await.expect("the server closes");
    assert_eq!(deaf.closed().unwrap().code(), 4410, "after {next}");
}
