//! A13, A18, A19, A22–A30, A44: what the server answers, and when a client may connect.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use http::HeaderValue;
use sockeye::{
    ConnectQueue,
    web::{Cause, CookieJar, StreamOptions, WebSocket, WebSocketError, WebSocketStream},
};
use sockeye_testing::others_run;
use tokio::sync::oneshot;

use crate::support::{Events, Told, answer, clean, echo, failed, header, script, serve, switch};

/// What comes of an answer, given the request.
async fn outcome(
    protocols: &[&str],
    make: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
) -> (Vec<Told>, String) {
    let url = script(|stream, head| async move {
        answer(stream, &make(&head)).await;
    })
    .await;
    let socket = WebSocket::new(&url, protocols).unwrap();
    let events = Events::of(&socket).all().await;
    let cause = socket.last_error().map(|cause| cause.to_string());
    (events, cause.unwrap_or_default())
}

async fn assert_fails(protocols: &[&str], make: impl FnOnce(&str) -> Vec<u8> + Send + 'static) {
    let (events, cause) = outcome(protocols, make).await;
    assert_eq!(events, [Told::Error, failed()]);
    assert!(!cause.is_empty());
}

/// Rule: A13.
#[tokio::test]
async fn protocols_are_matched_with_their_case() {
    assert_fails(&["FOOBAR"], |head| switch(head, "Sec-WebSocket-Protocol: foobar\r\n")).await;
}

/// Mixed Content §4.3: no exception, but a connection that fails.
///
/// Rule: A18.
#[tokio::test]
async fn an_encrypted_page_opens_no_other_socket_save_to_this_machine() {
    let page = WebSocket::builder().base_url("https://page.example/").unwrap();
    for url in ["ws://page.example/", "http://page.example/"] {
        let socket = page.open(url, ()).unwrap();
        assert_eq!(socket.url(), "ws://page.example/");
        assert_eq!(Events::of(&socket).all().await, [Told::Error, failed()]);
        assert!(matches!(*socket.last_error().unwrap(), Cause::MixedContent));
    }
    let url = echo().await;
    let origin = url.replace("ws://", "http://");
    let local = page.clone().origin(origin.trim_end_matches('/').parse().unwrap());
    let socket = local.open(&url, ()).unwrap();
    assert_eq!(Events::of(&socket).next().await, Told::Open);
    let options = StreamOptions::default().builder(page);
    let error = WebSocketStream::connect("ws://page.example/", options).await.unwrap_err();
    let cause = error.as_websocket_error().and_then(WebSocketError::cause);
    assert!(matches!(cause, Some(Cause::MixedContent)), "{error}");
}

/// Notes down what it is asked and given.
#[derive(Default)]
struct Jar {
    cookies: Mutex<Vec<String>>,
    urls: Mutex<Vec<String>>,
}

impl CookieJar for Jar {
    fn cookies(&self, url: &str) -> Option<HeaderValue> {
        self.urls.lock().unwrap().push(url.to_owned());
        let cookies = self.cookies.lock().unwrap().join("; ");
        (!cookies.is_empty()).then(|| cookies.parse().unwrap())
    }

    fn set_cookie(&self, url: &str, header: &HeaderValue) {
        self.urls.lock().unwrap().push(url.to_owned());
        let pair = header.to_str().unwrap().split(';').next().unwrap();
        self.cookies.lock().unwrap().push(pair.to_owned());
    }
}

/// Rule: A19.
#[tokio::test]
async fn cookies_that_an_answer_sets_go_with_the_next_request() {
    let jar = Arc::new(Jar::default());
    let page = WebSocket::builder().cookie_jar(jar.clone()).cookie("own=1".parse().unwrap());
    let refused =
        "HTTP/1.1 401 Unauthorized\r\nSet-Cookie: a=1; HttpOnly\r\nSet-Cookie: b=2\r\n\r\n";
    let url = script(|stream, _| async { drop(answer(stream, refused.as_bytes()).await) }).await;
    let socket = page.open(&url, ()).unwrap();
    assert_eq!(Events::of(&socket).all().await, [Told::Error, failed()]);
    assert!(socket.response().is_none());
    let http = url.replace("ws://", "http://");
    assert_eq!(*jar.urls.lock().unwrap(), [http.as_str(); 3]);

    let (sender, head) = oneshot::channel();
    let url = script(|stream, head| async move {
        let opened = switch(&head, "Set-Cookie: c=3\r\nX-Region: north\r\n");
        sender.send(head).unwrap();
        answer(stream, &opened).await;
    })
    .await;
    let socket = page.open(&url, ()).unwrap();
    assert_eq!(Events::of(&socket).next().await, Told::Open);
    assert_eq!(header(&head.await.unwrap(), "cookie").as_deref(), Some("own=1; a=1; b=2"));
    assert_eq!(*jar.cookies.lock().unwrap(), ["a=1", "b=2", "c=3"]);
    assert_eq!(socket.response().unwrap().headers()["x-region"], "north");
}

/// Rule: A22.
#[tokio::test]
async fn any_other_status_fails_and_no_redirect_is_followed() {
    for status in ["200 OK", "404 Not Found", "500 Oh", "401 Unauthorized"] {
        assert_fails(&[], move |_| {
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        })
        .await;
    }
    let elsewhere = echo().await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let location = elsewhere.clone();
        assert_fails(&[], move |_| {
            format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
                .into_bytes()
        })
        .await;
    }
}

