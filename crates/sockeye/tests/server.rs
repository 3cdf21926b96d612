//! A server of one's own: what its handlers see, which requests are refused, and how it stops.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod http;

use std::{future::pending, net::SocketAddr, time::Duration};

use ::http::{HeaderName, HeaderValue, StatusCode};
use sockeye::{
    AcceptError, Client, CloseCode, CloseFrame, Config, ConnectError, Connections, Incoming,
    Listener, ResponseError, Server, WebSocket, connect,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::http::{HANDSHAKE, assert_refuses_all, exchange, exchange_on, read_answer, read_head};

/// Longer than any test may take: what waits for this has not waited.
const FOREVER: Duration = Duration::from_secs(3600);
/// Nothing here takes that long unless it hangs.
const SOON: Duration = Duration::from_secs(60);

type HandlerError = Box<dyn std::error::Error + Send + Sync>;

async fn server() -> Server {
    Server::bind("127.0.0.1:0").await.unwrap()
}

async fn echo(incoming: Incoming) -> Result<(), HandlerError> {
    let mut socket = incoming.accept().await?;
    while let Some(message) = socket.recv().await {
        socket.send(message?).await?;
    }
    Ok(())
}

/// A server that echoes until it is told to stop.
struct Running {
    address: SocketAddr,
    connections: Connections,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Running {
    fn new(server: Server) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            address: server.local_addr().unwrap(),
            connections: server.connections(),
            stop,
            server: tokio::spawn(server.run_until(stopped, echo)),
        }
    }

    async fn connect(&self) -> WebSocket {
        let mut socket = connect(format!("ws://{}/", self.address)).await.unwrap();
        assert_echoes(&mut socket).await;
        socket
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap();
    }
}

async fn assert_echoes(socket: &mut WebSocket) {
    socket.send("hello").await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
}

/// How the connection ended for a client that had nothing more to say.
async fn close_of(mut socket: WebSocket) -> (u16, String) {
    while let Some(message) = socket.recv().await {
        message.unwrap();
    }
    let closed = socket.closed().unwrap();
    (closed.code(), closed.reason().to_owned())
}

fn status(error: &ConnectError) -> StatusCode {
    match error {
        ConnectError::Response(ResponseError::Status(response)) => response.status(),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_handler_sees_the_request_and_shapes_the_answer() {
    let server = server().await;
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(|incoming: Incoming| async {
        assert_eq!((incoming.path(), incoming.query()), ("/a%20b", Some("c=d")));
        assert_eq!(incoming.headers()["x-from"], "here");
        assert_eq!(incoming.subprotocols().collect::<Vec<_>>(), ["v1", "v2"]);
        assert!(incoming.peer_addr().ip().is_some_and(|ip| ip.is_loopback()));
        let origin = incoming.origin().unwrap().to_owned();
        let header = HeaderName::from_static("x-origin");
        incoming
            .subprotocol_of(["v3", "v2", "v1"])
            .header(header, HeaderValue::try_from(origin).unwrap())
            .accept()
            .await
            .map(drop)
    }));
    let opened = Client::new(format!("ws://{address}/a b?c=d"))
        .unwrap()
        .header(HeaderName::from_static("x-from"), HeaderValue::from_static("here"))
        .header(::http::header::ORIGIN, HeaderValue::try_from(format!("http://{address}")).unwrap())
        .subprotocol("v1")
        .subprotocol("v2")
        .open()
        .await
        .unwrap();
    assert_eq!(opened.socket.subprotocol(), Some("v2"));
    assert_eq!(opened.response.headers()["x-origin"], format!("http://{address}").as_str());
    assert_eq!(close_of(opened.socket).await.0, 1001);
}

/// Rules: W41, W43, W45, W46, W52.
#[tokio::test]
async fn handshakes_are_refused_as_http_has_it() {
    let server = Running::new(server().await);
    assert_refuses_all(server.address).await;
    let answer = exchange(server.address, &HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!(answer.status, 505);
    let answer = exchange(server.address, &format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000))).await;
    assert_eq!(answer.status, 414);
    server.connect().await;
}

