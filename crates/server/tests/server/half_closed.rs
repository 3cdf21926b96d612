//! Clients that shut down their sending side after their request, as `nc -N` and some HTTP libraries do
//! (RFC 9112 §9.6): they wait for the response. And clients that are gone.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{SOON, TestServer};
use crate::tls::Secure;

const POST: &str = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";

/// Sends the request, shuts down the sending side and returns all that comes.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn ask_tcp(server: &TestServer, request: &str) -> String {
    ask(TcpStream::connect(server.address).await.unwrap(), request).await
}

#[tokio::test]
async fn a_publication_is_answered_in_memory_and_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    for data in [None, Some(folder.path().to_owned())] {
        let server = TestServer::with(|options| options.channels.data = data).await;
        for number in 0..50 {
            let answer = ask_tcp(&server, POST).await;
            assert!(answer.starts_with("HTTP/1.1 201 "), "{number}: {answer}");
        }
        let kept = server.get("/c/chat").await.json();
        assert_eq!(kept["messages"].as_array().unwrap().len(), 50);
    }
}

#[tokio::test]
async fn a_publication_over_tls_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let secure =
        Secure::with(|options| options.channels.data = Some(folder.path().to_owned())).await;
    for _ in 0..20 {
        let answer = ask(secure.connect().await, POST).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
}

#[tokio::test]
async fn every_kind_of_request_is_answered() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "kept").await;
    let cases = [
        ("GET /c/chat HTTP/1.1\r\nHost: localhost\r\n\r\n", "\"data\":\"kept\""),
        ("GET /c/chat HTTP/1.0\r\n\r\n", "\"data\":\"kept\""),
        ("GET /c/chat?wait=60&after=-1 HTTP/1.1\r\nHost: localhost\r\n\r\n", "\"data\":\"kept\""),
        // The client gets what there is.
        ("GET /c/chat?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n", "\"messages\":[]"),
        (
            "GET /c/chat?after=-1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
            "data: kept\n\n",
        ),
        ("DELETE /c/chat HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 204 "),
    ];
    for (request, expected) in cases {
        let answer = ask_tcp(&server, request).await;
        assert!(answer.contains(expected), "{request}: {answer}");
    }
    server.has_readers(0).await;
}

#[tokio::test]
async fn operators_are_answered() {
    let server = TestServer::start().await;
    for request in
        ["GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    {
        let stream = TcpStream::connect(server.admin()).await.unwrap();
        let answer = ask(stream, request).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }
}

/// A waiting client that is gone is noticed at once, whatever its request says of the connection.
#[tokio::test]
async fn a_client_that_vanishes_while_it_waits_is_noticed() {
    let server = TestServer::start().await;
    for head in [
        "HTTP/1.1\r\nHost: localhost\r\n",
        "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        "HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
        "HTTP/1.0\r\n",
    ] {
        for path in ["/c/chat?wait=60", "/c/chat?stream=sse", "/c/chat?stream=ndjson"] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(format!("GET {path} {head}\r\n").as_bytes()).await.unwrap();
            server.has_readers(1).await;
            drop(stream);
            let gone = server.has_readers(0);
            timeout(Duration::from_secs(10), gone)
                .await
                .unwrap_or_else(|_| panic!("{path} {head}"));
        }
    }
}
