//! Tokens: refused, replaced, and fresh before the old one expires.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use sockeye_client::{Client, Transport};
use sockeye_server::{ChannelOptions, SigningKey};
use sockeye_testing::{
    eventually_async,
    frame::{Frame, TEXT},
};

use crate::{
    common::{Between, Treatment, client, next, serve, text},
    hostile::{begin, read_head},
};

const SECRET: &[u8] = b"a secret of this test, with more than 32 bytes";

/// A token for the channel `chat` that lasts for this long.
fn token(lasts: Duration) -> String {
    let exp = SystemTime::UNIX_EPOCH.elapsed().unwrap() + lasts;
    let claims = serde_json::json!({
        "sub": "ann",
        "exp": exp.as_secs_f64(),
        "channels": {"chat": ["read", "write"]},
    });
    let key = SigningKey::from_bytes(SECRET).unwrap();
    key.sign(&serde_json::from_value(claims).unwrap()).unwrap()
}

async fn server() -> std::net::SocketAddr {
    let key = SigningKey::from_bytes(SECRET).unwrap().auth_key();
    serve(ChannelOptions::default().auth_key(key)).await
}

#[tokio::test]
async fn a_token_opens_what_it_grants_by_every_transport() {
    let url = format!("http://{}", server().await);
    for transport in Transport::ALL {
        let good = token(Duration::from_secs(60));
        let (with, _) = client(&url, &[transport], |builder| builder.token(good));
        let mut chat = with.subscribe("chat");
        chat.ready().await.unwrap();
        with.publish("chat", "for ann").await.unwrap();
        assert_eq!(text(&mut chat).await, "for ann", "{transport}");
        let refused = next(&mut with.subscribe("other")).await.unwrap_err();
        assert_eq!(refused.code(), Some("forbidden"), "{transport}: {refused}");
        assert_eq!(with.publish("other", "text").await.unwrap_err().code(), Some("forbidden"));
        let (wrong, _) = client(&url, &[transport], |builder| builder.token("not.a.token"));
        let refused = next(&mut wrong.subscribe("chat")).await.unwrap_err();
        assert!(
            refused
                .problem()
                .is_some_and(|problem| problem.status == Some(http::StatusCode::UNAUTHORIZED)),
            "{transport}: {refused}"
        );
        assert!(wrong.publish("chat", "text").await.is_err());
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_asked_for_once_more_by_every_transport() {
    let url = format!("http://{}", server().await);
    for transport in Transport::ALL {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let (client, _) = client(&url, &[transport], move |builder| {
            builder.token_with(move || {
                let number = count.fetch_add(1, SeqCst);
                async move {
                    match number {
                        0 => Ok::<_, String>("not.a.token".to_owned()),
                        _ => Ok(token(Duration::from_secs(600))),
                    }
                }
            })
        });
        let mut chat = client.subscribe("chat");
        chat.ready().await.unwrap();
        client.publish("chat", "text").await.unwrap();
        assert_eq!(text(&mut chat).await, "text", "{transport}");
        assert_eq!(asked.load(SeqCst), 2, "{transport}");
    }
}

#[tokio::test]
async fn a_token_that_is_always_refused_is_not_asked_for_all_the_time() {
    let url = format!("http://{}", server().await);
    for transport in Transport::ALL {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let (client, _) = client(&url, &[transport], move |builder| {
            builder.token_with(move || {
                let number = count.fetch_add(1, SeqCst);
                async move { Ok::<_, String>(format!("not.a.token.{number}")) }
            })
        });
        next(&mut client.subscribe("chat")).await.unwrap_err();
        assert_eq!(asked.load(SeqCst), 2, "{transport}");
    }
}

/// As two servers behind one address do of which one has another key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_taken_and_refused_in_turn_is_not_asked_for_without_a_pause() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut is_refused = false;
        for mut stream in listener.incoming().map_while(Result::ok) {
            while let Some(head) = read_head(&mut stream) {
                is_refused = !is_refused && !head.contains("after=now");
                let (status, body) = match is_refused {
                    true => (401, r#"{"code":"unauthorized","detail":"Another key."}"#),
                    false => (200, r#"{"at":"k.1","messages":[]}"#),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    let (asking, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let (client, _) = client(&url, &[Transport::Poll], move |builder| {
        let number = AtomicUsize::new(0);
        builder.poll_interval(Duration::ZERO).token_with(move || {
            let number = number.fetch_add(1, SeqCst);
            let _ = asking.send(());
            async move { Ok::<_, String>(format!("token-{number}")) }
        })
    });
    let mut chat = client.subscribe("chat");
    chat.ready().await.unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        asked.recv().await.unwrap();
    }
    // The first is that of the beginning, the second comes at once.
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
}

/// The server ends what an expired token has opened: that nothing was opened anew shows that a fresh one came first.
#[tokio::test]
async fn a_fresh_token_comes_before_the_old_one_expires() {
    let between = Between::before(server().await, |_| Treatment::Pass).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (client, mut statuses) = client(&between.url(), &[Transport::V1], move |builder| {
        builder.token_with(move || {
            count.fetch_add(1, SeqCst);
            async { Ok::<_, String>(token(Duration::from_secs(3))) }
        })
    });
    let mut chat = client.subscribe("chat");
    chat.ready().await.unwrap();
    // By then the first has expired.
    eventually_async("the third token", async || asked.load(SeqCst) >= 3).await;
    client.publish("chat", "still here").await.unwrap();
    assert_eq!(text(&mut chat).await, "still here");
    assert_eq!(between.count("get /connect"), 1);
    let mut told = 0;
    while let Ok(status) = statuses.try_recv() {
        told += 1;
        assert!(told <= 2, "{status:?}");
    }
}

/// It was good when the WebSocket was opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_before_a_channel_is_subscribed_to_is_replaced() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = AtomicUsize::new(0);
    let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()))
        .transports([Transport::V1])
        .token_with(move || {
            let number = asked.fetch_add(1, SeqCst);
            async move { Ok::<_, String>(format!("token-{number}")) }
        })
        .build()
        .unwrap();
    let served = tokio::task::spawn_blocking(move || {
        let outcomes = [
            r#""err":{"code":"unauthorized","message":"expired","retry":false}"#,
            r#""ok":{"at":"k.1"}"#,
        ];
        let mut kept = Vec::new();
        for (number, outcome) in outcomes.iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            let head = read_head(&mut stream).unwrap();
            assert!(head.contains(&format!("Bearer token-{number}")), "{head}");
            stream.write_all(begin(&head).as_bytes()).unwrap();
            stream.write_all(&Frame::unmasked(TEXT, r#"{"hello":{}}"#).encode()).unwrap();
            Frame::read(&mut stream).unwrap();
            let answer = format!("{{\"id\":1,{outcome}}}");
            stream.write_all(&Frame::unmasked(TEXT, answer).encode()).unwrap();
            kept.push(stream);
        }
        kept
    });
    let mut chat = client.subscribe("chat");
    assert_eq!(chat.ready().await.unwrap().to_string(), "k.1");
    served.await.unwrap();
}
