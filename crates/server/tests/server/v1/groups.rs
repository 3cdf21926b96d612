//! Many connections on the same channels, to which the server writes by groups.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::future::join_all;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use sockeye::tls::{ClientTls, ServerTls};
use sockeye::{Client, DeflateConfig, WebSocket};
use sockeye_hub::{ChannelName, Hub, Publication};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{V1, error_code};
use crate::auth::{self, HEADER, LIFETIME, now, sign, token, token_until, wait_until};
use crate::client::{SOON, TestServer, send};

/// Enough for groups, also where the connections are spread over three nodes.
const MANY: usize = 60;

const CHANNELS: [&str; 3] = ["a", "b", "c"];

fn name(channel: &str) -> ChannelName {
    channel.parse().unwrap()
}

async fn publish(hub: &Hub, channel: &str, text: &str) {
    hub.publish(&name(channel), Publication::text(text)).await.unwrap();
}

/// Connects by the road of this number: with compression or not, some over HTTP/2.
async fn connect(server: &TestServer, number: usize) -> V1 {
    let client = Client::new(format!("ws://{}/connect", server.address)).unwrap();
    let client = match number % 3 {
        0 => client.deflate(DeflateConfig::default()),
        _ => client.deflate(None),
    };
    if !number.is_multiple_of(10) {
        return V1::with(client).await;
    }
    let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
    let opened = connection.open(client.subprotocol("sockeye.v1")).await.unwrap();
    let mut v1 = V1 { socket: opened.socket, hello: Value::Null };
    v1.hello = v1.receive().await["hello"].take();
    v1
}

/// Connects that many, each subscribed to all these channels.
async fn connect_all(server: &TestServer, count: usize, channels: &[&str]) -> Vec<V1> {
    let connecting = (0..count).map(async |number| {
        let mut connection = connect(server, number).await;
        for channel in channels {
            connection.subscribe(channel).await;
        }
        connection
    });
    join_all(connecting).await
}

/// The next frame of each is a message of that channel with this text.
async fn assert_all_receive(connections: &mut [V1], channel: &str, text: &str) {
    for connection in connections {
        assert_eq!(connection.data(channel).await, text);
    }
}

