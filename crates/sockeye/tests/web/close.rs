//! A61–A72 and the table of close events.

use std::time::Duration;

use sockeye::{CloseCode, CloseFrame, Config, web::WebSocket};
use sockeye_testing::others_run;
use tokio::io::AsyncWriteExt;

use crate::support::{
    Events, Told, answer, clean, echo, failed, read_frame, script, serve, soon, switch,
};

async fn opened(url: &str) -> (WebSocket, Events) {
    let socket = WebSocket::new(url, ()).unwrap();
    let mut events = Events::of(&socket);
    assert_eq!(events.next().await, Told::Open);
    (socket, events)
}

fn name(socket: &WebSocket, code: impl Into<Option<u16>>, reason: &str) -> &'static str {
    socket.close(code, reason).unwrap_err().name()
}

/// Rules: A61, A62.
#[tokio::test]
async fn only_1000_and_3000_to_4999_may_be_given() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    for code in [0, 1, 500, 999, 1001, 1002, 1005, 1006, 1011, 1015, 2999, 5000, u16::MAX] {
        assert_eq!(name(&socket, code, ""), "InvalidAccessError", "{code}");
    }
    assert_eq!(name(&socket, None, "only a reason"), "InvalidAccessError");
    assert_eq!(socket.ready_state(), WebSocket::CONNECTING);
}

/// Rule: A63.
#[tokio::test]
async fn a_reason_of_more_than_123_bytes_is_a_syntax_error() {
    let (socket, mut events) = opened(&echo().await).await;
    assert_eq!(name(&socket, 1000, &"x".repeat(124)), "SyntaxError");
    assert_eq!(name(&socket, 1000, &"é".repeat(62)), "SyntaxError");
    assert_eq!(socket.ready_state(), WebSocket::OPEN);
    let longest = "é".repeat(61) + "x";
    socket.close(1000, &longest).unwrap();
    assert_eq!(events.next().await, clean(1000, &longest));
}

/// Rule: A64.
#[tokio::test]
async fn the_code_is_judged_before_the_reason_and_both_before_the_state() {
    let (socket, mut events) = opened(&echo().await).await;
    assert_eq!(name(&socket, 1001, &"x".repeat(124)), "InvalidAccessError");
    socket.close(1000, "").unwrap();
    assert_eq!(name(&socket, 1001, ""), "InvalidAccessError");
    assert_eq!(events.next().await, clean(1000, ""));
    assert_eq!(name(&socket, 1001, ""), "InvalidAccessError");
    assert_eq!(name(&socket, 1000, &"x".repeat(124)), "SyntaxError");
}

/// Rule: A66.
#[tokio::test]
async fn closing_again_does_nothing() {
    let (socket, mut events) = opened(&echo().await).await;
    socket.set_onclose(|event| event.target().close(3001, "in onclose").unwrap());
    for code in [3000, 3001, 3002] {
        socket.close(code, "").unwrap();
    }
    assert_eq!(events.all().await, [clean(3000, "")]);
    socket.close(None, "").unwrap();
    assert_eq!(socket.ready_state(), WebSocket::CLOSED);
}

/// Rule: A67.
#[tokio::test]
async fn closing_while_connecting_fails_later_and_never_inside_of_close() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    let mut events = Events::of(&socket);
    socket.close(None, "").unwrap();
    assert_eq!(socket.ready_state(), WebSocket::CLOSING);
    assert_eq!(events.so_far(), []);
    assert_eq!(events.all().await, [Told::Error, failed()]);
}

/// Rule: A67.
#[tokio::test]
async fn closing_gives_up_a_handshake_under_way() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (gone, seen_gone) = tokio::sync::oneshot::channel();
    let url = script(|stream, _| async move {
        sender.send(()).unwrap();
        let rest = answer(stream, b"").await;
        gone.send(rest).unwrap();
    })
    .await;
    let socket = WebSocket::new(&url, ()).unwrap();
    let mut events = Events::of(&socket);
    soon(receiver).await.unwrap();
    socket.close(1000, "never mind").unwrap();
    assert_eq!(events.all().await, [Told::Error, failed()]);
    assert_eq!(soon(seen_gone).await.unwrap(), b"", "no Close frame was sent");
}

/// Rules: A65, A68.
#[tokio::test]
async fn the_close_frame_has_what_was_given() {
    for (code, reason, body) in [
        (None, "", &b""[..]),
        (Some(1000), "", b"\x03\xe8"),
        (Some(3000), "why", b"\x0b\xb8why"),
        (Some(4999), "a\u{FFFD}", b"\x13\x87a\xef\xbf\xbd"),
    ] {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let url = script(|mut stream, head| async move {
            stream.write_all(&switch(&head, "")).await.unwrap();
            sender.send(read_frame(&mut stream).await).unwrap();
            stream.write_all(b"\x88\x00").await.unwrap();
        })
        .await;
        let (socket, mut events) = opened(&url).await;
        socket.close(code, reason).unwrap();
        assert_eq!(soon(receiver).await.unwrap(), (0x88, body.to_vec()));
        // The table: an empty Close received is 1005, whatever was sent.
        assert_eq!(events.all().await, [clean(1005, "")]);
    }
}

