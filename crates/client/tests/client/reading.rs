//! Subscriptions: the same by every transport, and over whatever happens to the connection.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use sockeye_client::{Client, Data, Item, Payload, Publication, Transport};
use sockeye_server::ChannelOptions;
use sockeye_testing::eventually_async;

use crate::common::{Between, Treatment, client, live, message, next, only, serve, text};

fn passes(_: &str) -> Treatment {
    Treatment::Pass
}

#[tokio::test]
async fn messages_are_the_same_by_every_transport() {
    let url = format!("http://{}", serve(ChannelOptions::default()).await);
    let publisher = Client::new(&url).unwrap();
    let first = publisher.publish("chat", "text").event("named").await.unwrap();
    publisher.publish("chat", vec![0, 255]).await.unwrap();
    publisher
        .publish("chat", Payload::json(&serde_json::json!({"n": 1.5})).unwrap())
        .await
        .unwrap();
    publisher.publish("chat", Payload::json(&()).unwrap()).await.unwrap();
    for transport in Transport::ALL {
        let client = only(&url, transport);
        let mut chat = client.subscribe("chat").after("earliest");
        let begins = message(&mut chat).await;
        assert_eq!((begins.channel(), begins.position()), ("chat", &first), "{transport}");
        assert_eq!((begins.event(), begins.text()), (Some("named"), Some("text".to_owned())));
        assert!(begins.time().elapsed().unwrap() < Duration::from_secs(60));
        assert!(begins.time() > SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));
        let bytes = message(&mut chat).await;
        assert!(matches!(bytes.data(), Data::Binary(bytes) if **bytes == [0, 255]), "{transport}");
        let json: serde_json::Value = message(&mut chat).await.json().unwrap();
        assert_eq!(json, serde_json::json!({"n": 1.5}), "{transport}");
        let null = message(&mut chat).await;
        assert!(matches!(null.data(), Data::Json(json) if json.get() == "null"), "{transport}");
        let live = format!("live by {transport}");
        publisher.publish("chat", &*live).await.unwrap();
        while text(&mut chat).await != live {}
        assert_eq!(chat.position(), Some(&publisher.read("chat", "-1", 1).await.unwrap().at));
    }
}

