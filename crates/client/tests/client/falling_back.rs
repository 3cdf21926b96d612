//! From one transport to another, and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use sockeye_client::{Client, Status, Transport};
use sockeye_server::ChannelOptions;

use crate::common::{Between, Treatment, client, live, next, serve, text};

#[tokio::test]
async fn where_a_transport_is_blocked_held_back_or_cut_the_next_one_reads() {
    let server = serve(ChannelOptions::default()).await;
    let publisher = Client::new(format!("http://{server}")).unwrap();
    publisher.publish("chat", "hello").await.unwrap();
    let obstacles: [(&'static [&'static str], Transport); 3] = [
        (&["upgrade: websocket"], Transport::Sse),
        (&["upgrade: websocket", "text/event-stream"], Transport::LongPoll),
        (&["upgrade: websocket", "text/event-stream", "wait="], Transport::Poll),
    ];
    let ways = [Treatment::Refuse, Treatment::AskForPassword, Treatment::Hold, Treatment::Cut];
    for how in ways {
        for (blocked, expected) in obstacles {
            // Each connection is judged by its first request, and a long poll's first does not wait.
            if expected == Transport::Poll {
                continue;
            }
            let verdict = move |head: &str| match blocked.iter().any(|sign| head.contains(sign)) {
                true => how,
                false => Treatment::Pass,
            };
            let between = Between::before(server, verdict).await;
            let (client, mut statuses) = client(&between.url(), &Transport::DEFAULT, |builder| {
                builder.connect_timeout(Duration::from_millis(500))
            });
            let mut chat = client.subscribe("chat").after("-1");
            assert_eq!(text(&mut chat).await, "hello", "{how:?}");
            assert_eq!(live(&mut statuses).await, expected, "{how:?}");
            publisher.publish("chat", "hello").await.unwrap();
            assert_eq!(text(&mut chat).await, "hello", "{how:?}");
        }
    }
}

#[tokio::test]
async fn a_better_transport_takes_over_once_it_gets_through() {
    let server = serve(ChannelOptions::default()).await;
    let is_blocked = Arc::new(AtomicBool::new(true));
    let blocks = Arc::clone(&is_blocked);
    let between = Between::before(server, move |head| {
        match head.contains("upgrade: websocket") && blocks.load(SeqCst) {
            true => Treatment::Refuse,
            false => Treatment::Pass,
        }
    })
    .await;
    let transports = [Transport::V1, Transport::Poll];
    let (client, mut statuses) = client(&between.url(), &transports, |builder| builder);
    let mut chat = client.subscribe("chat");
    chat.ready().await.unwrap();
    assert_eq!(live(&mut statuses).await, Transport::Poll);
    client.publish("chat", "by polls").await.unwrap();
    assert_eq!(text(&mut chat).await, "by polls");
    is_blocked.store(false, SeqCst);
    // It is left alone for a minute at most.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    // The polls may have seen that the time has jumped.
    while live(&mut statuses).await != Transport::V1 {}
    client.publish("chat", "by the WebSocket").await.unwrap();
    assert_eq!(text(&mut chat).await, "by the WebSocket");
    assert_eq!(between.count("get /connect"), 2);
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_the_application_told() {
    let server = serve(ChannelOptions::default()).await;
    let between = Between::before("127.0.0.1:9".parse().unwrap(), |_| Treatment::Pass).await;
    let (client, mut statuses) = client(&between.url(), &Transport::DEFAULT, |builder| builder);
    let mut chat = client.subscribe("chat").after("earliest");
    let begins = tokio::spawn(async move {
        let first = next(&mut chat).await;
        (first, chat)
    });
    loop {
        match statuses.recv().await.expect("the client lives") {
            Status::Waiting { error, .. } => {
                assert!(error.to_string().contains(&between.url()), "{error}");
                break;
            }
            Status::Live { transport } => panic!("{transport} cannot work"),
            _ => {}
        }
    }
    between.lead_to(server);
    client.publish("chat", "at last").await.unwrap();
    let (first, _chat) = begins.await.unwrap();
    assert_eq!(first.unwrap().message().unwrap().text().as_deref(), Some("at last"));
}

#[tokio::test]
async fn a_stream_that_is_cut_again_and_again_gives_way_to_polls() {
    let server = serve(ChannelOptions::default()).await;
    let between = Between::before(server, |head| match head.contains("text/event-stream") {
        true => Treatment::CutOpen,
        false => Treatment::Pass,
    })
    .await;
    let transports = [Transport::Sse, Transport::LongPoll];
    let (client, mut statuses) = client(&between.url(), &transports, |builder| builder);
    let mut chat = client.subscribe("chat");
    chat.ready().await.unwrap();
    assert_eq!(live(&mut statuses).await, Transport::Sse);
    assert_eq!(live(&mut statuses).await, Transport::LongPoll);
    client.publish("chat", "by polls").await.unwrap();
    assert_eq!(text(&mut chat).await, "by polls");
}

/// A gateway that checks tokens itself may have another clock: the token is asked for once more, and then it is the transport.
#[tokio::test]
async fn a_refusal_that_is_not_the_servers_ends_no_subscription_with_a_token_either() {
    let server = serve(ChannelOptions::default()).await;
    let between = Between::before(server, |head| match head.contains("upgrade: websocket") {
        true => Treatment::AskForPassword,
        false => Treatment::Pass,
    })
    .await;
    let (client, mut statuses) = client(&between.url(), &Transport::DEFAULT, |builder| {
        builder.token_with(|| async { Ok::<_, String>(other_token()) })
    });
    let mut chat = client.subscribe("chat");
    chat.ready().await.unwrap();
    assert_eq!(live(&mut statuses).await, Transport::Sse);
    assert_eq!(between.count("get /connect"), 2);
}

/// Another token each time.
fn other_token() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("token-{}", NUMBER.fetch_add(1, SeqCst))
}
