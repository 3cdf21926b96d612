//! HTTP/1.1 on the wire: responses that take long between others.

use http::Method;
use sockeye_hub::Publication;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{TestServer, read_to_end};

const PLAIN: &str = "GET /c/chat?after=now HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST: &str = "GET /c/chat?after=now HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn long_poll(query: &str) -> String {
    let headers = "Host: localhost\r\nConnection: keep-alive";
    format!("GET /c/chat?{query} HTTP/1.1\r\n{headers}\r\n\r\n")
}

/// How many responses there are in what came.
fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 200 OK\r\n").count()
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "kept").await;
    let requests = [PLAIN, &long_poll("wait=1"), PLAIN, &long_poll("wait=0&after=-1"), LAST];
    let text = server.send_raw(requests.concat()).await;
    assert_eq!(answers(&text), 5, "{text}");
    let fourth = text.split("HTTP/1.1 200 OK\r\n").nth(4).unwrap();
    assert!(fourth.contains("preference-applied: wait=0\r\n"), "{fourth}");
    assert!(fourth.contains("\"data\":\"kept\""), "{fourth}");
}

/// More than hyper reads at once arrives behind waiting responses, and is read more than once.
#[tokio::test]
async fn what_comes_behind_answers_that_wait_keeps_its_order() {
    let server = TestServer::start().await;
    let body: String = (0..3000).map(|number| format!("{number:05}")).collect();
    let head = format!(
        "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let waits = long_poll("wait=1&after=now");
    let text = server.send_raw([&waits, &waits, &head, &body, LAST].concat()).await;
    assert!(answers(&text) == 3 && text.contains("HTTP/1.1 201 Created\r\n"), "{text}");
    assert_eq!(server.get("/c/chat").await.json()["messages"][0]["data"], body.as_str());
}

/// RFC 9112 §6.1 and §6.3: request smuggling, which two servers would parse differently.
#[tokio::test]
async fn a_request_with_two_lengths_is_refused_and_none_follows_it() {
    let server = TestServer::start().await;
    let lengths = ["Content-Length: 4", "Transfer-Encoding: chunked"];
    for [first, second] in [lengths, [lengths[1], lengths[0]]] {
        let head =
            format!("POST /c/chat HTTP/1.1\r\nHost: localhost\r\n{first}\r\n{second}\r\n\r\n");
        let request = format!("{head}1\r\nx\r\n0\r\n\r\n");
        let text = server.send_raw(format!("{request}{LAST}")).await;
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.contains("\"code\":\"bad_request\"") && answers(&text) == 0, "{text}");
        assert!(server.get("/c/chat").await.text().contains("\"messages\":[]"));
    }
}

/// What two servers may take for two different requests (RFC 9112 §2.2, §6.1) is refused in whatever place it
/// comes, and nothing that follows it is a request.
#[tokio::test]
async fn a_later_request_that_can_be_read_in_two_ways_is_refused_as_a_first_one() {
    let server = TestServer::start().await;
    let post = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\n";
    let body = "\r\n1\r\nx\r\n0\r\n\r\n";
    let good = format!("{post}Transfer-Encoding: chunked\r\n{body}");
    let bad = [
        format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n{body}"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n{body}"),
        format!("{post}Transfer-Encoding: chunked, chunked\r\n{body}"),
        format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n{body}"),
        format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy"),
        format!("{post}Content-Length: 1\n\r\nx"),
        format!("{}Content-Length: 1\r\n\r\nx", post.replacen("\r\n", "\n", 1)),
        format!("{post}Content-Length: 1\r\n\nx"),
    ];
    let parked = long_poll("wait=1&after=now");
    for bad in &bad {
        for before in ["", PLAIN, &good, &parked, &[PLAIN, &parked, &good].concat()] {
            server.delete("/c/chat").await;
            let accepted = before.matches("POST").count();
            let text = server.send_raw([before, bad, LAST].concat()).await;
            let last = text.split("HTTP/1.1 ").last().unwrap();
            assert!(last.starts_with("400 Bad Request\r\n"), "{bad}{text}");
            assert_eq!(text.matches("HTTP/1.1 201").count(), accepted, "{bad}{text}");
            let kept = server.get("/c/chat").await.json();
            assert_eq!(kept["messages"].as_array().map(Vec::len), Some(accepted), "{bad}");
        }
    }
}

