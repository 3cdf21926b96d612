//! Connections that send their request slowly, or nothing: they do not block others.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::pki_types::ServerName;
use sockeye_server::ServerOptions;
use sockeye_testing::http2::{PREFACE, SETTINGS};
use sockeye_testing::others_run;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::client::{SOON, TestServer, read_to_end};
use crate::connection_limits::stay;
use crate::tls::certified;
use crate::unix::UnixServer;

const GET: &[u8] = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// An empty frame of SETTINGS (RFC 9113 §6.5).
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

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

/// Whether the server speaks HTTP/2: the first frame is SETTINGS.
async fn speaks_http2(mut stream: impl AsyncRead + AsyncWrite + Unpin, pieces: &[&[u8]]) -> bool {
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        // So that the pieces come one by one; where they come together, the answer is the same.
        others_run().await;
    }
    let mut frame = [0; 9];
    timeout(SOON, stream.read_exact(&mut frame)).await.unwrap().unwrap();
    frame[3] == SETTINGS
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_oldest_silent_one() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(4)).await;
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

/// What has arrived on an evicted connection changes nothing: its permit is gone.
#[tokio::test]
async fn a_burst_of_whole_requests_does_not_pass_the_bound() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(8)).await;
    let head = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // One that was refused already is counted below.
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
    // A request that arrives while its connection ends gets no response.
    assert!(served + refused >= 190, "{served} served, {refused} told");
    assert_eq!(server.metric("sockeye_open_connections").await, served as f64);
}

#[tokio::test]
async fn a_half_head_keeps_its_permit_for_a_second_and_is_then_evicted() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(1)).await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /c/chat HTTP/1.1\r\n").await.unwrap();
    let let_in = server.has_room();
    timeout(Duration::from_secs(9), let_in).await.expect("before the head's own deadline");
    let told = read_to_end(half).await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
}

#[tokio::test]
async fn by_tls_silent_connections_delay_no_other() {
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
    // A part of a first message costs no work either.
    for stream in &mut silent[..150] {
        stream.write_all(&[0x16, 3, 1]).await.unwrap();
    }
    let begun = Instant::now();
    assert!(get_by_tls(&server, &tls).await.starts_with("HTTP/1.1 200 "));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stalled_handshake_is_evicted_for_one_that_waits() {
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
async fn by_tls_a_new_connection_takes_the_place_of_the_oldest_silent_one() {
    let (server, tls) = secure(|options| options.channels.max_connections = Some(3)).await;
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
        assert!(speaks_http2(stream, &[first, second, &EMPTY_SETTINGS]).await, "{cut}");
    }
    // What only begins like it is something else.
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert!(!speaks_http2(stream, &[b"P", b"URGE / HTTP/1.1\r\nHost: localhost\r\n\r\n"]).await);
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_evicted() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(1)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&EMPTY_SETTINGS).await.unwrap();
    stream.readable().await.unwrap();
    let let_in = server.has_room();
    timeout(Duration::from_secs(9), let_in).await.expect("before the idle connection's end");
}

/// A client behind a proxy on a Unix socket has an address, if that proxy is trusted.
#[tokio::test]
async fn a_trusted_proxy_on_a_unix_socket_gives_the_clients_address() {
    for (trusted, statuses) in [(true, ["200", "429", "200"]), (false, ["200", "429", "429"])] {
        let server = UnixServer::with(|options| {
            options.channels.max_connections_per_address = Some(1);
            options.channels.trust_proxy =
                trusted.then(|| "unix".parse().unwrap()).into_iter().collect();
        })
        .await;
        let mut open = Vec::new();
        for (address, status) in ["192.0.2.1", "192.0.2.1", "192.0.2.2"].into_iter().zip(statuses) {
            let mut stream = server.connect().await;
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
    let server = UnixServer::with(|options| options.channels.max_connections = Some(3)).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(server.connect().await);
    }
    let http2 = server.connect().await;
    assert!(speaks_http2(http2, &[PREFACE, &EMPTY_SETTINGS]).await);
    assert!(get(server.connect().await).await.starts_with("HTTP/1.1 200 "));
    let mut rest = Vec::new();
    timeout(SOON, silent.remove(0).read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty(), "it made room");
}

/// The response comes before the end of the request; closing at once would reset the connection.
#[tokio::test]
async fn a_refused_client_reads_why_though_it_is_still_sending() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(1)).await;
    let _one = stay(&server).await;
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
