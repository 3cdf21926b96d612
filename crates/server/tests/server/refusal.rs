//! A refusal arrives although the client is still sending: the connection is closed in stages (RFC 9112
//! §9.6). To close it at once would reset it, and the client might never see its response.

use sockeye_server::ServerOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::client::{SOON, TestServer};
use crate::tls::Secure;

/// The upload of a client that reads its response only afterwards.
const UPLOAD: usize = 5 << 20;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// A request's line and headers except those of its body, and the status of the response.
const REFUSED: [(&str, u16); 10] = [
    ("POST /c/chat HTTP/1.1\r\nHost: localhost\r\n", 413),
    ("POST /c/chat HTTP/1.0\r\nHost: localhost\r\n", 413),
    ("POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n", 415),
    ("POST /c/chat HTTP/1.1\r\nHost: localhost\r\nOrigin: https://example.org\r\n", 403),
    ("POST /c/no%20name HTTP/1.1\r\nHost: localhost\r\n", 400),
    ("POST /nowhere HTTP/1.1\r\nHost: localhost\r\n", 404),
    ("PUT /c/chat HTTP/1.1\r\nHost: localhost\r\n", 405),
    ("POST /c/chat HTTP/1.1\r\n", 400),
    ("GET /c/chat HTTP/1.1\r\nHost: localhost\r\nupgrade", 400),
    ("GET /c/chat HTTP/1.0\r\nHost: localhost\r\nupgrade", 505),
];

/// Sends all of it, reads only then, and returns what came before the end of the connection, which is
/// not a reset.
async fn upload(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: &[u8],
) -> String {
    let exchange = async {
        stream.write_all(head.as_bytes()).await.expect("the head is taken");
        let sent = stream.write_all(body).await;
        sent.unwrap_or_else(|error| panic!("not all of the body is taken: {error}: {head}"));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the answer ends in order");
        answer
    };
    timeout(SOON, exchange).await.expect("it is answered")
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

fn head(begin: &str) -> String {
    format!("{}Content-Length: {UPLOAD}\r\n\r\n", begin.replace("upgrade", UPGRADE))
}

#[track_caller]
fn assert_status(answer: &str, status: u16, what: &str) {
    let line = answer.lines().next().unwrap_or_default();
    assert_eq!(line.split(' ').nth(1), Some(&*status.to_string()), "{what}: {answer}");
}

#[tokio::test]
async fn every_refusal_of_an_upload_arrives() {
    let server = TestServer::start().await;
    let body = vec![b'x'; UPLOAD];
    for (begin, status) in REFUSED {
        for _ in 0..3 {
            let answer = upload(connect(&server).await, &head(begin), &body).await;
            assert_status(&answer, status, begin);
        }
    }
    let chunked = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = [format!("{UPLOAD:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    assert_status(&upload(connect(&server).await, chunked, &body).await, 413, "chunked");
}

#[tokio::test]
async fn refusals_arrive_over_tls() {
    let secure = Secure::with(|_| {}).await;
    let body = vec![b'x'; UPLOAD];
    for (begin, status) in REFUSED {
        assert_status(&upload(secure.connect().await, &head(begin), &body).await, status, begin);
    }
}

#[tokio::test]
async fn refusals_arrive_on_a_unix_socket_and_for_operators() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = format!("unix:{}", path.display()).parse().unwrap();
    let server = TestServer::with(|options| options.listen.push(listen)).await;
    let (begin, body) = (head("PUT /c/chat HTTP/1.1\r\nHost: localhost\r\n"), vec![b'x'; UPLOAD]);
    let stream = UnixStream::connect(&path).await.unwrap();
    assert_status(&upload(stream, &begin, &body).await, 405, "unix");
    let begin = head("POST /healthz HTTP/1.1\r\nHost: localhost\r\n");
    let stream = TcpStream::connect(server.admin()).await.unwrap();
    assert_status(&upload(stream, &begin, &body).await, 405, "admin");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let server = TestServer::start().await;
    let get = "GET /c/chat HTTP/1.1\r\nHost: localhost\r\n";
    let field = format!("X-Note: {}", "a".repeat(UPLOAD));
    let answer = upload(connect(&server).await, get, field.as_bytes()).await;
    assert_status(&answer, 431, "the first");
    // After another request, too.
    let both = format!("{get}\r\n{get}");
    let mut stream = connect(&server).await;
    stream.write_all(format!("{get}\r\n").as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    let answer = upload(stream, get, field.as_bytes()).await;
    assert!(answer.contains("HTTP/1.1 431 "), "{both}: {answer}");
}

#[tokio::test]
async fn clients_beyond_a_limit_are_told_so() {
    type Limit = fn(&mut ServerOptions);
    let limits: [(Limit, u16); 3] = [
        (|options| options.channels.max_connections = Some(1), 503),
        (|options| options.channels.max_connections_per_address = Some(1), 429),
        (|options| options.channels.max_requests_per_address = Some(1), 429),
    ];
    let (begin, body) = (head("POST /c/chat HTTP/1.1\r\nHost: localhost\r\n"), vec![b'x'; UPLOAD]);
    for (limit, status) in limits {
        let server = TestServer::with(limit).await;
        let mut first = connect(&server).await;
        let get = "GET /c/chat HTTP/1.1\r\nHost: localhost\r\n";
        // With the stream of events it keeps its permit.
        let all = format!("{get}\r\n{get}\r\n{get}Accept: text/event-stream\r\n\r\n");
        first.write_all(all.as_bytes()).await.unwrap();
        first.readable().await.unwrap();
        for _ in 0..3 {
            let answer = upload(connect(&server).await, &begin, &body).await;
            assert_status(&answer, status, "beyond");
        }
    }
}

#[tokio::test]
async fn an_upload_without_a_token_gets_its_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, [7; 32]).unwrap();
    let key = sockeye_server::AuthKey::from_file(&file).unwrap();
    let server = TestServer::with(|options| options.channels.auth_key = Some(key)).await;
    let (begin, body) = (head("POST /c/chat HTTP/1.1\r\nHost: localhost\r\n"), vec![b'x'; UPLOAD]);
    for _ in 0..3 {
        let answer = upload(connect(&server).await, &begin, &body).await;
        assert_status(&answer, 401, "no token");
    }
    let bad = begin.replace("Host", "Authorization: Bearer bad\r\nHost");
    assert_status(&upload(connect(&server).await, &bad, &body).await, 401, "a bad token");
}
