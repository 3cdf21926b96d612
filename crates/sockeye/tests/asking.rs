//! What a client asks for, and what it is told when it is refused.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;

use std::time::Duration;

use common::soon;
use sockeye::{
    Address, AddressError, Client, ConnectError, ResponseError,
    http::{HeaderValue, Request, Uri, header::COOKIE},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

/// The request that is made with these settings.
async fn request_of(client: Client) -> String {
    let (near, far) = duplex(1 << 16);
    let (opened, server) =
        soon(async { tokio::join!(client.open_over(near), sockeye::accept(far)) }).await;
    drop(server);
    String::from_utf8(opened.unwrap().request.to_vec()).unwrap()
}

fn lines<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let names = request.lines().filter_map(|line| line.split_once(": "));
    names.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[tokio::test]
async fn a_client_is_made_from_whatever_is_a_url() {
    let url = "ws://test/chat?room=7";
    let uri: Uri = url.parse().unwrap();
    let text = url.to_owned();
    let clients = [
        Client::new(url),
        Client::new(&text),
        Client::new(text),
        Client::new(&uri),
        Client::new(uri),
        Client::new(url.parse::<Address>().unwrap()),
        Client::new(Request::get(url).body(()).unwrap()),
    ];
    for client in clients {
        let request = request_of(client.unwrap()).await;
        assert!(request.starts_with("GET /chat?room=7 HTTP/1.1\r\n"), "{request}");
        assert_eq!(lines(&request, "host"), ["test"]);
    }
    let relative = Client::new(Request::get("/chat").body(()).unwrap());
    assert!(matches!(relative, Err(AddressError::Scheme(_))), "{relative:?}");
    let wrong = sockeye::connect(Uri::from_static("ftp://test/")).await;
    assert!(matches!(wrong, Err(ConnectError::Address(AddressError::Scheme(_)))), "{wrong:?}");
}

#[tokio::test]
async fn a_request_gives_its_headers_and_subprotocols_and_not_those_of_the_handshake() {
    // As another library wants it.
    let request = Request::get("ws://test/chat")
        .header("Host", "elsewhere")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
        .header("Cookie", "session=1")
        .body("no matter")
        .unwrap();
    let client = Client::new(request).unwrap().subprotocols(["chat.v0"]).header(COOKIE, "more=2");
    let request = request_of(client).await;
    assert_eq!(lines(&request, "cookie"), ["session=1", "more=2"]);
    assert_eq!(lines(&request, "sec-websocket-protocol"), ["chat.v2, chat.v1, chat.v0"]);
    assert_eq!(lines(&request, "host"), ["test"]);
    for own in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
        assert_eq!(lines(&request, own).len(), 1, "{own} in {request}");
    }
    assert_ne!(lines(&request, "sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
}

#[tokio::test]
async fn headers_are_taken_as_text_and_a_wrong_one_is_told_when_connecting() {
    let client = || Client::new("ws://ann:secret@test/").unwrap();
    let number = HeaderValue::from(7);
    let request = client().header("x-tenant", "blue").header("x-number".to_owned(), number);
    let request = request_of(request.bearer("old").bearer("t0k.en")).await;
    assert_eq!(lines(&request, "x-tenant"), ["blue"]);
    assert_eq!(lines(&request, "x-number"), ["7"]);
    assert_eq!(lines(&request, "authorization"), ["Bearer t0k.en"]);

    let wrong = [
        client().header("x tenant", "blue"),
        client().header("x-tenant", "blue\r\nx-admin: 1"),
        client().bearer("two\nlines"),
    ];
    for client in wrong {
        let (near, mut far) = duplex(1024);
        let error = client.header("x-fine", "1").open_over(near).await.unwrap_err();
        assert!(matches!(&error, ConnectError::Header(_)), "{error}");
        // Nothing of the value, which may be secret.
        assert!(!error.to_string().contains("lines"), "{error}");
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "nothing was sent");
    }
}

/// What the client says when it gets this answer, on a connection that stays open or not.
async fn refused(answer: &[u8], stays: bool) -> (String, Vec<u8>) {
    let (near, mut far) = duplex(1 << 16);
    let answers = async {
        read_head(&mut far).await;
        far.write_all(answer).await.unwrap();
        stays.then_some(far)
    };
    let client = Client::new("ws://test/").unwrap().open_over(near);
    let (opened, _far) = tokio::join!(client, answers);
    let error = opened.unwrap_err();
    let text = error.to_string();
    let ConnectError::Response(ResponseError::Status(response)) = error else { panic!("{text}") };
    assert_eq!(response.status(), 403);
    (text, response.body().to_vec())
}

async fn read_head(stream: &mut DuplexStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_what_the_server_says_to_it_and_prints_it() {
    let begun = Instant::now();
    let length = b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nnot todayGET";
    let (text, body) = refused(length, true).await;
    assert_eq!(body, b"not today");
    assert!(text.ends_with("its status is 403 Forbidden, not 101: not today"), "{text}");
    let chunked = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n\
        4\r\nnot \r\n5\r\ntoday\r\n0\r\n\r\n";
    assert_eq!(refused(chunked, true).await.1, b"not today");
    let empty = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    let (text, body) = refused(empty, true).await;
    assert!(body.is_empty() && text.ends_with("not 101"), "{text}");
    assert_eq!(refused(b"HTTP/1.1 403 No\r\n\r\nto the end", false).await.1, b"to the end");
    assert_eq!(begun.elapsed(), Duration::ZERO);

    // A body that does not end holds nothing up for long.
    assert_eq!(refused(b"HTTP/1.1 403 No\r\n\r\nso far", true).await.1, b"so far");
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn of_a_refusal_8_kib_are_kept_and_no_terminal_obeys_what_is_printed() {
    let begun = Instant::now();
    let head = b"HTTP/1.1 403 No\r\nContent-Length: 20000\r\n\r\n".to_vec();
    let (_, body) = refused(&[head, vec![b'x'; 20_000]].concat(), true).await;
    assert!(body == vec![b'x'; 8 << 10], "{} bytes", body.len());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let (text, _) = refused(b"HTTP/1.1 403 No\r\n\r\n\x1b[2Jgone\r\nline\x07\xff", false).await;
    assert!(text.ends_with(": \u{fffd}[2Jgone\nline\u{fffd}\u{fffd}"), "{text:?}");
}
