//! An authoriser that takes its time holds up what waits for its answer, and nothing else. The clock is paused.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http::header::{COOKIE, HOST};
use serde_json::{Value, json};
use sockeye_server::{Listen, Right, Server, ServerOptions};
use sockeye_testing::eventually_async;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::asking::{Program, frame};
use super::command;
use super::shop::{Mood, Shop};
use crate::client::send;

/// How long an answer takes on channels that are called slow.
const SLOW: Duration = Duration::from_secs(8);

fn takes(channel: &str) -> Duration {
    if channel.starts_with("slow") { SLOW } else { Duration::ZERO }
}

/// All rights on `open`, and on channels that are called slow.
fn shop() -> Shop {
    let channels = ["open", "slow", "slow-too"];
    let rights = [Right::Read, Right::Write, Right::Presence];
    Shop::new(channels.iter().flat_map(|channel| rights.map(|right| (*channel, right))))
}

/// The frame that answers the command with this id.
async fn answer(socket: &mut sockeye::WebSocket, id: u64) -> Value {
    loop {
        let next = frame(socket).await;
        if next["id"] == id {
            return next;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_decided_slowly_holds_up_no_message_of_another_channel() {
    let commands = [
        json!({"id": 7, "op": "sub", "ch": "slow"}),
        json!({"id": 7, "op": "sub", "ch": "slow", "presence": true}),
        json!({"id": 7, "op": "read", "ch": "slow"}),
        json!({"id": 7, "op": "who", "ch": "slow"}),
        json!({"id": 7, "op": "pub", "ch": "slow", "data": 1}),
    ];
    for of in commands {
        let program = Program::start(shop().takes(takes));
        let mut socket = program.open("/connect", Some("sockeye.v1")).await;
        assert!(
            command(&mut socket, json!({"id": 1, "op": "sub", "ch": "open"})).await["ok"]
                .is_object()
        );
        let asked = Instant::now();
        socket.send(of.to_string()).await.unwrap();
        socket.send(json!({"id": 8, "op": "ping"}).to_string()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        program.publish("open", "hello").await;
        let next = timeout(Duration::from_secs(1), frame(&mut socket)).await;
        let next = next.unwrap_or_else(|_| panic!("{of}: nothing comes"));
        assert_eq!((&next["ch"], &next["data"]), (&json!("open"), &json!("hello")), "{of}");
        // Commands are executed in their order all the same.
        let answers = [frame(&mut socket).await, frame(&mut socket).await];
        assert!(answers.iter().all(|answer| answer["ok"].is_object()), "{of}: {answers:?}");
        assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!(7), &json!(8)), "{of}");
        assert!(asked.elapsed() >= SLOW, "{of}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_decided_in_time_is_refused_once_and_the_session_goes_on() {
    let program = Program::start(shop().takes(|channel| takes(channel) * 2));
    let mut socket = program.open("/connect", Some("sockeye.v1")).await;
    let asked = Instant::now();
    let refused =
        command(&mut socket, json!({"id": 1, "op": "sub", "ch": "slow", "presence": true})).await;
    assert_eq!(refused["err"]["code"], "unavailable", "{refused}");
    assert_eq!(asked.elapsed().as_secs(), 10);
    let published =
        command(&mut socket, json!({"id": 2, "op": "pub", "ch": "slow", "data": 1})).await;
    assert_eq!(published["err"]["code"], "unavailable", "{published}");
    assert_eq!(asked.elapsed().as_secs(), 20);
    assert!(
        command(&mut socket, json!({"id": 3, "op": "sub", "ch": "open"})).await["ok"].is_object()
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_while_its_command_is_decided() {
    let program = Program::start(shop().takes(takes).sessions_good_for(Duration::from_secs(3)));
    let mut socket = program.open("/connect", Some("sockeye.v1")).await;
    let opened = Instant::now();
    let hello = frame(&mut socket).await;
    assert!(hello["hello"].is_object(), "{hello}");
    socket.send(json!({"id": 1, "op": "sub", "ch": "slow"}).to_string()).await.unwrap();
    assert!(timeout(SLOW, socket.recv()).await.expect("it closes").is_none());
    assert_eq!(opened.elapsed().as_secs(), 3);
    assert_eq!(socket.closed().unwrap().code(), 4401);
}

/// Each has 128 subscriptions, as many as a session may have.
#[tokio::test(start_paused = true)]
async fn a_fresh_session_asks_for_many_subscriptions_at_once_and_their_messages_come_meanwhile() {
    let names: Vec<_> = (0..128).map(|number| format!("c{number}")).collect();
    let rights = names.iter().map(|name| (name.clone(), Right::Read));
    let program = Program::start(Shop::new(rights).takes(|_| Duration::from_millis(500)));
    let mut socket = program.open("/connect", Some("sockeye.v1")).await;
    for name in &names {
        let subscribed = command(&mut socket, json!({"id": name, "op": "sub", "ch": name})).await;
        assert!(subscribed["ok"].is_object(), "{subscribed}");
    }
    program.shop.revoke("c127", Right::Read);
    let shown = Instant::now();
    socket.send(json!({"id": 1, "op": "auth", "token": "ann-token"}).to_string()).await.unwrap();
    socket.send(json!({"id": 2, "op": "ping"}).to_string()).await.unwrap();
    assert!(answer(&mut socket, 1).await["ok"].is_object());
    program.publish("c0", "hello").await;
    let next = frame(&mut socket).await;
    assert_eq!((&next["ch"], &next["data"]), (&json!("c0"), &json!("hello")), "{next}");
    assert!(shown.elapsed() < Duration::from_secs(1), "{:?}", shown.elapsed());
    // What is lost is said before the next command is answered.
    let lost = frame(&mut socket).await;
    assert_eq!(
        (&lost["ch"], &lost["err"]["code"]),
        (&json!("c127"), &json!("forbidden")),
        "{lost}"
    );
    assert!(answer(&mut socket, 2).await["ok"].is_object());
    assert!(shown.elapsed() <= Duration::from_secs(3), "{:?}", shown.elapsed());
    // What is still granted is asked for again like any other.
    sleep(Duration::from_mins(2)).await;
    program.shop.revoke("c0", Right::Read);
    let lost = frame(&mut socket).await;
    assert_eq!((&lost["ch"], &lost["err"]["code"]), (&json!("c0"), &json!("forbidden")), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn messages_in_bulk_are_decided_at_once_and_published_in_their_order() {
    let names: Vec<_> = (0..500).map(|number| format!("c{number}")).collect();
    let rights = names.iter().map(|name| (name.clone(), Right::Write));
    let shop = Shop::new(rights).takes(|channel| match channel {
        "c0" => Duration::from_millis(900),
        _ => Duration::from_millis(100),
    });
    let program = Program::start(shop);
    let line = |name: &String, data: u64| json!({"ch": name, "data": data}).to_string();
    let twice =
        names.iter().map(|name| line(name, 1)).chain(names.iter().map(|name| line(name, 2)));
    let mut lines: Vec<_> = twice.collect();
    lines[500] = json!({"ch": "shut", "data": 1}).to_string();
    for (kind, body) in [
        ("application/x-ndjson", lines.join("\n")),
        ("application/json", format!("[{}]", lines.join(","))),
    ] {
        let (asked, begun) = (program.shop.asked(), Instant::now());
        let (status, body) = program.post("/publish", kind, body).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["refused"]), (207, &json!(1)), "{kind}: {body}");
        let results = body["results"].as_array().unwrap();
        assert_eq!(results[500]["err"]["code"], "forbidden", "{kind}");
        let offset = |result: &Value| {
            result["at"].as_str().unwrap().rsplit_once('.').unwrap().1.parse::<u64>().unwrap()
        };
        for index in 1..500 {
            assert_eq!(
                offset(&results[index]) + 1,
                offset(&results[index + 500]),
                "{kind} {index}"
            );
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{kind}: {:?}", begun.elapsed());
        assert!(program.shop.asked() - asked <= 502, "each is asked for once");
    }
}

/// Receives for that time. How many messages came to each of them.
async fn receive_for(sockets: &mut [sockeye::WebSocket], time: Duration) -> Vec<usize> {
    let until = Instant::now() + time;
    let receiving = sockets.iter_mut().map(|socket| async move {
        let mut count = 0;
        while let Ok(next) = timeout_at(until, socket.recv()).await {
            next.unwrap_or_else(|| panic!("closed: {:?}", socket.closed())).unwrap();
            count += 1;
        }
        count
    });
    join_all(receiving).await
}

/// A plain WebSocket that a group serves has a task only now and then: the question whether it may still read goes on.
#[tokio::test(start_paused = true)]
async fn a_member_that_publishes_while_it_is_asked_for_stays() {
    let program = Program::start(shop().takes(takes).good_for(Duration::from_secs(40)));
    let mut sockets = join_all((0..20).map(|_| program.open("/c/slow", None))).await;
    // Its right to write is known from then on.
    sockets[0].send("one").await.unwrap();
    assert_eq!(receive_for(&mut sockets, Duration::from_secs(31)).await, [1; 20]);
    // Since a second ago it is asked whether they may read, for seven seconds more.
    let asked = program.shop.asked();
    sockets[0].send("two").await.unwrap();
    assert_eq!(receive_for(&mut sockets, Duration::from_secs(20)).await, [1; 20]);
    assert_eq!(program.shop.asked(), asked, "the question went on");
}

#[cfg(feature = "prometheus")]
#[tokio::test]
async fn questions_are_counted_for_operators() {
    let (shop, asked) = (shop(), 5);
    let mut options = ServerOptions::default();
    options.listen = vec![Listen::Tcp("127.0.0.1:0".to_owned())];
    options.admin = Some(Listen::Tcp("127.0.0.1:0".to_owned()));
    options.channels = options.channels.authorizer(shop.clone());
    let server = Server::bind(options).await.unwrap();
    let address = server.local_addrs()[0].tcp().unwrap();
    let admin = server.admin_addr().unwrap().tcp().unwrap();
    tokio::spawn(server.run());
    let get = |path: &str, host: SocketAddr| {
        let request = Request::builder().uri(path).header(HOST, host.to_string());
        send(host, request.header(COOKIE, "session=ann"), Bytes::new())
    };
    // Each is asked for its session, which the shop knows, and for the right to read.
    let counted = async |open: usize, failures: usize| {
        let expected = [
            format!("sockeye_authorizer_questions_open {open}"),
            format!("sockeye_authorizer_questions_total {}", 2 * asked),
            format!("sockeye_authorizer_failures_total {failures}"),
        ];
        eventually_async(format!("{expected:?}"), async || {
            let metrics = get("/metrics", admin).await;
            let lines = metrics.text().lines().filter(|line| line.contains("authorizer"));
            let lines: Vec<_> = lines.map(ToOwned::to_owned).collect();
            expected.iter().all(|line| lines.contains(line)).then_some(()).ok_or(lines)
        })
        .await;
    };
    shop.set(Mood::IsSilent);
    let asking = join_all((0..asked).map(|_| get("/c/open", address)));
    let failing = async {
        counted(asked, 0).await;
        shop.set(Mood::Fails);
    };
    let (answers, ()) = tokio::join!(asking, failing);
    assert!(answers.iter().all(|answer| answer.status == 503));
    counted(0, asked).await;
}
