//! Connections that are slow to say who they are, or say nothing: they keep nobody waiting.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::pki_types::ServerName;
use sockeye_server::{Listen, Server, ServerOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::client::{SOON, TestServer, read_to_end};
use crate::tls::certified;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const GET: &[u8] = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// An empty frame of SETTINGS (RFC 9113 §6.5).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A server with TLS, and a client that trusts it.
async fn secure(change: impl FnOnce(&mut ServerOptions)) -> (TestServer, TlsConnector) {
    let (tls, trust) = certified("localhost");
    let server = TestServer::with(|options| {
        options.tls = Some(tls);
        change(options);
    })
    .await;
    (server, TlsConnector::from(Arc::new(trust)))
}

/// What a client of HTTP/1.1 gets on this connection.
async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    stream.write_all(GET).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn get_by_tls(server: &TestServer, tls: &TlsConnector) -> String {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    get(timeout(SOON, tls.connect(name, stream)).await.unwrap().unwrap()).await
}

/// Whether the peer is spoken to in HTTP/2: the first frame is SETTINGS.
async fn speaks_http2(mut stream: impl AsyncRead + AsyncWrite + Unpin, pieces: &[&[u8]]) -> bool {
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut frame = [0; 9];
    timeout(SOON, stream.read_exact(&mut frame)).await.unwrap().unwrap();
    frame[3] == SETTINGS[3]
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_oldest_silent_connection() {
    let server = TestServer::with(|options| options.max_connections = Some(4)).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let begun = Instant::now();
    assert_eq!(server.get("/c/chat").await.status, StatusCode::OK);
    assert!(begun.elapsed() < Duration::from_secs(9), "no timeout was awaited");
    assert_eq!(read_to_end(silent.remove(0)).await, "", "it was the oldest");
    // The others are still there.
    assert!(get(silent.pop().unwrap()).await.starts_with("HTTP/1.1 200 "));
}

/// What has arrived on an evicted connection changes nothing: its place is another's.
#[tokio::test]
async fn a_burst_of_whole_requests_does_not_pass_the_bound() {
    let server = TestServer::with(|options| options.max_connections = Some(8)).await;
    let head = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // One that was refused already is told so below.
        let _ = stream.write_all(head).await;
        clients.push(stream);
    }
    let (mut served, mut refused, mut first) = (0, 0, [0; 12]);
    for stream in &mut clients {
        let answered =
            timeout(SOON, stream.read_exact(&mut first)).await.expect("an answer or an end");
        served += usize::from(answered.is_ok() && first == *b"HTTP/1.1 200");
        refused += usize::from(answered.is_ok() && first == *b"HTTP/1.1 503");
    }
    assert!((1..=8).contains(&served), "{served}");
    // A request that is still on its way when its connection ends is not answered.
    assert!(served + refused >= 190, "{served} served, {refused} told");
    let metrics = server.operate("/metrics").await;
    let open = metrics.text().lines().find(|line| line.starts_with("sockeye_open_connections "));
    assert_eq!(open, Some(&*format!("sockeye_open_connections {served}")));
}

#[tokio::test]
async fn a_half_head_keeps_its_place_for_a_second_and_then_makes_room() {
    let server = TestServer::with(|options| options.max_connections = Some(1)).await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /c/chat HTTP/1.1\r\n").await.unwrap();
    let let_in = async {
        while server.get("/c/chat").await.status != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(9), let_in).await.expect("before the head's own deadline");
    let told = read_to_end(half).await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
}

#[tokio::test]
async fn by_tls_silent_connections_keep_nobody_waiting() {
    // More than there may be handshakes, and no place may be waited for.
    let (server, tls) = secure(|options| {
        options.max_handshakes = 2;
        options.head_timeout = SOON * 10;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    // A part of a first message is nothing to work on, either.
    for stream in &mut silent[..150] {
        stream.write_all(&[0x16, 3, 1]).await.unwrap();
    }
    let begun = Instant::now();
    assert!(get_by_tls(&server, &tls).await.starts_with("HTTP/1.1 200 "));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_handshake_that_stalls_makes_room_for_one_that_waits() {
    let (server, tls) = secure(|options| {
        options.max_handshakes = 1;
        options.head_timeout = SOON * 10;
    })
    .await;
    // Its first message, and nothing after that.
    let (mut first_message, name) = (Vec::new(), ServerName::try_from("localhost").unwrap());
    rustls::ClientConnection::new(tls.config().clone(), name)
        .unwrap()
        .write_tls(&mut first_message)
        .unwrap();
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(&first_message).await.unwrap();
    stalled.readable().await.unwrap();
    assert!(get_by_tls(&server, &tls).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn by_tls_a_newcomer_takes_the_place_of_the_oldest_silent_connection() {
    let (server, tls) = secure(|options| options.max_connections = Some(3)).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(get_by_tls(&server, &tls).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(read_to_end(silent.remove(0)).await, "");
}

#[tokio::test]
async fn a_preface_of_http2_may_come_in_pieces() {
    let server = TestServer::start().await;
    for cut in [1, 3, 14, 23] {
        let (first, second) = PREFACE.split_at(cut);
        let stream = TcpStream::connect(server.address).await.unwrap();
        assert!(speaks_http2(stream, &[first, second, &SETTINGS]).await, "{cut}");
    }
    // What begins like it is something else.
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert!(!speaks_http2(stream, &[b"P", b"URGE / HTTP/1.1\r\nHost: localhost\r\n\r\n"]).await);
}

#[tokio::test]
async fn an_http2_connection_without_a_request_makes_room() {
    let server = TestServer::with(|options| options.max_connections = Some(1)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&SETTINGS).await.unwrap();
    stream.readable().await.unwrap();
    let let_in = async {
        while server.get("/c/chat").await.status != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(9), let_in).await.expect("before the idle connection's end");
}

/// Whoever is behind a proxy that comes by a Unix socket has an address, if that proxy is trusted.
#[tokio::test]
async fn a_trusted_proxy_on_a_unix_socket_says_who_asks() {
    for (trusted, statuses) in [(true, ["200", "429", "200"]), (false, ["200", "429", "429"])] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sockeye.sock");
        let mut options = ServerOptions::default();
        options.listen = vec![Listen::Unix(path.clone())];
        options.max_connections_per_address = Some(1);
        options.trust_proxy = trusted.then(|| "unix".parse().unwrap()).into_iter().collect();
        let server = Server::bind(options).await.unwrap();
        tokio::spawn(server.run());
        let mut open = Vec::new();
        for (address, status) in ["192.0.2.1", "192.0.2.1", "192.0.2.2"].into_iter().zip(statuses) {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            let head = format!(
                "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
                 X-Forwarded-For: {address}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
            let told = str::from_utf8(&answer).unwrap();
            assert_eq!(told, format!("HTTP/1.1 {status}"), "{address}, trusted: {trusted}");
            open.push(stream);
        }
    }
}

#[tokio::test]
async fn a_unix_socket_has_the_same_limits_and_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sockeye.sock");
    let mut options = ServerOptions::default();
    options.listen = vec![Listen::Unix(path.clone())];
    options.max_connections = Some(3);
    let server = Server::bind(options).await.unwrap();
    tokio::spawn(server.run());
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    let http2 = UnixStream::connect(&path).await.unwrap();
    assert!(speaks_http2(http2, &[PREFACE, &SETTINGS]).await);
    assert!(get(UnixStream::connect(&path).await.unwrap()).await.starts_with("HTTP/1.1 200 "));
    let mut rest = Vec::new();
    timeout(SOON, silent.remove(0).read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty(), "it made room");
}

/// The answer comes before the end of the request; closing at once would reset the connection.
#[tokio::test]
async fn a_refused_client_reads_why_though_it_is_still_sending() {
    let server = TestServer::with(|options| options.max_connections = Some(1)).await;
    let mut one = TcpStream::connect(server.address).await.unwrap();
    one.write_all(b"HEAD /c/chat HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    one.readable().await.unwrap();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..6 {
            let _ = stream.write_all(&[b'x'; 10_000]).await;
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().expect("it is not reset");
        assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
    }
}
