//! A1–A17, what the constructor does at once.

use sockeye::web::{BinaryType, DomException, ReadyState, WebSocket};

use crate::support::{Events, Told, echo, failed, header, script};

fn error(result: Result<WebSocket, DomException>) -> &'static str {
    result.map(|socket| socket.url().to_owned()).expect_err("no exception").name()
}

/// Rules: A3, A6, A7.
#[tokio::test]
async fn what_is_not_a_url_of_a_websocket_is_a_syntax_error() {
    for url in [
        "ws://foo bar.com/",
        "ws://",
        "ws://h:99999/",
        "ftp://h/",
        "mailto:a@b.example",
        "about:blank",
        "ws://h/#",
        "ws://h/#test",
        "#test",
        "/relative",
    ] {
        assert_eq!(error(WebSocket::new(url, ())), "SyntaxError", "{url}");
    }
}

/// Rule: A4.
#[tokio::test]
async fn relative_urls_are_relative_to_the_page() {
    let page = WebSocket::builder().base_url("https://h.example/a/b?q").unwrap();
    for (url, resolved) in [
        ("test", "wss://h.example/a/test"),
        ("?", "wss://h.example/a/b?"),
        ("/x", "wss://h.example/x"),
        ("", "wss://h.example/a/b?q"),
        ("//other.example/", "wss://other.example/"),
        ("ws://other.example", "ws://other.example/"),
    ] {
        assert_eq!(page.open(url, ()).unwrap().url(), resolved, "{url}");
    }
    assert_eq!(error(page.open("#f", ())), "SyntaxError");
    let error = WebSocket::builder().base_url("a/b").unwrap_err();
    assert_eq!(error.name(), "SyntaxError");
}

/// Rule: A5.
#[tokio::test]
async fn http_urls_become_websocket_urls() {
    assert_eq!(WebSocket::new("http://h.example/a", ()).unwrap().url(), "ws://h.example/a");
    assert_eq!(WebSocket::new("https://h.example", ()).unwrap().url(), "wss://h.example/");
}

/// Rules: A8, A9, A16.
#[tokio::test]
async fn the_url_is_in_its_normal_form() {
    for (url, normal) in [
        ("WS://H.Example/", "ws://h.example/"),
        ("ws:h.example", "ws://h.example/"),
        ("ws:/h.example", "ws://h.example/"),
        ("ws://h.example:80/", "ws://h.example/"),
        ("wss://h.example:443", "wss://h.example/"),
        ("ws://h.example/x\0y\0", "ws://h.example/x%00y"),
        ("ws://h.example/a b?é", "ws://h.example/a%20b?%C3%A9"),
        ("ws://bücher.example/", "ws://xn--bcher-kva.example/"),
    ] {
        assert_eq!(WebSocket::new(url, ()).unwrap().url(), normal, "{url:?}");
    }
}

/// Rule: A10.
#[tokio::test]
async fn one_protocol_is_a_list_of_one() {
    for list in [vec!["chat"], vec!["superchat", "chat"]] {
        let url = echo().await;
        let socket = WebSocket::new(&url, &list[..]).unwrap();
        let mut events = Events::of(&socket);
        assert_eq!(events.next().await, Told::Open);
        assert_eq!(socket.protocol(), list[0]);
    }
    let socket = WebSocket::new(&echo().await, "chat").unwrap();
    assert_eq!(Events::of(&socket).next().await, Told::Open);
    assert_eq!(socket.protocol(), "chat");
}

/// Rule: A11.
#[tokio::test]
async fn protocols_are_tokens() {
    let mut bad = vec![String::new(), "foobar, foobar".to_owned(), "日本".to_owned()];
    bad.extend((0..=0x20u8).chain(0x7f..=0xff).map(|byte| format!("a{}b", char::from(byte))));
    bad.extend("()<>@,;:\\\"/[]?={}".chars().map(|separator| format!("a{separator}b")));
    for name in bad {
        assert_eq!(
            error(WebSocket::new("ws://h.example", name.clone())),
            "SyntaxError",
            "{name:?}"
        );
    }
    assert!(WebSocket::new("ws://h.example", "!#$%&'*+-.09AZ^_`az|~").is_ok());
}

