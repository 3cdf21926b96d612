//! Connections that are idle are evicted for new ones; connections in use are not.

use std::future::poll_fn;
use std::pin::Pin;

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sockeye::{Client, Message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::{SOON, TestServer, read_to_end};
use crate::connection_limits::stay;
use crate::tls::Secure;
use crate::unix::UnixServer;

const PLACES: usize = 50;
const HEAD: &[u8] = b"HEAD /c/chat HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends a request whose response has no body, and returns the status. The connection stays open.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(HEAD).await.unwrap();
    stream.flush().await.unwrap();
    status(stream).await
}

/// The status of a response whose head is read to its end.
async fn status(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(SOON, read).await.expect("an answer");
    String::from_utf8_lossy(&head[9..12]).into_owned()
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// A connection that is idle after a response.
async fn idle(server: &TestServer) -> TcpStream {
    let mut stream = connect(server).await;
    assert_eq!(ask(&mut stream).await, "200");
    stream
}

#[tokio::test]
async fn idle_connections_are_evicted_in_the_order_in_which_they_became_idle() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(PLACES)).await;
    let mut idlers = Vec::new();
    for _ in 0..PLACES {
        idlers.push(idle(&server).await);
    }
    server.until_metric("sockeye_idle_connections", PLACES as f64).await;
    // The first is used again, and is the youngest.
    let mut used = idlers.remove(0);
    assert_eq!(ask(&mut used).await, "200");
    let mut newcomers = Vec::new();
    for _ in 0..PLACES - 1 {
        newcomers.push(idle(&server).await);
    }
    for idler in idlers {
        assert_eq!(read_to_end(idler).await, "", "it ends between two answers");
    }
    assert_eq!(ask(&mut used).await, "200", "it is still there");
    assert_eq!(server.metric("sockeye_connections_evicted_total").await, PLACES as f64 - 1.0);
    assert_eq!(server.metric("sockeye_connections_refused_total").await, 0.0);
    assert!(server.metric("sockeye_open_connections").await <= PLACES as f64);
}

#[tokio::test]
async fn a_connection_in_use_is_not_evicted() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(5)).await;
    let url = format!("ws://{}/c/chat", server.address);
    let mut websocket = Client::new(&url).unwrap().connect().await.unwrap();
    let mut events = stay(&server).await;
    let mut poll = connect(&server).await;
    let waits = b"GET /c/chat?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    poll.write_all(waits).await.unwrap();
    let mut upload = connect(&server).await;
    let begins = b"POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe";
    upload.write_all(begins).await.unwrap();
    // All requests have come.
    server.until_metric("sockeye_pending_connections", 0.0).await;
    // All new connections use the one permit that is left.
    for _ in 0..20 {
        drop(idle(&server).await);
        let _silent = connect(&server).await;
    }
    upload.write_all(b"llo").await.unwrap();
    assert_eq!(status(&mut upload).await, "201");
    assert_eq!(status(&mut poll).await, "200");
    assert_eq!(websocket.recv().await.unwrap().unwrap(), Message::text("hello"));
    let mut told = vec![0; 512];
    timeout(SOON, async {
        let mut all = String::new();
        while !all.contains("hello") {
            let read = events.read(&mut told).await.unwrap();
            assert!(read > 0, "the stream ended");
            all.push_str(&String::from_utf8_lossy(&told[..read]));
        }
    })
    .await
    .expect("the event comes");
}

/// What a client has sent on a connection that ends in this moment is not lost silently.
#[tokio::test]
async fn requests_that_come_while_their_connections_end_do_not_pass_the_bound() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(PLACES)).await;
    let mut idlers = Vec::new();
    for _ in 0..PLACES {
        idlers.push(idle(&server).await);
    }
    server.until_metric("sockeye_idle_connections", PLACES as f64).await;
    let events = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let mut newcomers = Vec::new();
    for idler in &mut idlers {
        newcomers.push(connect(&server).await);
        newcomers.last_mut().unwrap().write_all(events).await.unwrap();
        let _ = idler.write_all(events).await;
    }
    let mut served = 0;
    for stream in idlers.iter_mut().chain(&mut newcomers) {
        let mut first = [0; 12];
        let answered =
            timeout(SOON, stream.read_exact(&mut first)).await.expect("an answer or an end");
        served += usize::from(answered.is_ok() && first == *b"HTTP/1.1 200");
    }
    assert!((1..=PLACES).contains(&served), "{served}");
    assert_eq!(server.metric("sockeye_open_connections").await, served as f64);
}