/// Rules: W43, W45.
#[tokio::test]
async fn a_handler_refuses_with_any_answer() {
    let server = server().await;
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        incoming.refuse(StatusCode::NOT_FOUND, "only /chat is here").await;
        Ok::<(), AcceptError>(())
    }));
    let answer = exchange(address, HANDSHAKE).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, "only /chat is here\n"));
    let error = connect(format!("ws://{address}/")).await.unwrap_err();
    assert_eq!(status(&error), StatusCode::NOT_FOUND);
}

/// Rules: W46, W47.
#[tokio::test]
async fn only_a_subprotocol_that_was_offered_is_agreed_on() {
    let server = server().await;
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        match incoming.path() {
            "/any" => incoming.subprotocol_of(["v1"]).accept().await.map(drop),
            _ => incoming.subprotocol("v1").accept().await.map(drop),
        }
    }));
    let socket = connect(format!("ws://{address}/any")).await.unwrap();
    assert_eq!(socket.subprotocol(), None);
    let error = connect(format!("ws://{address}/must")).await.unwrap_err();
    assert_eq!(status(&error), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_refused() {
    let server = Running::new(server().await.handshake_timeout(Duration::from_millis(50)));
    assert_eq!(exchange(server.address, "GET / HTTP/1.1\r\n").await.status, 408);
}

#[tokio::test]
async fn one_server_serves_several_listeners_also_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    // The file of a server that died.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [second.local_addr().unwrap()];
    let unix = Listener::bind_unix(&path).await.unwrap();
    assert!(Listener::bind_unix(&path).await.is_err(), "another listener is there");
    let server = Running::new(server().await.listener(second).listener(unix));
    server.connect().await;
    for address in addresses {
        assert_echoes(&mut connect(format!("ws://{address}/")).await.unwrap()).await;
    }
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut opened = Client::new("ws://localhost/").unwrap().open_over(stream).await.unwrap();
    assert_echoes(&mut opened.socket).await;
    drop(opened);
    server.stop().await;
    assert!(!path.exists(), "the file is taken away");
}

#[tokio::test]
async fn a_full_server_refuses_with_503_until_a_connection_ends() {
    let server = server().await.max_connections(1).retry_after(Duration::from_secs(7));
    let server = Running::new(server);
    let mut first = server.connect().await;
    let answer = exchange(server.address, HANDSHAKE).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    first.close(CloseCode::NORMAL).await;
    server.connect().await;
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_refused_with_429() {
    let server = Running::new(server().await.max_connections_per_ip(1));
    let mut first = server.connect().await;
    let answer = exchange(server.address, HANDSHAKE).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("5")));
    first.close(CloseCode::NORMAL).await;
    server.connect().await;
}

#[tokio::test]
async fn clients_beyond_the_handshakes_at_once_wait_for_their_turn() {
    let server = Running::new(server().await.max_handshakes(1));
    // A silent one has no place.
    let _silent = TcpStream::connect(server.address).await.unwrap();
    server.connect().await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"n").await.unwrap();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    // Only when this is answered does the slow one hold the only place.
    let mut waiting = std::pin::pin!(server.connect());
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("no other has a turn"),
        () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(exchange_on(&mut slow, "onsense\r\n\r\n").await.status, 400);
    drop(slow);
    waiting.await;
}

/// One that stalls has its place for a second while others wait for it.
#[tokio::test]
async fn silent_and_stalled_connections_keep_no_other_waiting() {
    let server = Running::new(server().await.max_handshakes(2).handshake_timeout(FOREVER));
    let mut strangers = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        if number < 2 {
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        }
        strangers.push(stream);
    }
    for _ in 0..3 {
        timeout(SOON, server.connect()).await.expect("it is let in");
    }
}

