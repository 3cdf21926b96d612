//! What trusted proxies say of their clients, in headers and in the PROXY protocol.

use http::{Method, StatusCode};
use serde_json::Value;
use sockeye_server::{BindError, Server, ServerOptions};
use sockeye_testing::http2;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::client::{Answer, SOON, TestServer, read_to_end};
use crate::tls::Secure;

/// What a proxy at a loopback address writes.
fn behind_a_proxy(options: &mut ServerOptions) {
    options.channels.trust_proxy = vec!["127.0.0.1".parse().unwrap()];
}

fn announced(options: &mut ServerOptions) {
    behind_a_proxy(options);
    options.proxy_protocol = true;
}

/// The address of a subscription.
async fn listener(server: &TestServer) -> Value {
    server.has_readers(1).await;
    server.operate("/connections").await.json()["connections"][0]["address"].clone()
}

async fn send(mut stream: impl AsyncWriteExt + Unpin, begin: &[u8], path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(&[begin, request.as_bytes()].concat()).await.unwrap();
}

const LISTEN: &str = "/c/chat?wait=60";

#[tokio::test]
async fn clients_are_known_by_what_a_proxy_says() {
    let server = TestServer::with(behind_a_proxy).await;
    for (header, client) in [
        ("X-Forwarded-For: 203.0.113.9:4711", "203.0.113.9"),
        ("X-Forwarded-For: 1.2.3.4, [2001:db8::1]:80", "2001:db8::1"),
        ("Forwarded: for=\"[2001:db8::1]:80\";proto=https", "2001:db8::1"),
        ("Forwarded: for=1.2.3.4, for=203.0.113.9", "203.0.113.9"),
        ("X-Forwarded-For: nonsense", "127.0.0.1"),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {LISTEN} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(listener(&server).await, client, "{header}");
        drop(stream);
        server.has_readers(0).await;
    }
}

/// A page's request behind a proxy that speaks TLS and has a name of its own.
async fn page(server: &TestServer, headers: &[(&str, &str)]) -> Answer {
    let mut request = server.request(Method::GET, "/c/chat");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.header("Origin", "https://live.example.org"), "").await
}

