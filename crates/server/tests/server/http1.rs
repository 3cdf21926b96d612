//! HTTP/1.1 as it goes over the connection: answers that take long between others.

use http::Method;
use sockeye_hub::Publication;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{TestServer, read_to_end};

const PLAIN: &str = "GET /c/chat?after=now HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST: &str = "GET /c/chat?after=now HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn long_poll(query: &str) -> String {
    let headers = "Host: localhost\r\nConnection: keep-alive";
    format!("GET /c/chat?{query} HTTP/1.1\r\n{headers}\r\n\r\n")
}

/// How many answers there are in what came.
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

/// More than hyper reads at once comes behind answers that wait, and is read more than once.
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

/// RFC 9112 §6.1 and §6.3: two servers that a request passes may take it for two different ones.
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
        // A later one is taken by its chunks, and the connection ends behind it.
        let text = server.send_raw(format!("{PLAIN}{request}{LAST}")).await;
        assert!(answers(&text) == 1 && text.contains("HTTP/1.1 201 Created\r\n"), "{text}");
        server.delete("/c/chat").await;
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
async fn what_comes_while_a_poll_is_parked_is_the_next_request() {
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
    let server = TestServer::with(|options| options.history_bytes = 1 << 30).await;
    let (channel, text) = ("chat".parse().unwrap(), "x".repeat(60 << 10));
    for _ in 0..15 {
        server.hub.publish(&channel, Publication::text(&text)).await.unwrap();
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let pages = "GET /c/chat?limit=15 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    let requests = [&pages, &long_poll("wait=60&after=-1"), &long_poll("wait=0"), LAST];
    stream.write_all(requests.concat().as_bytes()).await.unwrap();
    // More than the connection takes is under way before anything is read.
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
async fn older_clients_and_those_who_close_get_the_same() {
    let server = TestServer::start().await;
    let at = server.publish("/c/chat", "kept").await;
    let poll = "GET /c/chat?wait=1 HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let text = server.send_raw(poll).await;
    assert!(text.ends_with(&format!("{{\"at\":\"{at}\",\"messages\":[]}}")), "{text}");
    let known = server.request(Method::GET, "/c/chat?wait=1").header("Connection", "close");
    let answer = server.send(known.header("If-None-Match", format!("\"{at}\"")), "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (304, ""));
}

/// Browsers always name the server; of HTTP/1.0 nobody needs to.
#[tokio::test]
async fn http_1_0_needs_no_host() {
    let server = TestServer::start().await;
    let text = server.send_raw("GET /c/chat HTTP/1.0\r\n\r\n").await;
    assert!(text.contains(" 200 OK\r\n") && text.contains("\"messages\":[]"), "{text}");
    let page = "GET /c/chat HTTP/1.0\r\nOrigin: http://localhost\r\n\r\n";
    let text = server.send_raw(page).await;
    assert!(text.contains(" 403 Forbidden\r\n"), "nobody knows whose page it is: {text}");
    let text = server.send_raw("GET /c/chat HTTP/1.1\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}

/// A client of HTTP/1.0 knows no chunks: a stream ends with its connection.
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
