//! Rules for some channels are in force on every transport, with every authoriser.

use std::time::Duration;

use sockeye_hub::backplane::fake::{Bounds, Engine};
use sockeye_server::{ChannelOptions, ChannelRule, Policy, Publication, Server, ServerOptions};

use super::shop::Shop;
use super::{
    CLAIM, Channels, Client, Decides, Http, Message, Method, Right, SOON, Served, TestServer, Use,
    command, in_each_way_with, json, timeout, token, uses,
};
use crate::v1::V1;

fn rule(pattern: &str) -> ChannelRule {
    ChannelRule::new(pattern.parse().unwrap())
}

/// The frame of a refusal on a plain WebSocket: its code.
async fn closed(socket: &mut sockeye::WebSocket) -> u16 {
    while timeout(SOON, socket.recv()).await.unwrap().is_some_and(|frame| frame.is_ok()) {}
    let closed = socket.closed().unwrap();
    closed.received.frame().map_or(0, |frame| frame.code().into())
}

#[tokio::test]
async fn on_a_channel_without_publishing_and_presence_no_client_has_them() {
    let rules = [rule("open").publish(false).presence(false), rule("open").publish(true)];
    in_each_way_with(&rules, async |served, decides| {
        let good = decides.credentials();
        for of in uses() {
            let Use { method, path, right, .. } = &of;
            let what = format!("{decides:?} {:?} {method} {path}", served.http);
            let (status, body) = served.ask(&of, "open", Some(&good)).await;
            match (right, of.alone) {
                (Right::Read, _) => assert_eq!(status, of.granted, "{what}: {body}"),
                (_, true) => {
                    assert_eq!(status, 207, "{what}: {body}");
                    assert!(body.contains(r#""code":"forbidden""#), "{what}: {body}");
                }
                _ => assert_eq!(status, 403, "{what}: {body}"),
            }
        }
        let end = Use { path: "/c/{}?close=1", body: "", ..uses().remove(18) };
        assert_eq!(served.ask(&end, "open", Some(&good)).await.0, 403, "{decides:?}");
        let mut socket = served.open("/c/open", None, Some(&good)).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(closed(&mut socket).await, 4403, "{decides:?}");
        for path in ["/connect", "/c/open"] {
            let mut v1 = served.open(path, Some("sockeye.v1"), Some(&good)).await.unwrap();
            for refused in [
                json!({"id": 1, "op": "pub", "ch": "open", "data": 1}),
                json!({"id": 2, "op": "close", "ch": "open"}),
                json!({"id": 3, "op": "who", "ch": "open"}),
                json!({"id": 4, "op": "sub", "ch": "open", "presence": true}),
            ] {
                let answer = command(&mut v1, refused).await;
                assert_eq!(answer["err"]["code"], "forbidden", "{decides:?} {path}: {answer}");
            }
        }
    })
    .await;
}

/// What an operator wants who lets the application's backend publish, and no client.
#[tokio::test]
async fn on_a_channel_with_a_publisher_that_one_alone_publishes() {
    let rules = [rule("open").publisher("ann"), rule("news").publisher("bob")];
    in_each_way_with(&rules, async |served, decides| {
        let good = decides.credentials();
        for of in uses() {
            let Use { method, path, right, .. } = &of;
            let what = format!("{decides:?} {:?} {method} {path}", served.http);
            let (status, body) = served.ask(&of, "open", Some(&good)).await;
            assert_eq!(status, of.granted, "{what}: {body}");
            let (status, body) = served.ask(&of, "open", None).await;
            assert_eq!(status, 401, "{what}: {body}");
            // Of `news` only reading is granted, and refused to none for the rule's sake.
            let (status, body) = served.ask(&of, "news", Some(&good)).await;
            match right {
                Right::Read => assert_eq!(status, of.granted, "{what}: {body}"),
                Right::Write if of.alone => assert_eq!(status, 207, "{what}: {body}"),
                _ => assert_eq!(status, 403, "{what}: {body}"),
            }
        }
        let mut socket = served.open("/c/open", None, Some(&good)).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(
            timeout(SOON, socket.recv()).await.unwrap().unwrap().unwrap().as_text(),
            Some("hello")
        );
        let mut v1 = served.open("/connect", Some("sockeye.v1"), Some(&good)).await.unwrap();
        let published =
            command(&mut v1, json!({"id": 1, "op": "pub", "ch": "open", "data": 1})).await;
        assert!(published["ok"]["at"].is_string(), "{decides:?}: {published}");
    })
    .await;
    let rules = [rule("open").publisher("bob")];
    in_each_way_with(&rules, async |served, decides| {
        let good = decides.credentials();
        for of in uses().into_iter().filter(|of| matches!(of.right, Right::Write)) {
            let (status, body) = served.ask(&of, "open", Some(&good)).await;
            let expected = if of.alone { 207 } else { 403 };
            assert_eq!(status, expected, "{decides:?} {} {}: {body}", of.method, of.path);
            assert!(body.contains("Another publisher"), "{decides:?}: {body}");
        }
        let mut socket = served.open("/c/open", None, Some(&good)).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(closed(&mut socket).await, 4403, "{decides:?}");
        for path in ["/connect", "/c/open"] {
            let mut v1 = served.open(path, Some("sockeye.v1"), Some(&good)).await.unwrap();
            for refused in [
                json!({"id": 1, "op": "pub", "ch": "open", "data": 1}),
                json!({"id": 2, "op": "close", "ch": "open"}),
            ] {
                let answer = command(&mut v1, refused).await;
                assert_eq!(answer["err"]["code"], "forbidden", "{decides:?} {path}: {answer}");
            }
        }
    })
    .await;
}

/// Where nothing is verified, a name proves nothing.
#[tokio::test]
async fn a_name_that_a_client_gives_itself_is_no_publishers() {
    let server =
        TestServer::with(|options| options.channels.channel = vec![rule("s1").publisher("api")])
            .await;
    server.post("/c/s1?as=api", "text/plain", "a").await.assert_problem(403, "forbidden");
    server.delete("/c/s1?as=api").await.assert_problem(403, "forbidden");
    let mut v1 = V1::connect(&server, "/connect?as=api").await;
    let answer = v1.ask(json!({"op": "pub", "ch": "s1", "data": 1})).await;
    assert_eq!(answer["err"]["code"], "forbidden", "{answer}");
}

#[tokio::test]
async fn without_tokens_too_no_client_publishes_where_a_rule_says_so() {
    let server =
        TestServer::with(|options| options.channels.channel = vec![rule("s1").publish(false)])
            .await;
    server.post("/c/s1", "text/plain", "a").await.assert_problem(403, "forbidden");
    server.delete("/c/s1").await.assert_problem(403, "forbidden");
    server.publish("/c/s2", "a").await;
    // The program itself may.
    let s1 = "s1".parse().unwrap();
    server.hub.publish(&s1, Publication::text("b")).await.unwrap();
    assert_eq!(server.get("/c/s1").await.json()["messages"][0]["data"], "b");
}

#[tokio::test]
async fn all_read_a_public_channel_and_do_nothing_else_with_it() {
    let rules = [rule("shut").anonymous_read(true), rule("also").anonymous_read(true)];
    in_each_way_with(&rules, async |served, decides| {
        let (good, bad) = (decides.credentials(), decides.bad_credentials());
        for of in uses() {
            let Use { method, path, right, .. } = &of;
            for (credentials, otherwise) in [(None, 401), (Some(&good), 403), (Some(&bad), 401)] {
                let what = format!("{decides:?} {:?} {method} {path} {credentials:?}", served.http);
                let (status, body) = served.ask(&of, "shut", credentials).await;
                let is_bad = credentials == Some(&bad);
                match right {
                    Right::Read if !is_bad => assert_eq!(status, of.granted, "{what}: {body}"),
                    _ if of.alone && otherwise == 403 => assert_eq!(status, 207, "{what}: {body}"),
                    _ => assert_eq!(status, otherwise, "{what}: {body}"),
                }
            }
            // No other channel is public, alone or beside one that is.
            let (status, body) = served.ask(&of, "news", None).await;
            assert_eq!(status, 401, "{decides:?} {method} {path}: {body}");
        }
        let mut socket = served.open("/c/shut?after=earliest", None, None).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(closed(&mut socket).await, 4403, "{decides:?}");
        for credentials in [None, Some(&good)] {
            let open = async |path| served.open(path, Some("sockeye.v1"), credentials).await;
            assert_eq!(open("/c/news").await.err(), credentials.is_none().then_some(401));
            assert!(open("/c/shut").await.is_ok(), "{decides:?} {credentials:?}");
        }
        assert_eq!(served.open("/c/shut", None, Some(&bad)).await.err(), Some(401));
    })
    .await;
}

#[tokio::test]
async fn commands_without_a_token_read_public_channels_alone() {
    in_each_way_with(&[rule("shut").anonymous_read(true)], async |served, decides| {
        for path in ["/c/shut", "/connect"] {
            let mut v1 = served.open(path, Some("sockeye.v1"), None).await.unwrap();
            let code = async |socket: &mut _, op: &str, channel: &str| {
                let of = json!({"id": op, "op": op, "ch": channel, "data": 1});
                command(socket, of).await["err"]["code"].take()
            };
            assert_eq!(code(&mut v1, "read", "shut").await, json!(null), "{decides:?} {path}");
            if path == "/connect" {
                assert_eq!(code(&mut v1, "sub", "shut").await, json!(null), "{decides:?}");
            }
            for (op, channel) in [
                ("sub", "news"),
                ("read", "open"),
                ("pub", "shut"),
                ("who", "shut"),
                ("close", "shut"),
            ] {
                assert_eq!(code(&mut v1, op, channel).await, "unauthorized", "{decides:?} {op}");
            }
            // A reader goes on for as long as it likes.
            for _ in 0..40 {
                assert_eq!(code(&mut v1, "ping", "shut").await, json!(null), "{decides:?} {path}");
            }
            let token = match decides {
                Decides::Sessions => "ann-token".to_owned(),
                _ => token(CLAIM),
            };
            let auth = json!({"id": "auth", "op": "auth", "token": token});
            assert!(command(&mut v1, auth).await["ok"].is_object(), "{decides:?} {path}");
            assert_eq!(code(&mut v1, "sub", "news").await, json!(null), "{decides:?} {path}");
            // The token does not grant it, and it is still subscribed to.
            assert_eq!(code(&mut v1, "sub", "shut").await, "bad_request", "{decides:?} {path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_of_a_public_channel_need_not_send_a_token_in_time() {
    let server = TestServer::with(|options| {
        Decides::Key.options(&mut options.channels);
        options.channels.auth_timeout = Duration::from_secs(2);
        options.channels.channel = vec![rule("s1").anonymous_read(true)];
    })
    .await;
    let mut on_channel = V1::connect(&server, "/c/s1").await;
    assert_eq!(on_channel.hello["auth"], json!(null), "none is needed");
    let mut on_many = V1::connect(&server, "/connect").await;
    assert_eq!(on_many.hello["auth"], true);
    on_many.subscribe("s1").await;
    let mut idle = V1::connect(&server, "/connect").await;
    let (_, code) = idle.end().await;
    assert_eq!(code, 4401, "the time of all is over");
    server.hub.publish(&"s1".parse().unwrap(), Publication::text("a")).await.unwrap();
    assert_eq!(on_channel.data("s1").await, "a");
    assert_eq!(on_many.data("s1").await, "a");
}

#[tokio::test]
async fn an_authoriser_is_not_asked_who_may_read_a_public_channel() {
    let shop = Shop::new([("news", Right::Read)]).good_for(Duration::from_secs(1));
    let server = TestServer::with(|options| {
        options.channels = options.channels.clone().authorizer(shop.clone());
        options.channels.channel = vec![rule("shut").anonymous_read(true)];
    })
    .await;
    let url = format!("ws://{}/connect", server.address);
    let client = Client::new(&url).unwrap().header("cookie", "session=ann");
    let mut v1 = V1::with(client).await;
    v1.subscribe("shut").await;
    assert_eq!(shop.asked(), 0);
    v1.subscribe("news").await;
    shop.revoke("news", Right::Read);
    let ended = v1.receive().await;
    assert_eq!(ended["ch"], "news", "{ended}");
    // What is public goes on.
    assert_eq!(v1.refused(json!({"op": "sub", "ch": "shut"})).await, "bad_request");
}

#[tokio::test]
async fn a_channel_has_a_largest_message_of_its_own_on_every_transport() {
    const LARGE: &str = "eleven char";
    let is_large = |body: &str| body.contains(r#""code":"too_large""#);
    in_each_way_with(&[rule("open").max_message(10)], async |served, decides| {
        let good = decides.credentials();
        let of = |index: usize, body| Use { body, ..uses().remove(index) };
        assert_eq!((uses()[18].path, uses()[18].method.clone()), ("/c/{}", Method::POST));
        let cases = [
            (of(18, "ten chars."), 201),
            (of(18, LARGE), 413),
            (of(19, "{\"data\":\"ten chars.\"}\n"), 201),
            (of(19, "{\"data\":\"eleven char\"}\n"), 207),
            (of(20, "[{\"ch\":\"{}\",\"data\":\"ten chars.\"}]"), 201),
            (of(20, "[{\"ch\":\"{}\",\"data\":\"eleven char\"}]"), 207),
            (of(21, "{\"ch\":\"{}\",\"data\":\"eleven char\"}\n"), 207),
        ];
        for (of, expected) in cases {
            let (status, body) = served.ask(&of, "open", Some(&good)).await;
            let what = format!("{decides:?} {:?} {} {}", served.http, of.path, of.body);
            assert_eq!(status, expected, "{what}: {body}");
            assert!(status == 201 || is_large(&body), "{what}: {body}");
        }
        let mut socket = served.open("/c/open", None, Some(&good)).await.unwrap();
        socket.send("ten chars.").await.unwrap();
        let echo = timeout(SOON, socket.recv()).await.unwrap().unwrap().unwrap();
        assert_eq!(echo, Message::from("ten chars."));
        socket.send(LARGE).await.unwrap();
        assert_eq!(closed(&mut socket).await, 1009, "{decides:?}");
        let mut v1 = served.open("/connect", Some("sockeye.v1"), Some(&good)).await.unwrap();
        let large = json!({"id": 1, "op": "pub", "ch": "open", "data": LARGE});
        let answer = command(&mut v1, large).await;
        assert_eq!(answer["err"]["code"], "too_large", "{decides:?}: {answer}");
    })
    .await;
}

#[tokio::test]
async fn on_a_channel_without_presence_no_reader_is_a_member() {
    let server =
        TestServer::with(|options| options.channels.channel = vec![rule("s1").presence(false)])
            .await;
    let served = Served { address: server.address, base: "", http: Http::One, _server: None };
    let _plain = served.open("/c/s1?as=ann", None, None).await.unwrap();
    let _v1 = V1::connect(&server, "/c/s1?as=ann").await;
    let mut streams = Vec::new();
    for of in uses().into_iter().filter(|of| of.streams) {
        let path = of.path.replace("{}", "s1").replace("also", "s2");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let first = tokio::io::AsyncReadExt::read_u8(&mut stream);
        timeout(SOON, first).await.expect("an answer").unwrap();
        streams.push(stream);
    }
    for path in ["/c/s1?presence=1&as=ann", "/c/s1?wait=0&as=ann", "/c/s1,s2?presence=1&as=ann"] {
        assert_eq!(server.get(path).await.status, 200);
    }
    let present = server.hub.presence_of_all(&"s1".parse().unwrap(), None, 10).await;
    assert_eq!(present.count, 0);
    server.get("/c/s1/presence").await.assert_problem(403, "forbidden");
    assert_eq!(server.get("/c/s2/presence").await.status, 200);
}

#[tokio::test]
async fn a_channel_has_a_policy_of_its_own() {
    let options = ChannelOptions::default()
        .history_count(2)
        .policy(["*=catchup".parse().unwrap()])
        .channel([rule("newest").policy(Policy::Latest), rule("strict").policy(Policy::Close)]);
    let channels = Channels::builder().options(options).build().unwrap();
    for (name, expected, is_over) in
        [("newest", &["d"][..], false), ("strict", &[], true), ("other", &["c", "d"], false)]
    {
        let (hub, channel) = (channels.hub(), name.parse().unwrap());
        let mut reader = hub.subscribe(&channel, "now".parse().unwrap());
        for text in ["a", "b", "c", "d"] {
            hub.publish(&channel, Publication::text(text)).await.unwrap();
        }
        let page = reader.try_next_page(sockeye_hub::Budget::entries(10)).unwrap();
        let texts: Vec<_> =
            page.entries.iter().map(|entry| &entry.payload.as_bytes()[..]).collect();
        let expected: Vec<_> = expected.iter().map(|text| text.as_bytes()).collect();
        assert_eq!((texts, reader.is_over()), (expected, is_over), "{name}");
    }
}

#[tokio::test]
async fn a_channel_keeps_a_history_of_its_own() {
    let rules = [rule("state:*").history_count(1), rule("small").history_bytes(1000), rule("all")];
    let options = ChannelOptions::default().history_count(3).channel(rules);
    let channels = Channels::builder().options(options).build().unwrap();
    let hub = channels.hub();
    for (name, least, most) in [("state:a", 1, 1), ("small", 1, 2), ("all", 3, 3), ("x", 3, 3)] {
        let channel = name.parse().unwrap();
        for _ in 0..5 {
            hub.publish(&channel, Publication::text(&"x".repeat(300))).await.unwrap();
        }
        let kept = hub.read(&channel, "earliest".parse().unwrap(), 10).entries.len();
        assert!((least..=most).contains(&kept), "{name}: {kept}");
    }
    let large = "x".repeat(1001);
    let refused = hub.publish(&"small".parse().unwrap(), Publication::text(&large)).await;
    assert!(refused.is_err(), "it has no room");
}

#[tokio::test]
async fn a_rule_on_the_history_is_refused_where_an_engine_keeps_it() {
    let bounds = Bounds { shards: 1, count: 10, age: 60_000, tick: 10_000 };
    let options = ServerOptions::default().channels;
    let options = options.backplane(Engine::new(bounds, 1).node());
    let build = |options: &ChannelOptions| Channels::builder().options(options.clone()).build();
    let rules = [rule("a").history_count(1)];
    let refused = build(&options.clone().channel(rules.clone())).unwrap_err();
    assert!(refused.to_string().contains("all keep the same"), "{refused}");
    let mut of_server = ServerOptions::default();
    of_server.channels = options.clone().channel(rules);
    let refused = Server::bind(of_server).await.unwrap_err();
    assert!(refused.to_string().contains("all keep the same"), "{refused}");
    assert!(build(&options.channel([rule("a").publish(false)])).is_ok());
}