/// The number with which a text begins.
fn number(data: &Value) -> usize {
    data.as_str().unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Reads that many messages: those of each channel have the numbers from 0 on. Before the one of that number it waits
/// until all are published.
async fn read_all(mut connection: V1, count: usize, stop: Option<(usize, watch::Receiver<bool>)>) {
    let mut next: HashMap<String, usize> = HashMap::new();
    let (stops_at, mut all_published) = stop.unzip();
    for read in 0..count {
        if stops_at == Some(read) {
            all_published.as_mut().unwrap().wait_for(|all| *all).await.unwrap();
        }
        let message = connection.receive().await;
        let next = next.entry(message["ch"].as_str().unwrap().to_owned()).or_default();
        assert_eq!(number(&message["data"]), *next, "{}", message["ch"]);
        *next += 1;
    }
}

/// Some stop reading while messages are published on all channels, and go on when all are.
async fn publish_to(hub: &Hub, connections: Vec<V1>) {
    const MESSAGES: usize = 30;
    let (all_published, _) = watch::channel(false);
    let mut reading = JoinSet::new();
    for (index, connection) in connections.into_iter().enumerate() {
        let count = MESSAGES * CHANNELS.len();
        // Every seventh, each at another message.
        let stops = index.is_multiple_of(7);
        let stop = stops.then(|| (index / 7 % count, all_published.subscribe()));
        reading.spawn(read_all(connection, count, stop));
    }
    // More than the system's buffers of a connection take.
    let padding = "x".repeat(16 << 10);
    for message in 0..MESSAGES {
        for channel in CHANNELS {
            publish(hub, channel, &format!("{message} {padding}")).await;
        }
    }
    all_published.send_replace(true);
    while let Some(read) = reading.join_next().await {
        read.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_get_all_of_each_channel_in_order_and_once_however_they_read() {
    let server = TestServer::start().await;
    let connections = connect_all(&server, 2 * MANY, &CHANNELS).await;
    publish_to(&server.hub, connections).await;
}

#[tokio::test]
async fn the_same_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = TestServer::with(|options| options.tls = Some(tls)).await;
    if server.is_cluster() {
        return;
    }
    let trusted = ClientTls::new().without_system_roots().root_pem(certificate.as_bytes()).unwrap();
    let mut connections = Vec::new();
    for _ in 0..20 {
        let url = format!("wss://localhost:{}/connect", server.address.port());
        let mut connection = V1::with(Client::new(url).unwrap().tls(trusted.clone())).await;
        for channel in CHANNELS {
            connection.subscribe(channel).await;
        }
        connections.push(connection);
    }
    publish_to(&server.hub, connections).await;
}

#[tokio::test]
async fn plain_websockets_on_the_channel_get_the_same() {
    let server = TestServer::start().await;
    let mut connections = connect_all(&server, MANY, &CHANNELS).await;
    let plain = (0..MANY).map(async |_| {
        Client::new(format!("ws://{}/c/a", server.address)).unwrap().connect().await.unwrap()
    });
    let mut plain: Vec<WebSocket> = join_all(plain).await;
    for round in 0..3 {
        for channel in CHANNELS {
            let text = format!("{channel} {round}");
            server.publish(&format!("/c/{channel}"), &text).await;
            assert_all_receive(&mut connections, channel, &text).await;
            for socket in plain.iter_mut().filter(|_| channel == "a") {
                let message = timeout(SOON, socket.recv()).await.expect("a message comes");
                assert_eq!(message.expect("it is open").unwrap().as_text(), Some(&*text));
            }
        }
    }
}

#[tokio::test]
#[cfg(feature = "prometheus")]
async fn what_is_counted_is_what_each_got() {
    let server = TestServer::start().await;
    let mut connections = connect_all(&server, MANY, &CHANNELS).await;
    for number in 0..5 {
        let text = format!("message {number}");
        for channel in CHANNELS {
            server.publish(&format!("/c/{channel}"), &text).await;
            assert_all_receive(&mut connections, channel, &text).await;
        }
    }
    if server.is_cluster() {
        return;
    }
    let (messages, bytes) = (15 * MANY, 15 * MANY * "message 0".len());
    server.until_metric("sockeye_messages_sent_total{transport=\"v1\"}", messages as f64).await;
    server.until_metric("sockeye_sent_bytes_total{transport=\"v1\"}", bytes as f64).await;
    server.until_metric("sockeye_delivery_seconds_count", messages as f64).await;
    for connection in server.connections(MANY).await {
        let counted = (&connection["messages"], &connection["bytes"]);
        assert_eq!(counted, (&json!(15), &json!(135)), "{connection}");
        for channel in connection["channels"].as_array().unwrap() {
            assert_eq!(channel["lag"], 0, "{connection}");
        }
    }
}

/// One that does not read at all holds no other up, is told a gap, and goes on behind it.
#[tokio::test]
async fn a_member_that_does_not_read_holds_no_other_up_and_is_told_what_it_missed() {
    let server = TestServer::with(|options| options.channels.history_count = 10).await;
    if server.is_cluster() {
        return;
    }
    let mut connections = connect_all(&server, 18, &["a", "b"]).await;
    let mut deaf = connections.pop().unwrap();
    let padding = "x".repeat(60 << 10);
    for number in 0..100 {
        for channel in ["a", "b"] {
            publish(&server.hub, channel, &format!("{number} {padding}")).await;
            let (begins, data) =
                (format!(r#"{{"ch":"{channel}","#), format!(r#""data":"{number} x"#));
            for connection in &mut connections {
                let text = connection.receive_text().await;
                assert!(text.starts_with(&begins) && text.contains(&data), "{}", &text[..100]);
            }
        }
    }
    let mut next = HashMap::from([("a".to_owned(), 0), ("b".to_owned(), 0)]);
    let mut gaps = 0;
    while next.values().any(|next| *next < 100) {
        let frame = deaf.receive().await;
        let next = next.get_mut(frame["ch"].as_str().unwrap()).unwrap();
        if frame["gap"].is_null() {
            assert_eq!(number(&frame["data"]), *next, "{frame}");
            *next += 1;
        } else {
            assert_eq!(frame["gap"]["why"], "slow");
            // Only what is not kept any more is missing.
            *next = 90;
            gaps += 1;
        }
    }
    assert_eq!(gaps, 2, "one on each channel");
    connections.push(deaf);
    for channel in ["b", "a"] {
        publish(&server.hub, channel, "100").await;
        assert_all_receive(&mut connections, channel, "100").await;
    }
}

/// Behind the answer to `sub` comes the message behind the position that it tells, and after the answer to `unsub`
/// none, on whatever thread the group writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subscriptions_begin_and_end_exactly_while_messages_flow() {
    let server = TestServer::start().await;
    let mut others = Vec::new();
    for mut other in connect_all(&server, 3 * 17, &CHANNELS).await {
        others.push(tokio::spawn(async move { while other.socket.recv().await.is_some() {} }));
    }
    let stop = Arc::new(AtomicBool::new(false));
    // It publishes no faster than one of them reads.
    let mut pacer = V1::connect(&server, "/connect").await;
    for channel in CHANNELS {
        pacer.subscribe(channel).await;
    }
    let publishing = {
        let (hub, stop) = (server.hub.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Relaxed) {
                for channel in CHANNELS {
                    publish(&hub, channel, &format!("{number} of {channel}")).await;
                }
                for _ in CHANNELS {
                    pacer.receive().await;
                }
                number += 1;
            }
        })
    };
    let mut subscribing = JoinSet::new();
    for _ in 0..4 {
        let mut connection = V1::connect(&server, "/connect").await;
        subscribing.spawn(async move {
            for round in 0..60 {
                subscribe_and_unsubscribe(&mut connection, CHANNELS[round % 3], round).await;
            }
        });
    }
    while let Some(done) = subscribing.join_next().await {
        done.unwrap();
    }
    stop.store(true, Relaxed);
    publishing.await.unwrap();
    others.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Reads some messages between the two answers.
async fn subscribe_and_unsubscribe(connection: &mut V1, channel: &str, round: usize) {
    connection.subscribe(channel).await;
    let first = connection.data(channel).await;
    for next in 1..=round % 7 {
        assert_eq!(number(&connection.data(channel).await), number(&first) + next);
    }
    connection.send(json!({"id": "end", "op": "unsub", "ch": channel})).await;
    let mut next = number(&first) + round % 7 + 1;
    loop {
        let frame = connection.receive().await;
        if frame["id"] == "end" {
            break;
        }
        assert_eq!((&frame["ch"], number(&frame["data"])), (&json!(channel), next));
        next += 1;
    }
    connection.assert_silent().await;
}

/// The answer to a publication comes before the message itself, as where no group writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_publisher_gets_its_answer_before_its_own_message() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let connections = connect_all(&server, MANY, &["a", "b"]).await;
    let mut publishing = JoinSet::new();
    for (index, mut connection) in connections.into_iter().enumerate() {
        publishing.spawn(async move {
            let mut messages = 0;
            for round in 0..10 {
                let channel = CHANNELS[(index + round) % 2];
                let data = format!("{index} {round}");
                let publish = json!({"id": round, "op": "pub", "ch": channel, "data": data});
                connection.send(publish).await;
                loop {
                    let frame = connection.receive().await;
                    if frame["id"] == round {
                        assert!(frame["ok"]["at"].is_string(), "{frame}");
                        break;
                    }
                    assert_ne!(frame["data"], data, "its answer is first");
                    messages += 1;
                }
            }
            while messages < MANY * 10 {
                assert!(connection.receive().await["data"].is_string());
                messages += 1;
            }
        });
    }
    while let Some(done) = publishing.join_next().await {
        done.unwrap();
    }
}

/// One that watches who is present is told of a member before the messages of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_join_comes_before_the_messages_of_the_member() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut connections = Vec::new();
    for _ in 0..MANY {
        let mut connection = V1::connect(&server, "/connect").await;
        connection.done(json!({"op": "sub", "ch": "chat", "presence": true})).await;
        connections.push(connection);
    }
    for round in 0..10 {
        let member = format!("member-{round}");
        let mut bob = V1::connect(&server, &format!("/c/chat?as={member}")).await;
        publish(&server.hub, "chat", &member).await;
        assert_eq!(bob.data("chat").await, *member);
        for connection in &mut connections {
            let join = connection.receive().await;
            assert_eq!(join["join"]["id"], *member, "{join}");
            assert_eq!(connection.data("chat").await, *member);
        }
        drop(bob);
        for connection in &mut connections {
            assert_eq!(connection.receive().await["leave"]["id"], *member);
        }
    }
}

