//! WebSockets inside a program that speaks HTTP with hyper.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod http;

use std::{convert::Infallible, net::SocketAddr};

use ::http::{HeaderValue, Request, Response, header::ORIGIN};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sockeye::{Client, CloseCode, Config, Refusal, Upgrade, WebSocket, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};

use crate::http::{HANDSHAKE, assert_refuses_all, exchange, read_head};

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        socket.send(message).await.unwrap();
    }
}

async fn answer(mut request: Request<Incoming>) -> Response<String> {
    let upgrade = match Upgrade::new(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into(),
    };
    match request.uri().path() {
        "/must" => upgrade.subprotocol("v1").on_upgrade(echo),
        "/header" => upgrade.header("x-room", "lobby").on_upgrade(echo),
        "/wrong-header" => upgrade.header("x-room", "lob\nby").on_upgrade(echo),
        "/by-hand" => by_hand(upgrade).unwrap_or_else(Refusal::into),
        _ => upgrade.config(Config::default().max_message_size(10)).on_upgrade(echo),
    }
}

/// The same in two steps.
fn by_hand(upgrade: Upgrade) -> Result<Response<String>, Refusal> {
    let (response, opening) = upgrade.accept()?;
    tokio::spawn(async move { echo(opening.open().await.unwrap()).await });
    Ok(response.map(|()| String::new()))
}

async fn serve_one(stream: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    // How a connection with a client that is refused ends is for the test to see at its other end.
    let _ = http1::Builder::new().serve_connection(stream, service).with_upgrades().await;
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_one(TokioIo::new(stream)));
        }
    });
    address
}

async fn assert_echoes(socket: &mut WebSocket) {
    socket.send("hello").await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
}

#[tokio::test]
async fn a_websocket_opens_on_a_request_of_hyper() {
    let address = server().await;
    for path in ["/", "/by-hand"] {
        let mut socket = connect(format!("ws://{address}{path}")).await.unwrap();
        assert_echoes(&mut socket).await;
        assert!(socket.close(CloseCode::NORMAL).await.is_clean());
    }
    let client = Client::new(format!("ws://{address}/header")).unwrap();
    let own = HeaderValue::try_from(format!("http://{address}")).unwrap();
    let opened = client.header(ORIGIN, own).open().await.unwrap();
    assert_eq!(opened.response.headers()["x-room"], "lobby");
}

#[tokio::test]
async fn an_invalid_header_is_not_sent() {
    let handshake = HANDSHAKE.replacen("/chat", "/wrong-header", 1);
    assert_eq!(exchange(server().await, &handshake).await.status, 500);
}

/// Rules: W41, W43, W52.
#[tokio::test]
async fn hyper_refuses_what_a_server_of_ones_own_refuses() {
    assert_refuses_all(server().await).await;
}

/// Rule: W46.
#[tokio::test]
async fn a_subprotocol_that_was_not_offered_is_not_agreed_on() {
    let handshake = HANDSHAKE.replacen("/chat", "/must", 1);
    assert_eq!(exchange(server().await, &handshake).await.status, 500);
}

#[tokio::test]
async fn the_settings_of_an_upgrade_hold() {
    let mut socket = connect(format!("ws://{}/", server().await)).await.unwrap();
    socket.send("longer than 10 bytes").await.unwrap();
    while socket.recv().await.is_some_and(|message| message.is_ok()) {}
    assert_eq!(socket.closed().unwrap().received.frame().unwrap().code().as_u16(), 1009);
}

#[tokio::test]
async fn frames_that_hyper_has_read_ahead_are_not_lost() {
    let frame = b"\x81\x85\0\0\0\0hello";
    let together = [HANDSHAKE.as_bytes(), frame].concat();
    let mut stream = TcpStream::connect(server().await).await.unwrap();
    stream.write_all(&together).await.unwrap();
    assert_eq!(read_head(&mut stream, "").await.status, 101);
    let mut echo = [0; 7];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x05hello");
}

#[tokio::test]
async fn any_transport_below_hyper_will_do() {
    let (near, far): (DuplexStream, DuplexStream) = duplex(100);
    tokio::spawn(serve_one(TokioIo::new(far)));
    let opened = Client::new("ws://localhost/").unwrap().open_over(near).await.unwrap();
    assert_echoes(&mut { opened.socket }).await;
}