/// A refused client that keeps sending gets its response, and its connection is read to its end.
#[tokio::test]
async fn lingering_connections_are_evicted() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(4)).await;
    let mut lingering = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&server).await;
        let refused = b"PUT /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nx";
        stream.write_all(refused).await.unwrap();
        assert_eq!(status(&mut stream).await, "405");
        lingering.push(stream);
    }
    for _ in 0..4 {
        assert_eq!(server.get("/c/chat").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn by_tls_idle_connections_are_evicted() {
    let secure = Secure::with(|options| options.channels.max_connections = Some(3)).await;
    let mut idlers = Vec::new();
    for _ in 0..3 {
        let mut stream = secure.connect().await;
        assert_eq!(ask(&mut stream).await, "200");
        idlers.push(stream);
    }
    let mut newcomers = Vec::new();
    for mut idler in idlers {
        let mut newcomer = secure.connect().await;
        assert_eq!(ask(&mut newcomer).await, "200");
        newcomers.push(newcomer);
        // TLS has a closing alert: without it, this is an error.
        let mut rest = Vec::new();
        timeout(SOON, idler.read_to_end(&mut rest)).await.expect("an end").expect("close_notify");
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn on_a_unix_socket_idle_connections_are_evicted() {
    let server = UnixServer::with(|options| options.channels.max_connections = Some(3)).await;
    let mut all = Vec::new();
    for _ in 0..6 {
        let mut stream = server.connect().await;
        assert_eq!(ask(&mut stream).await, "200");
        all.push(stream);
    }
    let mut rest = Vec::new();
    timeout(SOON, all.remove(0).read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty(), "it made room");
}

#[tokio::test]
async fn an_http2_connection_without_streams_is_evicted_and_one_with_a_stream_is_not() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(2)).await;
    let open = async || {
        let io = TokioIo::new(connect(&server).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        (sender, tokio::spawn(connection))
    };
    let request = |accept: &str| {
        let uri = format!("http://{}/c/chat", server.address);
        let request = http::Request::builder().method(Method::GET).uri(uri);
        request.header("Accept", accept).body(Empty::<bytes::Bytes>::new()).unwrap()
    };
    let (mut busy, _driven) = open().await;
    let events = busy.send_request(request("text/event-stream")).await.unwrap();
    let (mut idle, ended) = open().await;
    let answer = idle.send_request(request("application/json")).await.unwrap();
    answer.into_body().collect().await.unwrap();
    server.until_metric("sockeye_idle_connections", 1.0).await;
    server.publish("/c/chat", "hello").await;
    // The client got GOAWAY: its connection ends without an error.
    timeout(SOON, ended).await.expect("it made room").unwrap().expect("GOAWAY");
    let mut body = events.into_body();
    let told = async {
        loop {
            let frame = poll_fn(|cx| hyper::body::Body::poll_frame(Pin::new(&mut body), cx)).await;
            let data =
                frame.expect("the stream continues").unwrap().into_data().unwrap_or_default();
            if String::from_utf8_lossy(&data).contains("hello") {
                break;
            }
        }
    };
    timeout(SOON, told).await.expect("the event comes");
}

/// By one request on each of its connections a client could keep operators out.
#[tokio::test]
async fn operators_find_a_place_though_others_linger() {
    let server = TestServer::start().await;
    let mut lingering = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(server.admin()).await.unwrap();
        let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(status(&mut stream).await, "200");
        lingering.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(server.operate("/healthz").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_idle_connection_is_not_closed_while_there_is_room() {
    let server = TestServer::with(|options| options.channels.max_connections = Some(3)).await;
    let mut stream = idle(&server).await;
    for _ in 0..10 {
        drop(idle(&server).await);
        server.until_metric("sockeye_open_connections", 1.0).await;
    }
    assert_eq!(ask(&mut stream).await, "200");
}

/// Behind what is read ahead of a client its end could not be seen: it is not waited for.
#[tokio::test]
async fn a_long_poll_with_much_behind_it_is_answered_at_once_and_leaves_with_its_client() {
    let server = TestServer::start().await;
    let mut stream = connect(&server).await;
    let poll = "GET /c/chat?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let much = poll.repeat((20 << 10) / poll.len() + 1);
    let begun = Instant::now();
    stream.write_all(much.as_bytes()).await.unwrap();
    assert_eq!(status(&mut stream).await, "200");
    assert!(begun.elapsed() < SOON / 2, "{:?}", begun.elapsed());
    // What is not read of its answers resets it.
    drop(stream);
    let left = server.until_metric("sockeye_open_connections", 0.0);
    timeout(SOON / 2, left).await.expect("its place is free");
}
