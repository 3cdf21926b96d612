//! WebSockets over streams that the program has from elsewhere, and in memory.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;

use std::time::Duration;

use common::soon;
use http::StatusCode;
use sockeye::{
    AcceptError, Client, CloseCode, Config, DeflateConfig, Failure, Incoming, Limit, Origins,
    PeerAddr, Role, WebSocket, accept,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    time::Instant,
};

async fn assert_talks(client: &mut WebSocket, server: &mut WebSocket) {
    client.send("there").await.unwrap();
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some("there"));
    server.send("and back").await.unwrap();
    assert_eq!(soon(client.recv()).await.unwrap().unwrap().as_text(), Some("and back"));
    let (closed, end) = soon(async { tokio::join!(client.close(None), server.recv()) }).await;
    assert!(closed.is_clean() && end.is_none());
}

#[tokio::test]
async fn a_client_is_answered_on_any_stream() {
    let (near, far) = duplex(64);
    let client = Client::new("ws://anywhere/chat").unwrap().open_over(near);
    let (client, server) = soon(async { tokio::join!(client, accept(far)) }).await;
    assert_talks(&mut client.unwrap().socket, &mut server.unwrap()).await;
}

#[tokio::test]
async fn what_is_asked_on_a_stream_can_be_looked_at_chosen_and_refused() {
    let (near, far) = duplex(1024);
    let client = Client::new("ws://anywhere/chat").unwrap().subprotocol("chat");
    let client = client.deflate(DeflateConfig::default()).open_over(near);
    let answer = async {
        let incoming = Incoming::from_stream(far, Origins::default()).await.unwrap();
        assert_eq!((incoming.path(), incoming.peer_addr()), ("/chat", PeerAddr::Other));
        let incoming = incoming.subprotocol_of(["chat"]).deflate(DeflateConfig::default());
        incoming.accept().await.unwrap()
    };
    let (client, mut server) = soon(async { tokio::join!(client, answer) }).await;
    let mut client = client.unwrap().socket;
    assert_eq!(client.subprotocol(), Some("chat"));
    assert!(server.deflate().is_some());
    assert_talks(&mut client, &mut server).await;

    let (near, far) = duplex(1024);
    let client = Client::new("ws://anywhere/nowhere").unwrap().open_over(near);
    let answer = async {
        let incoming = Incoming::from_stream(far, Origins::default()).await.unwrap();
        incoming.refuse(StatusCode::NOT_FOUND, "only /chat is here").await;
    };
    let (client, ()) = soon(async { tokio::join!(client, answer) }).await;
    assert!(client.unwrap_err().to_string().contains("404"));
}

/// What `accept` says to these bytes, and what it answers.
async fn refused(request: &str) -> (AcceptError, String) {
    let (mut near, far) = duplex(4096);
    let asks = async {
        near.write_all(request.as_bytes()).await.unwrap();
        near.shutdown().await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (error, answer) = soon(async { tokio::join!(accept(far), asks) }).await;
    (error.unwrap_err(), answer)
}

#[tokio::test]
async fn a_request_on_a_stream_that_is_not_in_order_is_refused_and_the_program_is_told() {
    let (error, answer) = refused("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(matches!(&error, AcceptError::Refused(refusal) if refusal.status() == 426), "{error}");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");

    let foreign = "GET / HTTP/1.1\r\nHost: test\r\nOrigin: https://evil.example\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let (error, answer) = refused(foreign).await;
    assert!(error.to_string().contains("403"), "{error}");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");

    let (error, answer) = refused("GET / HT").await;
    assert!(matches!(error, AcceptError::Io(_)), "{error}");
    assert_eq!(answer, "");
}

#[tokio::test(start_paused = true)]
async fn a_client_on_a_stream_that_never_asks_is_given_up() {
    let (mut near, far) = duplex(1024);
    let begun = Instant::now();
    let mut answer = String::new();
    let (error, _) = tokio::join!(accept(far), near.read_to_string(&mut answer));
    assert!(error.unwrap_err().to_string().contains("408"));
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stream_that_was_upgraded_elsewhere_is_a_web_socket() {
    let (near, far) = duplex(64);
    let mut client = WebSocket::from_upgraded(near, Role::Client, Config::default());
    let config = Config::default().max_message_size(100);
    let mut server = WebSocket::from_upgraded(far, Role::Server, config);
    client.send(vec![0; 101]).await.unwrap();
    assert!(soon(server.recv()).await.unwrap().is_err());
    let failure = server.closed().unwrap().failure;
    assert_eq!(failure, Some(Failure::Limit(Limit::MessageSize { max: 100 })));

    // The first frame came together with the handshake.
    let (near, far) = duplex(64);
    let mut client = WebSocket::from_upgraded(near, Role::Client, Config::default());
    client.send("early").await.unwrap();
    let (mut read, write) = split(far);
    let mut early = [0; 4];
    read.read_exact(&mut early).await.unwrap();
    let stream = tokio::io::join(std::io::Cursor::new(early.to_vec()).chain(read), write);
    let mut server = WebSocket::from_upgraded(stream, Role::Server, Config::default());
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some("early"));
    assert_talks(&mut client, &mut server).await;
}

#[tokio::test(start_paused = true)]
async fn a_pair_in_memory_is_a_client_and_a_server() {
    let (mut client, mut server) = WebSocket::pair(Config::default());
    // Far more than the link takes at once.
    let large = vec![7; 1 << 20];
    let (sent, received) = tokio::join!(client.send(large.clone()), server.recv());
    sent.unwrap();
    assert!(received.unwrap().unwrap().as_bytes() == large);
    tokio::time::sleep(Duration::from_hours(24)).await;
    assert_talks(&mut client, &mut server).await;

    let (client, mut server) = WebSocket::pair(Config::default());
    drop(client);
    assert!(server.recv().await.is_none());
    assert_eq!(server.closed().unwrap().code(), 1005);
    let (mut client, server) = WebSocket::pair(Config::default());
    drop(server);
    assert!(client.recv().await.is_none());
    assert_eq!(client.closed().unwrap().code(), u16::from(CloseCode::GOING_AWAY));
}
