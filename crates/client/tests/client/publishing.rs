//! Publishing: once, in order, whatever becomes of the connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sockeye_client::{Client, Payload, Publication, Transport};
use sockeye_server::ChannelOptions;

use crate::common::{Between, Treatment, client, only, serve, text};

#[tokio::test]
async fn what_is_sent_again_is_published_once() {
    let server = serve(ChannelOptions::default()).await;
    let requests = AtomicUsize::new(0);
    let between = Between::before(server, move |head| {
        match head.contains("post /") && requests.fetch_add(1, SeqCst).is_multiple_of(2) {
            true => Treatment::Cut,
            false => Treatment::Pass,
        }
    })
    .await;
    let client = Client::new(between.url()).unwrap();
    let at = client.publish("chat", "once").await.unwrap();
    assert_eq!(between.count("post /c/chat"), 2);
    let page = client.read("chat", "earliest", 10).await.unwrap();
    assert_eq!((page.messages.len(), page.messages[0].position()), (1, &at));
}

#[tokio::test]
async fn a_repetition_under_the_same_key_has_the_first_position() {
    let url = format!("http://{}", serve(ChannelOptions::default()).await);
    let by_request = Client::new(&url).unwrap();
    let by_socket = only(&url, Transport::V1);
    let mut chat = by_socket.subscribe("chat");
    chat.ready().await.unwrap();
    let at = by_request.publish("chat", "once").key("6f1c").await.unwrap();
    for client in [by_request, by_socket] {
        assert_eq!(client.publish("chat", "once").key("6f1c").await.unwrap(), at);
    }
    assert_eq!(text(&mut chat).await, "once");
}

#[tokio::test]
async fn publications_go_over_the_websocket_that_reads_and_keep_their_order() {
    let between =
        Between::before(serve(ChannelOptions::default()).await, |_| Treatment::Pass).await;
    let client = only(&between.url(), Transport::V1);
    let mut chat = client.subscribe("chat");
    chat.ready().await.unwrap();
    let sent = (0..100).map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.publish("many", number.to_string()).await.unwrap() })
    });
    let sent: Vec<_> = sent.collect();
    for number in 0..20 {
        client.publish("chat", number.to_string()).await.unwrap();
    }
    for number in 0..20 {
        assert_eq!(text(&mut chat).await, number.to_string());
    }
    for each in sent {
        each.await.unwrap();
    }
    assert_eq!(between.count("post /"), 0);
    assert_eq!(client.read("many", "earliest", 1000).await.unwrap().messages.len(), 100);
}

#[tokio::test]
async fn many_are_published_in_their_order_and_each_has_a_result() {
    let url = format!("http://{}", serve(ChannelOptions::default().history_count(5000)).await);
    let client = Client::new(&url).unwrap();
    let publications = (0..2500).map(|number| match number {
        7 => Publication::new("even", vec![0; 100_000]),
        8 => Publication::new("even", Payload::json(&[number]).unwrap()).event("gap"),
        _ => {
            let channel = if number % 2 == 0 { "even" } else { "odd" };
            Publication::new(channel, number.to_string())
        }
    });
    let results = client.publish_all(publications).await.unwrap();
    assert_eq!(results.len(), 2500);
    for (number, result) in results.iter().enumerate() {
        let code = result.as_ref().err().and_then(|problem| problem.code.as_deref());
        let expected = match number {
            7 => Some("too_large"),
            8 => Some("bad_event"),
            _ => None,
        };
        assert_eq!(code, expected, "{number}: {result:?}");
    }
    let mut odd = client.subscribe("odd").after("earliest");
    for number in (0..2500).filter(|number| number % 2 == 1 && *number != 7) {
        assert_eq!(text(&mut odd).await, number.to_string());
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_not_sent_again() {
    let between =
        Between::before(serve(ChannelOptions::default()).await, |_| Treatment::Pass).await;
    let client = Client::new(between.url()).unwrap();
    let refused = client.publish("chat", vec![0; 100_000]).await.unwrap_err();
    assert_eq!(refused.code(), Some("too_large"), "{refused}");
    assert!(refused.to_string().contains(&between.url()), "{refused}");
    let refused = client.publish("chat", "text").event("message").await.unwrap_err();
    assert_eq!(refused.code(), Some("bad_event"), "{refused}");
    assert!(client.publish("chat", "text").event("a\nb").await.is_err());
    assert!(between.count("post /") <= 2);
    let reading = only(&between.url(), Transport::V1);
    let mut chat = reading.subscribe("chat");
    chat.ready().await.unwrap();
    let refused = reading.publish("chat", vec![0; 1 << 20]).await.unwrap_err();
    assert_eq!(refused.code(), Some("too_large"), "{refused}");
    reading.publish("chat", "small").await.unwrap();
    assert_eq!(text(&mut chat).await, "small");
    assert_eq!(between.count("get /connect"), 1);
}

/// The server knows keys by the token, where that has no `sub`: under another one it would be published again.
#[tokio::test]
async fn what_is_sent_again_keeps_its_token_while_that_is_good() {
    let server = serve(ChannelOptions::default()).await;
    let requests = AtomicUsize::new(0);
    let between = Between::before(server, move |head| {
        match head.contains("post /") && requests.fetch_add(1, SeqCst) < 2 {
            true => Treatment::Cut,
            false => Treatment::Pass,
        }
    })
    .await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // By its own dates each lasts a millisecond, so that the next request would have another.
    let token =
        move |number| format!("a.{}.b{number}", URL_SAFE_NO_PAD.encode(r#"{"iat":1,"exp":1.001}"#));
    let of_function = token;
    let (client, _) = client(&between.url(), &[Transport::V1], move |builder| {
        builder.token_with(move || {
            let token = of_function(count.fetch_add(1, SeqCst));
            async move { Ok::<_, String>(token) }
        })
    });
    client.publish("chat", "once").await.unwrap();
    assert_eq!((between.count("post /c/chat"), asked.load(SeqCst)), (3, 1));
    assert_eq!(between.count(&format!("bearer {}", token(0).to_lowercase())), 3);
    client.publish("chat", "another").await.unwrap();
    assert_eq!(asked.load(SeqCst), 2);
}