/// By TLS a part of a first message is nothing to work on, so it has no place at all.
#[cfg(feature = "tls")]
#[tokio::test]
async fn by_tls_silent_connections_delay_no_other() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = sockeye::tls::ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = server().await.tls(tls).max_handshakes(1).handshake_timeout(FOREVER);
    let server = Running::new(server);
    let mut strangers = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[0x16, 3, 1]).await.unwrap();
        }
        strangers.push(stream);
    }
    let trusted = sockeye::tls::ClientTls::new().without_system_roots();
    let trusted = trusted.root_pem(certificate.as_bytes()).unwrap();
    let url = format!("wss://localhost:{}/", server.address.port());
    let client = Client::new(&url).unwrap().tls(trusted).connect();
    timeout(SOON, client).await.expect("it is let in").unwrap();
}

#[tokio::test]
async fn a_broadcast_reaches_every_connection() {
    let server = Running::new(server().await);
    let mut clients = Vec::new();
    for number in 0..100 {
        assert_eq!(server.connections.len(), number);
        clients.push(server.connect().await);
    }
    let broadcast = server.connections.broadcast("news").await;
    assert_eq!((broadcast.sent, broadcast.slow.len()), (100, 0));
    for client in &mut clients {
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some("news"));
    }
    for client in &mut clients {
        client.close(CloseCode::NORMAL).await;
    }
    while !server.connections.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broadcast_passes_over_clients_that_do_not_read() {
    let server = Running::new(server().await);
    let mut reading = server.connect().await;
    let _silent = server.connect().await;
    let large = sockeye::Prepared::new(vec![0; 60 << 10]);
    let slow = loop {
        let broadcast = server.connections.broadcast_prepared(&large).await;
        if let Ok([slow]) = <[_; 1]>::try_from(broadcast.slow) {
            assert_eq!(broadcast.sent, 1);
            break slow;
        }
        assert_eq!(reading.recv().await.unwrap().unwrap().len(), 60 << 10);
    };
    assert!(slow.buffered_amount() >= 64 << 10);
}

#[tokio::test]
async fn all_connections_can_be_closed_while_the_server_goes_on() {
    let server = Running::new(server().await);
    let clients = [server.connect().await, server.connect().await];
    let policy = CloseCode::POLICY_VIOLATION;
    server.connections.close_all(CloseFrame::new(policy, "out").unwrap());
    for client in clients {
        assert_eq!(close_of(client).await, (1008, "out".to_owned()));
    }
    server.connect().await;
}

#[tokio::test]
async fn a_set_of_ones_own_takes_connections_of_any_kind() {
    let server = Running::new(server().await);
    let set = Connections::new();
    let client = server.connect().await;
    set.insert(&client);
    assert_eq!(set.writers().count(), 1);
    drop(client);
    while !set.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(set.shutdown(CloseCode::GOING_AWAY, FOREVER).await, 0);
    let late = server.connect().await;
    set.insert(&late);
    assert_eq!(set.shutdown(CloseCode::GOING_AWAY, FOREVER).await, 0);
    assert!(late.closed().is_some());
}