/// Rule: A12.
#[tokio::test]
async fn protocols_occur_once_whatever_their_case() {
    for list in [["echo", "echo"], ["echo", "eCho"]] {
        assert_eq!(error(WebSocket::new("ws://h.example", list)), "SyntaxError");
    }
}

/// Rule: A14.
#[tokio::test]
async fn the_url_is_checked_first_and_nothing_is_sent_after_an_exception() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let both = WebSocket::new("ws://h/#f", "a b").unwrap_err();
    assert!(both.message().contains("fragment"), "{both}");
    assert_eq!(error(WebSocket::new(&url, "a b")), "SyntaxError");
    let accepted = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept());
    assert!(accepted.await.is_err(), "it connected");
}

/// Rule: A15.
#[tokio::test]
async fn a_new_socket_is_connecting_and_empty() {
    let socket = WebSocket::new(&echo().await, "chat").unwrap();
    assert_eq!(socket.ready_state(), ReadyState::Connecting);
    assert_eq!((socket.buffered_amount(), socket.binary_type()), (0, BinaryType::Blob));
    assert_eq!((socket.extensions().as_str(), socket.protocol().as_str()), ("", ""));
    assert!(socket.last_error().is_none());
}

/// Rule: A17.
#[tokio::test]
async fn a_blocked_port_is_an_error_event_and_no_exception() {
    for port in [0, 1, 25, 6667, 10080] {
        let socket = WebSocket::new(&format!("ws://127.0.0.1:{port}/"), ()).unwrap();
        assert_eq!(Events::of(&socket).all().await, [Told::Error, failed()]);
        let cause = socket.last_error().unwrap().to_string();
        assert!(cause.contains("blocked"), "{cause}");
    }
    for url in ["ws://h.example:443", "wss://h.example:80", "ws://h.example:80"] {
        assert!(WebSocket::new(url, ()).is_ok(), "{url}");
    }
}

/// Rules: A19, A20, A21.
#[tokio::test]
async fn the_request_is_that_of_a_page() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let url = script(|stream, head| async {
        sender.send(head).unwrap();
        drop(stream);
    })
    .await;
    let page = WebSocket::builder()
        .base_url("http://page.example/a")
        .unwrap()
        .cookie("a=b".parse().unwrap());
    let url = url.replace("ws://", "ws://ann:secret@") + "live?x=1";
    let socket = page.open(&url, ["chat", "superchat"]).unwrap();
    let head = receiver.await.unwrap();
    assert!(head.starts_with("GET /live?x=1 HTTP/1.1\r\n"), "{head}");
    let get = |name| header(&head, name);
    assert_eq!(get("origin").as_deref(), Some("http://page.example"));
    assert_eq!(get("cookie").as_deref(), Some("a=b"));
    assert_eq!(get("referer"), None);
    assert_eq!(get("authorization").as_deref(), Some("Basic YW5uOnNlY3JldA=="));
    assert_eq!(get("upgrade").as_deref(), Some("websocket"));
    assert_eq!(get("connection").as_deref(), Some("Upgrade"));
    assert_eq!(get("sec-websocket-version").as_deref(), Some("13"));
    assert_eq!(get("sec-websocket-protocol").as_deref(), Some("chat, superchat"));
    let offer = Some("permessage-deflate; client_max_window_bits");
    assert_eq!(get("sec-websocket-extensions").as_deref(), offer);
    assert_eq!(get("sec-websocket-key").map(|key| key.len()), Some(24));
    assert_eq!(Events::of(&socket).all().await, [Told::Error, failed()]);
}