/// Rule: A69.
#[tokio::test]
async fn a_bom_in_the_reason_is_kept() {
    let url = script(|stream, head| async move {
        let close = b"\x88\x06\x03\xe8\xef\xbb\xbfx";
        answer(stream, &[&switch(&head, "")[..], close].concat()).await;
    })
    .await;
    let (_socket, mut events) = opened(&url).await;
    assert_eq!(events.next().await, clean(1000, "\u{FEFF}x"));
}

/// Rule: A70.
#[tokio::test]
async fn close_is_told_when_the_server_has_answered_and_ended_the_connection() {
    let (sender, mut steps) = tokio::sync::mpsc::channel(1);
    let url = script(move |mut stream, head| async move {
        stream.write_all(&switch(&head, "")).await.unwrap();
        read_frame(&mut stream).await;
        // It goes on when the test has looked.
        sender.send("the Close has come").await.unwrap();
        sender.reserve().await.unwrap();
        stream.write_all(b"\x88\x02\x03\xe8").await.unwrap();
        sender.send("it is answered").await.unwrap();
        sender.reserve().await.unwrap();
    })
    .await;
    let (socket, mut events) = opened(&url).await;
    socket.close(1000, "").unwrap();
    for step in ["the Close has come", "it is answered"] {
        while steps.is_empty() {
            tokio::task::yield_now().await;
        }
        others_run().await;
        assert_eq!(events.so_far(), [], "{step}");
        assert_eq!(steps.recv().await, Some(step));
    }
    assert_eq!(events.next().await, clean(1000, ""));
}

/// Rule: A71.
#[tokio::test]
async fn a_close_of_the_server_is_answered_and_clean() {
    for (code, reason) in [(1000, ""), (1001, "going"), (3005, "é"), (1012, "restart")] {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let url = serve(move |incoming| {
            let sender = sender.clone();
            async move {
                let mut socket = incoming.accept().await?;
                let closed =
                    socket.close(CloseFrame::new(CloseCode::try_from(code)?, reason)?).await;
                sender.send(closed)?;
                Ok(())
            }
        })
        .await;
        let (_socket, mut events) = opened(&url).await;
        assert_eq!(events.all().await, [clean(code, reason)]);
        assert!(soon(receiver.recv()).await.unwrap().is_clean());
    }
}

/// Rule: A71.
#[tokio::test]
async fn a_close_without_a_body_is_1005() {
    let url = script(|stream, head| async move {
        let sent = answer(stream, &[&switch(&head, "")[..], b"\x88\x00"].concat()).await;
        assert_eq!(sent.len(), 6, "an empty Close is answered with an empty one");
    })
    .await;
    // The client waits for the server to end the connection: at most so long.
    let config = Config::default().close_timeout(Duration::from_millis(100));
    let socket = WebSocket::builder().config(config).open(&url, ()).unwrap();
    assert_eq!(Events::of(&socket).all().await, [Told::Open, clean(1005, "")]);
}

/// Rule: A39.
#[tokio::test]
async fn the_table_of_failures_is_1006_and_not_clean() {
    for (bytes, why) in [
        (&b""[..], "lost without a Close"),
        (b"\x81\x02\xc3\x28", "text that is not UTF-8"),
        (b"\x88\x02\x03\xed", "a Close with 1005"),
        (b"\x88\x02\x03\xf7", "a Close with 1015"),
        (b"\x88\x02\x03\xe7", "a Close with 999"),
        (b"\x88\x01\x03", "a Close with half a code"),
        (b"\x81\x82aaaa\x09\x08", "a masked frame"),
        (b"\xc1\x01a", "reserved bits"),
    ] {
        let url = script(move |mut stream, head| async move {
            let bytes = [&switch(&head, "")[..], bytes].concat();
            stream.write_all(&bytes).await.unwrap();
            // Ends its side, and reads what the client has to say.
            stream.shutdown().await.unwrap();
            answer(stream, b"").await;
        })
        .await;
        let socket = WebSocket::new(&url, ()).unwrap();
        let events = Events::of(&socket).all().await;
        assert_eq!(events, [Told::Open, Told::Error, failed()], "{why}");
        assert!(socket.last_error().is_some(), "{why}");
    }
}

/// Rule: A39.
#[tokio::test]
async fn a_close_that_is_never_answered_is_a_failure() {
    let url = script(|mut stream, head| async move {
        stream.write_all(&switch(&head, "")).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let config = Config::default().close_timeout(Duration::from_millis(50));
    let socket = WebSocket::builder().config(config).open(&url, ()).unwrap();
    socket.set_onopen(|event| event.target().close(1000, "").unwrap());
    assert_eq!(Events::of(&socket).all().await, [Told::Open, Told::Error, failed()]);
}