/// A proxy that speaks TLS to us, or a client that waits between its requests: the same.
#[tokio::test]
async fn it_is_refused_over_tls_and_when_it_comes_alone_and_in_pieces() {
    let bad = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nX: y\n\r\n";
    let server = crate::tls::Secure::with(|_| {}).await;
    for first in [true, false] {
        let mut stream = server.connect().await;
        if !first {
            stream.write_all(PLAIN.as_bytes()).await.unwrap();
            let mut answer = [0; 15];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        }
        for byte in bad {
            // It may have been refused before its end.
            let _ = stream.write_all(&[*byte]).await;
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        let text = String::from_utf8_lossy(&rest);
        assert!(text.contains("HTTP/1.1 400 Bad Request\r\n"), "{text}");
    }
}

#[tokio::test]
async fn a_length_that_no_message_has_is_too_large() {
    let server = TestServer::start().await;
    for length in ["65537", "9223372036854775808", "18446744073709551615", "99999999999999999999"] {
        let head =
            format!("POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let text = read_to_end(stream).await;
        assert!(text.starts_with("HTTP/1.1 413 "), "{length}: {text}");
        assert!(text.contains("\"code\":\"too_large\""), "{length}: {text}");
    }
}

#[tokio::test]
async fn the_connection_of_a_long_poll_serves_the_next_request() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(long_poll("wait=60").as_bytes()).await.unwrap();
        server.has_readers(1).await;
        server.publish("/c/chat", "news").await;
        server.has_readers(0).await;
    }
    stream.write_all(LAST.as_bytes()).await.unwrap();
    let text = read_to_end(stream).await;
    assert_eq!((answers(&text), text.matches("\"data\":\"news\"").count()), (4, 3), "{text}");
    assert_eq!(text.matches("\r\ndate: ").count(), 4, "{text}");
}

#[tokio::test]
async fn what_comes_during_a_long_poll_is_the_next_request() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(long_poll("wait=60").as_bytes()).await.unwrap();
    server.has_readers(1).await;
    let (begin, rest) = LAST.split_at(20);
    stream.write_all(begin.as_bytes()).await.unwrap();
    server.publish("/c/chat", "news").await;
    stream.write_all(rest.as_bytes()).await.unwrap();
    let text = read_to_end(stream).await;
    assert_eq!(answers(&text), 2, "{text}");
}

#[tokio::test]
async fn an_answer_that_is_still_being_written_is_not_cut_by_the_next() {
    let server = TestServer::with(|options| options.channels.history_bytes = 1 << 30).await;
    let (channel, text) = ("chat".parse().unwrap(), "x".repeat(60 << 10));
    for _ in 0..15 {
        server.hub.publish(&channel, Publication::text(&text)).await.unwrap();
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let pages = "GET /c/chat?limit=15 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    let requests = [&pages, &long_poll("wait=60&after=-1"), &long_poll("wait=0"), LAST];
    stream.write_all(requests.concat().as_bytes()).await.unwrap();
    // More than the connection buffers is sent before anything is read.
    stream.readable().await.unwrap();
    let text = read_to_end(stream).await;
    assert_eq!(answers(&text), 23);
    assert_eq!(text.matches("\"data\":").count(), 301);
}

#[tokio::test]
async fn a_stream_on_a_connection_that_was_used_before_is_a_stream() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(PLAIN.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    let events = "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(events.as_bytes()).await.unwrap();
    server.has_readers(1).await;
    server.publish("/c/chat", "news").await;
    let running = server.begin_to_stop();
    let text = read_to_end(stream).await;
    assert_eq!(answers(&text), 2, "{text}");
    assert!(text.contains("\ndata: news\n\n"), "{text}");
    assert!(text.ends_with("\r\n0\r\n\r\n"), "the stream ends in order: {text}");
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn older_clients_and_those_that_close_get_the_same() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "kept").await;
    let poll = "GET /c/chat?wait=1 HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let text = server.send_raw(poll).await;
    assert!(text.ends_with(&format!("{{\"at\":\"{at}\",\"messages\":[]}}")), "{text}");
    let known = server.request(Method::GET, "/c/chat?wait=1").header("Connection", "close");
    let answer = server.send(known.header("If-None-Match", format!("\"{at}\"")), "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (304, ""));
}

/// Browsers always name the server; HTTP/1.0 need not.
#[tokio::test]
async fn http_1_0_needs_no_host() {
    let server = TestServer::start().await;
    let text = server.send_raw("GET /c/chat HTTP/1.0\r\n\r\n").await;
    assert!(text.contains(" 200 OK\r\n") && text.contains("\"messages\":[]"), "{text}");
    let page = "GET /c/chat HTTP/1.0\r\nOrigin: http://localhost\r\n\r\n";
    let text = server.send_raw(page).await;
    assert!(text.contains(" 403 Forbidden\r\n"), "its own origin is unknown: {text}");
    let text = server.send_raw("GET /c/chat HTTP/1.1\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}

/// HTTP/1.0 has no chunks: a stream ends with its connection.
#[tokio::test]
async fn streams_of_http_1_0_are_not_chunked() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "kept").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /c/chat?stream=ndjson&after=-1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    server.has_readers(1).await;
    let running = server.begin_to_stop();
    let text = read_to_end(stream).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(!head.contains("chunked") && head.contains("connection: close"), "{head}");
    assert!(body.starts_with('{') && body.contains("\"kept\""), "{body}");
    running.await.unwrap().unwrap();
}