#[tokio::test]
async fn a_deleted_history_and_the_end_of_a_channel_are_told_to_each_and_the_others_go_on() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut connections = connect_all(&server, MANY, &["a", "b"]).await;
    server.publish("/c/a", "before").await;
    assert_all_receive(&mut connections, "a", "before").await;
    assert_eq!(server.delete("/c/a").await.status, StatusCode::NO_CONTENT);
    for connection in &mut connections {
        let gap = connection.receive().await;
        assert_eq!((&gap["ch"], &gap["gap"]["why"]), (&json!("a"), &json!("reset")));
    }
    for text in ["after", "and after"] {
        server.publish("/c/a", text).await;
        assert_all_receive(&mut connections, "a", text).await;
    }
    server.hub.publish(&name("a"), Publication::text("last")).wait().unwrap();
    server.hub.end(&name("a"), "").wait().unwrap();
    assert_all_receive(&mut connections, "a", "last").await;
    for connection in &mut connections {
        let end = connection.receive().await;
        assert_eq!((&end["ch"], &end["end"]), (&json!("a"), &json!(true)));
    }
    server.publish("/c/b", "on").await;
    assert_all_receive(&mut connections, "b", "on").await;
}

/// What was published before a client's Close comes before the answer to it, on all its channels.
#[tokio::test]
async fn a_member_that_closes_gets_what_was_published_before() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut connections = connect_all(&server, 20, &CHANNELS).await;
    server.publish("/c/a", "first").await;
    assert_all_receive(&mut connections, "a", "first").await;
    while let Some(mut leaving) = connections.pop() {
        for channel in CHANNELS {
            leaving.send(json!({"op": "pub", "ch": channel, "data": "last words"})).await;
        }
        leaving.socket.start_close(sockeye::CloseCode::NORMAL);
        let mut frames = Vec::new();
        while let Some(Ok(frame)) = timeout(SOON, leaving.socket.recv()).await.expect("it ends") {
            frames.push(serde_json::from_str::<Value>(frame.as_text().unwrap()).unwrap());
        }
        let count = |is: fn(&Value) -> bool| frames.iter().filter(|frame| is(frame)).count();
        assert_eq!(count(|frame| frame["ok"].is_object()), 3, "{frames:?}");
        assert_eq!(count(|frame| frame["data"] == "last words"), 3, "{frames:?}");
        assert_eq!(leaving.socket.closed().unwrap().code(), 1000);
        for channel in CHANNELS {
            assert_all_receive(&mut connections, channel, "last words").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_behind_the_bye_of_a_server_that_stops() {
    let server = TestServer::start().await;
    let connections = connect_all(&server, MANY, &CHANNELS).await;
    let hub = server.hub.clone();
    let stopped = Arc::new(AtomicBool::new(false));
    let publishing = {
        let stopped = Arc::clone(&stopped);
        tokio::spawn(async move {
            while !stopped.load(Relaxed) {
                for channel in CHANNELS {
                    let _ = hub.publish(&name(channel), Publication::text("news")).await;
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let running = server.begin_to_stop();
    let ending = connections.into_iter().map(async |mut connection| {
        let (frames, code) = connection.end().await;
        assert_eq!((code, &frames.last().unwrap()["bye"]["why"]), (1012, &json!("drain")));
    });
    join_all(ending).await;
    stopped.store(true, Relaxed);
    publishing.await.unwrap();
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
}

/// Connections with tokens, each subscribed to the channels.
async fn authenticated(server: &TestServer, tokens: &[String], channels: &[&str]) -> Vec<V1> {
    let mut connections = Vec::new();
    for token in tokens {
        let mut connection = V1::connect(server, "/connect").await;
        connection.done(json!({"op": "auth", "token": token})).await;
        for channel in channels {
            connection.subscribe(channel).await;
        }
        connections.push(connection);
    }
    connections
}

const BOTH: &str = r#"{"a":["read"],"b":["read"]}"#;

#[tokio::test]
async fn a_token_that_ends_takes_its_connection_alone_and_one_that_is_renewed_goes_on() {
    let server = auth::server().await;
    let tokens = vec![token(BOTH); MANY];
    let mut connections = authenticated(&server, &tokens, &["a", "b"]).await;
    publish(&server.hub, "a", "before").await;
    assert_all_receive(&mut connections, "a", "before").await;
    // Not before all are there, which takes its time on a busy machine.
    let until = now() + 2.0 * LIFETIME;
    for connection in &mut connections[..2] {
        connection.done(json!({"op": "auth", "token": token_until(until, BOTH)})).await;
    }
    connections[1].done(json!({"op": "auth", "token": token(BOTH)})).await;
    wait_until(until + 0.1).await;
    let mut ended = connections.remove(0);
    let (frames, code) = ended.end().await;
    assert_eq!((frames.len(), code), (0, 4401));
    for channel in ["a", "b"] {
        publish(&server.hub, channel, "after").await;
        assert_all_receive(&mut connections, channel, "after").await;
    }
}

#[tokio::test]
async fn what_a_new_token_does_not_grant_ends_and_the_rest_goes_on() {
    let server = auth::server().await;
    let tokens = vec![token(BOTH); MANY];
    let mut connections = authenticated(&server, &tokens, &["a", "b"]).await;
    publish(&server.hub, "a", "before").await;
    assert_all_receive(&mut connections, "a", "before").await;
    let less = token(r#"{"b":["read"]}"#);
    connections[0].send(json!({"op": "auth", "token": less})).await;
    let mut frames = [connections[0].receive().await, connections[0].receive().await];
    frames.sort_by_key(|frame| frame["ok"].is_object());
    assert_eq!((&frames[0]["ch"], error_code(&frames[0]).as_str()), (&json!("a"), "forbidden"));
    publish(&server.hub, "a", "secret").await;
    assert_all_receive(&mut connections[1..], "a", "secret").await;
    publish(&server.hub, "b", "for all").await;
    assert_all_receive(&mut connections, "b", "for all").await;
}

#[tokio::test]
async fn a_token_that_is_revoked_takes_its_connection_alone() {
    let server = auth::server().await;
    if server.is_cluster() {
        return;
    }
    let token = |jti: usize| {
        let exp = now() + 3600.0;
        sign(HEADER, format!(r#"{{"sub":"ann","jti":"{jti}","exp":{exp},"channels":{BOTH}}}"#))
    };
    let tokens: Vec<_> = (0..MANY).map(token).collect();
    let mut connections = authenticated(&server, &tokens, &["a", "b"]).await;
    publish(&server.hub, "a", "before").await;
    assert_all_receive(&mut connections, "a", "before").await;
    let request = Request::builder().method(Method::POST).uri("/revoke");
    let request = request.header(header::HOST, server.admin().to_string());
    let revoked = send(server.admin(), request, json!({"jti": "7"}).to_string().into()).await;
    assert_eq!(revoked.json()["revoked"], 1);
    publish(&server.hub, "a", "after").await;
    let mut ended = connections.remove(7);
    let (frames, code) = ended.end().await;
    // It is told by its own task, which a message may outrun.
    assert!(frames.iter().all(|frame| frame["data"] == "after"), "{frames:?}");
    assert_eq!(code, 4401);
    assert_all_receive(&mut connections, "a", "after").await;
    // Messages of two channels have no order.
    publish(&server.hub, "b", "after").await;
    assert_all_receive(&mut connections, "b", "after").await;
}