#[tokio::test]
async fn reading_begins_where_it_is_asked_to_by_every_transport() {
    let url = format!("http://{}", serve(ChannelOptions::default()).await);
    let publisher = Client::new(&url).unwrap();
    for transport in Transport::ALL {
        let client = only(&url, transport);
        let channel = transport.name();
        let mut positions = Vec::new();
        for number in 0..5 {
            positions.push(publisher.publish(channel, number.to_string()).await.unwrap());
        }
        let mut from_position = client.subscribe(channel).after(&positions[2]);
        let mut last_two = client.subscribe(channel).after("-2");
        let mut last_hour = client.subscribe(channel).after("1h");
        let mut from_now = client.subscribe(channel);
        assert_eq!(from_now.ready().await.unwrap(), positions[4], "{transport}");
        assert_eq!(from_position.ready().await.unwrap(), positions[2], "{transport}");
        last_two.ready().await.unwrap();
        last_hour.ready().await.unwrap();
        publisher.publish(channel, "live").await.unwrap();
        for (subscription, expected) in [
            (&mut from_position, &["3", "4", "live"][..]),
            (&mut last_two, &["3", "4", "live"]),
            (&mut last_hour, &["0", "1", "2", "3", "4", "live"]),
            (&mut from_now, &["live"]),
        ] {
            for text_ in expected {
                assert_eq!(text(subscription).await, *text_, "{transport}: {subscription:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_server_has_not_kept_is_a_gap_by_every_transport() {
    let url = format!("http://{}", serve(ChannelOptions::default().history_count(1)).await);
    let publisher = Client::new(&url).unwrap();
    let first = publisher.publish("chat", "one").await.unwrap();
    let second = publisher.publish("chat", "two").await.unwrap();
    publisher.publish("chat", "three").await.unwrap();
    for transport in Transport::ALL {
        let client = only(&url, transport);
        let mut chat = client.subscribe("chat").after(&first);
        let Item::Gap(gap) = next(&mut chat).await.unwrap() else { panic!("{transport}: no gap") };
        assert_eq!((&gap.after, &gap.next, &*gap.why), (&first, &second, "expired"), "{transport}");
        assert_eq!(gap.channel(), "chat");
        assert_eq!(text(&mut chat).await, "three", "{transport}");
    }
}

#[tokio::test]
async fn the_end_of_a_channel_ends_the_subscription_by_every_transport() {
    let url = format!("http://{}", serve(ChannelOptions::default()).await);
    let publisher = Client::new(&url).unwrap();
    for transport in Transport::ALL {
        let channel = transport.name();
        let (client, mut statuses) = client(&url, &[transport], |builder| builder);
        publisher.publish(channel, "last words").await.unwrap();
        let mut open = client.subscribe(channel).after("earliest");
        assert_eq!(text(&mut open).await, "last words");
        assert_eq!(live(&mut statuses).await, transport);
        let at = publisher.end(channel).await.unwrap();
        let mut late = client.subscribe(channel).after("earliest");
        assert_eq!(text(&mut late).await, "last words");
        for subscription in [&mut open, &mut late] {
            let Item::End(end) = next(subscription).await.unwrap() else { panic!("no end") };
            assert_eq!((&end.at, end.channel()), (&at, channel));
            assert!(subscription.next().await.is_none(), "{transport}");
            assert!(subscription.next().await.is_none(), "{transport}");
        }
        assert!(publisher.read(channel, &at, 1).await.unwrap().has_ended);
        let refused = publisher.publish(channel, "more").await.unwrap_err();
        assert_eq!(refused.code(), Some("ended"), "{refused}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_resumed_and_nothing_is_lost_or_repeated() {
    let server = serve(ChannelOptions::default()).await;
    let publisher = Client::new(format!("http://{server}")).unwrap();
    for transport in Transport::ALL {
        let between = Between::before(server, passes).await;
        let client = only(&between.url(), transport);
        let mut chat = client.subscribe("chat");
        chat.ready().await.unwrap();
        for round in 0..3 {
            between.cut();
            for number in 0..3 {
                let expected = format!("{round}.{number}");
                publisher.publish("chat", &*expected).await.unwrap();
                assert_eq!(text(&mut chat).await, expected, "{transport}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_has_lost_its_channels_is_a_gap() {
    let server = serve(ChannelOptions::default()).await;
    for transport in Transport::ALL {
        let between = Between::before(server, passes).await;
        let client = only(&between.url(), transport);
        let mut chat = client.subscribe("chat");
        let before = chat.ready().await.unwrap();
        let other = serve(ChannelOptions::default()).await;
        let publisher = Client::new(format!("http://{other}")).unwrap();
        publisher.publish("chat", "in another epoch").await.unwrap();
        between.lead_to(other);
        between.cut();
        let Item::Gap(gap) = next(&mut chat).await.unwrap() else { panic!("{transport}: no gap") };
        assert_eq!((&gap.after, &*gap.why), (&before, "reset"), "{transport}");
        assert_eq!(text(&mut chat).await, "in another epoch", "{transport}");
        publisher.publish("chat", "more").await.unwrap();
        assert_eq!(text(&mut chat).await, "more", "{transport}");
    }
}

#[tokio::test]
async fn two_hundred_channels_are_on_two_websockets() {
    let between = Between::before(serve(ChannelOptions::default()).await, passes).await;
    let client = only(&between.url(), Transport::V1);
    let mut all: Vec<_> =
        (0..200).map(|number| client.subscribe(format!("channel-{number}"))).collect();
    for subscription in &mut all {
        subscription.ready().await.unwrap();
    }
    let name = |number: usize| format!("channel-{number}");
    let publications = (0..200).map(|number| Publication::new(name(number), name(number)));
    assert!(client.publish_all(publications).await.unwrap().iter().all(Result::is_ok));
    for (number, subscription) in all.iter_mut().enumerate() {
        assert_eq!(text(subscription).await, name(number));
    }
    assert_eq!(between.count("get /connect"), 2);
    // The same once more is read apart from the first.
    let mut again = client.subscribe("channel-7").after("earliest");
    assert_eq!(text(&mut again).await, "channel-7");
    drop((all, again, client));
    eventually_async("no connection is left", async || between.open() == 0).await;
}

/// Alone on its connection, and with another channel that is taken at once.
#[tokio::test]
async fn what_the_application_does_not_take_waits_and_holds_up_no_other() {
    let url = format!("http://{}", serve(ChannelOptions::default().history_count(5000)).await);
    let publisher = Client::new(&url).unwrap();
    for (transport, is_alone) in
        Transport::ALL.into_iter().flat_map(|transport| [(transport, true), (transport, false)])
    {
        let client = only(&url, transport);
        let channel = format!("slow-{transport}-{is_alone}");
        let mut slow = client.subscribe(&*channel).buffer(4);
        let mut other = client.subscribe("other");
        slow.ready().await.unwrap();
        if !is_alone {
            other.ready().await.unwrap();
        }
        let texts: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        for some in texts.chunks(100) {
            let publications =
                some.iter().map(|text| Publication::new(&*channel, &**text)).collect::<Vec<_>>();
            assert!(publisher.publish_all(publications).await.unwrap().iter().all(Result::is_ok));
            if !is_alone {
                publisher.publish("other", &*channel).await.unwrap();
                assert_eq!(text(&mut other).await, channel);
            }
        }
        for expected in texts {
            assert_eq!(text(&mut slow).await, expected, "{transport}");
        }
        if is_alone {
            // Another channel does not wait for it either.
            other.ready().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_name_that_no_channel_has_is_an_error() {
    let client = Client::new("http://127.0.0.1:9/").unwrap();
    for name in ["", "a,b", "../publish", "a?after=now"] {
        let refused = next(&mut client.subscribe(name)).await.unwrap_err().to_string();
        assert!(refused.contains("is not the name of a channel"), "{refused}");
        assert!(client.publish(name, "text").await.is_err());
    }
    for url in ["nowhere", "ftp://localhost/", "http://127.0.0.1:8080/c/chat"] {
        let refused = Client::new(url).unwrap_err().to_string();
        assert!(refused.contains("write where the server is"), "{refused}");
    }
}

#[tokio::test]
async fn what_the_server_refuses_of_one_channel_ends_that_alone() {
    let url = format!("http://{}", serve(ChannelOptions::default()).await);
    for transport in Transport::ALL {
        let client = only(&url, transport);
        let mut fine = client.subscribe("chat");
        fine.ready().await.unwrap();
        let mut refused = client.subscribe("other").after("yesterday");
        let error = next(&mut refused).await.unwrap_err();
        assert_eq!(error.code(), Some("bad_position"), "{transport}: {error}");
        assert!(error.to_string().contains(&url), "{error}");
        assert!(refused.next().await.is_none());
        client.publish("chat", "still").await.unwrap();
        assert_eq!(text(&mut fine).await, "still", "{transport}");
    }
}

#[test]
fn a_runtime_that_ends_ends_its_subscriptions() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let mut chat = first.block_on(async {
        let client =
            only(&format!("http://{}", serve(ChannelOptions::default()).await), Transport::V1);
        let mut chat = client.subscribe("chat");
        chat.ready().await.unwrap();
        chat
    });
    drop(first);
    let ended = second.block_on(next(&mut chat)).unwrap_err();
    assert!(ended.to_string().contains("the runtime of this client has ended"), "{ended}");
    drop(second);
}

#[test]
fn a_runtime_that_ends_before_a_connection_begins_leaves_nothing_that_never_reads() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let url = second.block_on(async { serve(ChannelOptions::default()).await });
    let client = only(&format!("http://{url}"), Transport::V1);
    let mut early = client.subscribe("early");
    first.block_on(async {
        assert!(futures_util::poll!(early.next()).is_pending());
    });
    drop(first);
    second.block_on(async {
        assert!(next(&mut early).await.is_err(), "its runtime has ended");
        let mut chat = client.subscribe("chat");
        let ready = tokio::time::timeout(sockeye_testing::PATIENCE, chat.ready()).await;
        ready.expect("it reads").unwrap();
    });
}

#[test]
fn a_subscription_in_a_runtime_that_has_ended_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (handle, client) = (runtime.handle().clone(), only("http://127.0.0.1:1/", Transport::V1));
    drop(runtime);
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _inside = handle.enter();
        let mut chat = client.subscribe("chat");
        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
        let _ = done.send(chat.poll_next_unpin(context).map(|item| item.map(|item| item.is_err())));
    });
    let ended = is_done.recv_timeout(sockeye_testing::PATIENCE).expect("it is told");
    assert_eq!(ended, std::task::Poll::Ready(Some(true)));
}