#[tokio::test]
async fn pages_of_the_origin_that_a_proxy_serves_are_the_servers_own() {
    let own = [
        &[("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "live.example.org")][..],
        &[("Forwarded", "for=203.0.113.9;proto=https;host=live.example.org")],
    ];
    let trusting = TestServer::with(behind_a_proxy).await;
    let other = TestServer::start().await;
    for headers in own {
        assert_eq!(page(&trusting, headers).await.status, StatusCode::OK, "{headers:?}");
        page(&other, headers).await.assert_problem(403, "bad_origin");
    }
    for headers in [
        &[][..],
        &[("X-Forwarded-Host", "live.example.org")],
        &[("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "live.example.org")],
        &[("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "example.org")],
    ] {
        page(&trusting, headers).await.assert_problem(403, "bad_origin");
    }
}

/// The host of the request itself may still be loopback's alone: a page that has found a name for this
/// machine can write any header.
#[tokio::test]
async fn what_a_proxy_says_opens_no_other_name() {
    let server = TestServer::with(behind_a_proxy).await;
    let request = http::Request::builder().uri("/c/chat").header("Host", "rebound.example.org");
    let answer = server.send(request.header("X-Forwarded-Host", "localhost"), "").await;
    answer.assert_problem(403, "bad_origin");
}

/// Headers of the PROXY protocol: version 1, version 2, and version 2 of a client that came by TLS.
fn headers() -> [Vec<u8>; 3] {
    let v2 = |tlvs: &[u8]| {
        let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 1, 2, 3, 4];
        let length = [0, (addresses.len() + tlvs.len()) as u8];
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &addresses, tlvs].concat()
    };
    [
        b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n".to_vec(),
        v2(&[]),
        v2(&[0x20, 0, 5, 1, 0, 0, 0, 0]),
    ]
}

#[tokio::test]
async fn a_proxy_gives_the_clients_address_before_the_first_byte() {
    let server = TestServer::with(announced).await;
    for header in headers() {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        send(&mut stream, &header, LISTEN).await;
        assert_eq!(listener(&server).await, "203.0.113.9");
        drop(stream);
        server.has_readers(0).await;
        // In pieces, and with the preface of HTTP/2 behind it.
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let preface = [http2::PREFACE, &http2::frame(http2::SETTINGS, 0, 0, b"")].concat();
        for byte in header.iter().chain(&preface) {
            stream.write_all(&[*byte]).await.unwrap();
        }
        let mut frame = [0; 9];
        timeout(SOON, stream.read_exact(&mut frame)).await.unwrap().unwrap();
        assert_eq!(frame[3], http2::SETTINGS);
    }
    // The proxy itself, which checks whether the server is alive.
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut stream = stream;
    stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    send(&mut stream, b"", LISTEN).await;
    assert_eq!(listener(&server).await, "127.0.0.1");
}

#[tokio::test]
async fn a_proxy_says_it_before_tls_and_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = format!("unix:{}", path.display()).parse().unwrap();
    let secure = Secure::with(|options| {
        announced(options);
        options.channels.trust_proxy.push("unix".parse().unwrap());
        options.listen.push(listen);
    })
    .await;
    for header in headers() {
        let mut stream = TcpStream::connect(secure.server.address).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let mut stream = secure.over(stream).await;
        send(&mut stream, b"", LISTEN).await;
        assert_eq!(listener(&secure.server).await, "203.0.113.9");
        drop(stream);
        secure.server.has_readers(0).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        send(&mut stream, &header, LISTEN).await;
        assert_eq!(listener(&secure.server).await, "203.0.113.9");
        drop(stream);
        secure.server.has_readers(0).await;
    }
}

#[tokio::test]
async fn a_client_that_came_to_the_proxy_by_tls_has_an_https_origin() {
    let server = TestServer::with(|options| {
        announced(options);
        options.channels.open = true;
    })
    .await;
    let request = "GET /c/chat HTTP/1.1\r\nHost: live.example.org\r\nConnection: close\r\n\
                   Origin: https://live.example.org\r\n\r\n";
    for (header, status) in headers().into_iter().zip([403, 403, 200]) {
        let answer = server.send_raw([&header, request.as_bytes()].concat()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_say_it_is_not_served() {
    let server = TestServer::with(announced).await;
    for begin in ["", "PROXY TCP4 nonsense\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        send(&mut stream, begin.as_bytes(), "/c/chat").await;
        assert_eq!(read_to_end(stream).await, "");
    }
    // Others begin with their request; their headers are not trusted.
    let server = TestServer::with(|options| {
        options.channels.trust_proxy = vec!["192.0.2.1".parse().unwrap()];
        options.proxy_protocol = true;
    })
    .await;
    assert_eq!(server.get("/c/chat").await.status, StatusCode::OK);
    let [line, ..] = headers();
    let answer = server.send_raw([&line, &b"GET / HTTP/1.1\r\n\r\n"[..]].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn clients_behind_a_proxy_have_their_own_limit() {
    let server = TestServer::with(|options| {
        announced(options);
        options.channels.max_connections_per_address = Some(1);
    })
    .await;
    let ask = async |client: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let line = format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n");
        send(&mut stream, line.as_bytes(), "/c/chat").await;
        let mut answer = [0; 12];
        timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        (stream, String::from_utf8(answer.to_vec()).unwrap())
    };
    let (_first, answer) = ask("203.0.113.9").await;
    assert_eq!(answer, "HTTP/1.1 200");
    assert_eq!(ask("203.0.113.9").await.1, "HTTP/1.1 429");
    assert_eq!(ask("203.0.113.10").await.1, "HTTP/1.1 200");
}

/// Each long-lived HTTP/2 stream counts for the client that the proxy has named.
#[tokio::test]
async fn a_client_behind_a_proxy_has_its_limit_on_http_2_too() {
    let server = TestServer::with(|options| {
        announced(options);
        options.channels.max_connections_per_address = Some(2);
    })
    .await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n").await.unwrap();
    let connection = sockeye::http2::Connection::over(stream).await.unwrap();
    let client = sockeye::Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let _both = [
        connection.open(client.clone()).await.unwrap(),
        connection.open(client.clone()).await.unwrap(),
    ];
    let refused = connection.open(client).await.unwrap_err();
    assert!(refused.to_string().contains("429"), "{refused}");
}

/// The permit of a connection is used as long as what a proxy opened on it is open.
#[tokio::test]
async fn a_websocket_behind_a_proxy_keeps_the_place_of_its_connection() {
    let server = TestServer::with(|options| {
        behind_a_proxy(options);
        options.channels.max_connections = Some(1);
    })
    .await;
    let client = sockeye::Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let name = http::HeaderName::from_static("x-forwarded-for");
    let client = client.header(name, "203.0.113.9");
    let socket = client.connect().await.unwrap();
    server.has_readers(1).await;
    server.get("/c/chat").await.assert_problem(503, "unavailable");
    drop(socket);
}

#[tokio::test]
async fn the_proxy_protocol_needs_a_proxy() {
    let mut options = ServerOptions::default();
    options.proxy_protocol = true;
    let refused = Server::bind(options).await.unwrap_err();
    assert!(matches!(refused, BindError::NoProxy), "{refused}");
}