/// Rule: A23.
#[tokio::test]
async fn a_protocol_that_was_asked_for_must_be_chosen() {
    let (events, cause) = outcome(&["chat"], |head| switch(head, "")).await;
    assert_eq!(events, [Told::Error, failed()]);
    assert!(cause.contains("chose none"), "{cause}");
    assert_fails(&["chat"], |head| switch(head, "Sec-WebSocket-Protocol: \r\n")).await;
    assert_fails(&["chat", "b"], |head| switch(head, "Sec-WebSocket-Protocol: chat, b\r\n")).await;
}

/// Rule: A24.
#[tokio::test]
async fn a_protocol_that_was_not_asked_for_fails() {
    assert_fails(&[], |head| switch(head, "Sec-WebSocket-Protocol: chat\r\n")).await;
}

/// Rule: A25.
#[tokio::test]
async fn a_wrong_accept_fails() {
    let wrong = |_: &str| switch("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "");
    let (events, cause) = outcome(&[], wrong).await;
    assert_eq!(events, [Told::Error, failed()]);
    assert!(cause.contains("Sec-WebSocket-Accept"), "{cause}");
}

/// Rule: A26.
#[tokio::test]
async fn garbage_fails_once() {
    assert_fails(&[], |_| b"garbage\r\n\r\nmore garbage".to_vec()).await;
    assert_fails(&[], |_| b"\x00\x01\x02\x03\xff\r\n\r\n".to_vec()).await;
}

/// Rule: A27.
#[tokio::test]
async fn open_comes_before_a_close_in_the_same_segment() {
    let url = script(|stream, head| async move {
        let mut bytes = switch(&head, "");
        bytes.extend_from_slice(b"\x88\x06\x03\xe9PASS");
        answer(stream, &bytes).await;
    })
    .await;
    let socket = WebSocket::new(&url, ()).unwrap();
    socket.set_onopen(|event| event.target().close(None, "").unwrap());
    let events = Events::of(&socket).all().await;
    assert_eq!(events, [Told::Open, clean(1001, "PASS")]);
}

/// Rule: A28.
#[tokio::test]
async fn one_socket_at_a_time_connects_to_a_server() {
    let connecting = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (counter, peak) = (connecting.clone(), most.clone());
    let url = serve(move |incoming| {
        let (counter, peak) = (counter.clone(), peak.clone());
        async move {
            peak.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            others_run().await;
            counter.fetch_sub(1, Ordering::SeqCst);
            let mut socket = incoming.accept().await?;
            while socket.recv().await.is_some() {}
            Ok(())
        }
    })
    .await;
    let open = async |queue: Option<ConnectQueue>| {
        let builder = WebSocket::builder().connect_queue(queue);
        let sockets: Vec<_> = (0..4).map(|_| builder.open(&url, ()).unwrap()).collect();
        let mut events: Vec<_> = sockets.iter().map(Events::of).collect();
        for events in &mut events {
            assert_eq!(events.next().await, Told::Open);
        }
        most.swap(0, Ordering::SeqCst)
    };
    assert_eq!(open(Some(ConnectQueue::new())).await, 1);
    assert_eq!(open(Some(ConnectQueue::process_wide())).await, 1);
    assert!(open(None).await > 1, "without turns they do not wait");
}

/// Rule: A28.
#[tokio::test]
async fn a_socket_that_fails_gives_its_turn_to_the_next() {
    let url = echo().await;
    let first = WebSocket::new(&url, ()).unwrap();
    let second = WebSocket::new(&url, ()).unwrap();
    let mut events = Events::of(&second);
    first.close(None, "").unwrap();
    assert_eq!(events.next().await, Told::Open);
}

/// Rule: A29.
#[tokio::test]
async fn each_of_25_sockets_hears_each_event_once() {
    let url = serve(|incoming| async move {
        let mut socket = incoming.accept().await?;
        socket.send("hello").await?;
        let bye = sockeye::CloseFrame::new(sockeye::CloseCode::NORMAL, "bye")?;
        socket.close(bye).await;
        Ok(())
    })
    .await;
    let sockets: Vec<_> = (0..25).map(|_| WebSocket::new(&url, ()).unwrap()).collect();
    for mut events in sockets.iter().map(Events::of).collect::<Vec<_>>() {
        let expected = [Told::Open, Told::Text("hello".to_owned()), clean(1000, "bye")];
        assert_eq!(events.all().await, expected);
    }
}

/// Rule: A30.
#[tokio::test]
async fn no_extensions_are_an_empty_string() {
    let url = script(|stream, head| async move {
        answer(stream, &switch(&head, "")).await;
    })
    .await;
    let socket = WebSocket::new(&url, ()).unwrap();
    assert_eq!(Events::of(&socket).next().await, Told::Open);
    assert_eq!(socket.extensions(), "");
}

/// Rule: A44.
#[tokio::test]
async fn a_host_that_does_not_exist_is_an_error_event() {
    let socket = WebSocket::new("ws://example.invalid/", ()).unwrap();
    assert_eq!(Events::of(&socket).all().await, [Told::Error, failed()]);
}
