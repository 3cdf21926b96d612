//! A token that ends, ends what it opened.

use std::time::Duration;

use sockeye::{Client, WebSocket};
use tokio::time::timeout;

use super::{now, server, token, token_until};
use crate::client::{SOON, TestServer};

async fn open(server: &TestServer, token: &str) -> WebSocket {
    let client = Client::new(&format!("ws://{}/c/chat", server.address)).unwrap();
    let value = http::HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    client.header(http::header::AUTHORIZATION, value).connect().await.unwrap()
}

fn close_code(socket: &WebSocket) -> u16 {
    socket.closed().expect("it has ended").code()
}

#[tokio::test]
async fn a_websocket_ends_with_its_token_and_not_before() {
    let server = server().await;
    let lasting = Duration::from_millis(300);
    let until = now() + lasting.as_secs_f64();
    let mut short = open(&server, &token_until(until, r#"{"chat":["read"]}"#)).await;
    let mut long = open(&server, &token(r#"{"chat":["read","write"]}"#)).await;

    let end = timeout(SOON, short.recv()).await.expect("it ends");
    assert!(now() >= until, "it ended before its time");
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    assert_eq!(close_code(&short), 4401);

    long.send("still here").await.unwrap();
    let echo = timeout(SOON, long.recv()).await.unwrap().unwrap().unwrap();
    assert_eq!(echo.as_text().unwrap(), "still here");
}

#[tokio::test]
async fn a_websocket_that_may_only_read_is_closed_when_it_publishes() {
    let server = server().await;
    let mut reader = open(&server, &token(r#"{"chat":["read"]}"#)).await;
    reader.send("let me in").await.unwrap();
    assert!(timeout(SOON, reader.recv()).await.unwrap().is_none_or(|got| got.is_err()));
    assert_eq!(close_code(&reader), 4403);
    assert_eq!(server.hub.position(&"chat".parse().unwrap()).offset, 0, "nothing was published");
}