/// Its Close was its last word, so there is nothing more to hear.
#[tokio::test]
async fn a_client_that_was_sent_a_close_frees_its_permit_though_it_holds_its_end_open() {
    let config = Config::default().close_timeout(FOREVER);
    let server = Running::new(server().await.config(config));
    let mut client = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_head(&mut client, HANDSHAKE).await.status, 101);
    client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    let mut close = Vec::new();
    client.read_to_end(&mut close).await.unwrap();
    assert_eq!(close, [0x88, 0]);
    while !server.connections.is_empty() {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_says_1001_or_what_it_is_told_to_say() {
    let server_a = Running::new(server().await);
    let client = server_a.connect().await;
    let (close_a, ()) = tokio::join!(close_of(client), server_a.stop());
    assert_eq!(close_a, (1001, String::new()));
    let restart = CloseFrame::new(CloseCode::SERVICE_RESTART, "back soon").unwrap();
    let server_b = Running::new(server().await.shutdown_close(restart));
    let client = server_b.connect().await;
    let (close_b, ()) = tokio::join!(close_of(client), server_b.stop());
    assert_eq!(close_b, (1012, "back soon".to_owned()));
}

#[tokio::test]
async fn a_server_without_connections_stops_at_once() {
    let server = Running::new(server().await.shutdown_timeout(FOREVER));
    let mut gone = server.connect().await;
    gone.close(CloseCode::NORMAL).await;
    let address = server.address;
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(TcpStream::connect(address).await.is_err(), "it does not listen any more");
}

#[tokio::test]
async fn what_was_sent_before_the_server_stops_arrives() {
    let server = server().await;
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run_until(stopped, |incoming: Incoming| async {
        let mut socket = incoming.accept().await?;
        for _ in 0..100 {
            socket.send(vec![0; 1000]).await?;
        }
        while socket.recv().await.is_some() {}
        Ok::<(), HandlerError>(())
    }));
    let mut client = connect(&url).await.unwrap();
    for _ in 0..50 {
        client.recv().await.unwrap().unwrap();
    }
    stop.send(()).unwrap();
    for _ in 50..100 {
        client.recv().await.unwrap().unwrap();
    }
    assert_eq!(close_of(client).await.0, 1001);
    server.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_is_cut_at_the_deadline() {
    let config = Config::default().close_timeout(FOREVER);
    let server = server().await.config(config).shutdown_timeout(Duration::from_millis(50));
    let server = Running::new(server);
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_head(&mut silent, HANDSHAKE).await.status, 101);
    server.stop().await;
    let mut close = [0; 4];
    silent.read_exact(&mut close).await.unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xe9], "a Close with 1001");
    assert_eq!(silent.read(&mut close).await.unwrap_or(0), 0, "then the end");
}

#[tokio::test]
async fn handlers_that_do_not_end_are_cancelled_at_the_deadline() {
    let server = server().await.shutdown_timeout(Duration::from_millis(50));
    let address = server.local_addr().unwrap();
    let (started, mut starts) = mpsc::channel::<mpsc::Sender<()>>(1);
    let (alive, mut over) = mpsc::channel::<()>(1);
    started.send(alive).await.unwrap();
    let alive = starts.recv().await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run_until(stopped, move |incoming: Incoming| {
        let alive = alive.clone();
        async move {
            alive.send(()).await.unwrap();
            // Neither accepted nor refused.
            let _waits = incoming;
            pending::<Result<(), AcceptError>>().await
        }
    }));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    over.recv().await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0, "the connection is closed");
    assert_eq!(over.recv().await, None, "the handler is gone");
}

#[tokio::test]
async fn clients_in_their_handshake_are_refused_with_503_when_the_server_stops() {
    let server = server().await.shutdown_timeout(FOREVER);
    let (seen, mut sees) = mpsc::channel(1);
    let (go, mut goes) = tokio::sync::watch::channel(false);
    let address = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    goes.mark_unchanged();
    let server = tokio::spawn(server.run_until(stopped, move |incoming: Incoming| {
        let (seen, mut goes) = (seen.clone(), goes.clone());
        async move {
            seen.send(()).await.unwrap();
            goes.wait_for(|go| *go).await.unwrap();
            assert!(matches!(incoming.accept().await, Err(AcceptError::Stopping)));
            Ok::<(), AcceptError>(())
        }
    }));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut asked = TcpStream::connect(address).await.unwrap();
    asked.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    sees.recv().await.unwrap();
    stop.send(()).unwrap();
    let answer = read_answer(&mut silent).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    go.send(true).unwrap();
    assert_eq!(read_answer(&mut asked).await.status, 503);
    drop((silent, asked));
    server.await.unwrap();
}

#[tokio::test]
async fn connections_go_on_when_a_server_is_dropped() {
    let server = Running::new(server().await);
    let mut client = server.connect().await;
    server.server.abort();
    assert!(server.server.await.unwrap_err().is_cancelled());
    assert_echoes(&mut client).await;
}
