//! When a token expires, what it opened ends.

use sockeye::{Client, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{LIFETIME, now, server, token, token_until};
use crate::client::{SOON, TestServer};

async fn open(server: &TestServer, token: &str) -> WebSocket {
    let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let value = http::HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    client.header(http::header::AUTHORIZATION, value).connect().await.unwrap()
}

fn close_code(socket: &WebSocket) -> u16 {
    socket.closed().expect("it has ended").code()
}

#[tokio::test]
async fn a_websocket_ends_with_its_token_and_not_before() {
    let server = server().await;
    let until = now() + LIFETIME;
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
    let chat = "chat".parse().unwrap();
    let before = server.hub.position(&chat);
    let mut reader = open(&server, &token(r#"{"chat":["read"]}"#)).await;
    reader.send("let me in").await.unwrap();
    assert!(timeout(SOON, reader.recv()).await.unwrap().is_none_or(|got| got.is_err()));
    assert_eq!(close_code(&reader), 4403);
    assert_eq!(server.hub.position(&chat), before, "nothing was published");
}

#[tokio::test]
async fn streams_and_long_polls_end_with_their_token_though_nothing_comes() {
    let server = server().await;
    for headers in [
        "Accept: text/event-stream\r\n",
        "Accept: application/x-ndjson\r\n",
        "Prefer: wait=30\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ] {
        let until = now() + LIFETIME;
        let token = token_until(until, r#"{"chat":["read"]}"#);
        let close = if headers.contains("Upgrade") { "" } else { "Connection: close\r\n" };
        let request = format!(
            "GET /c/chat HTTP/1.1\r\nHost: localhost\r\n{close}Authorization: Bearer {token}\r\n{headers}\r\n"
        );
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A WebSocket gets 4401 and then waits for our Close.
        let read = async {
            while stream.read_buf(&mut answer).await.is_ok_and(|count| count > 0) {
                if answer.windows(2).any(|pair| pair == 4401_u16.to_be_bytes()) {
                    break;
                }
            }
        };
        timeout(SOON, read).await.expect("it ends");
        assert!(now() >= until, "it ended before its time: {headers}");
        let answer = String::from_utf8_lossy(&answer);
        let parked = headers.starts_with("Prefer");
        assert!(answer.starts_with(if parked { "HTTP/1.1 401" } else { "HTTP/1.1 " }), "{answer}");
        assert!(!parked || answer.contains("error=\"invalid_token\""), "{answer}");
    }
}
