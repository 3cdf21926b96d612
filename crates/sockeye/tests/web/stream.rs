//! S1–S15: `WebSocketStream`.

use std::time::Duration;

use futures_util::FutureExt;
use sockeye::{
    CloseCode, CloseFrame, Message,
    web::{CloseInfo, StreamError, StreamOpened, StreamOptions, WebSocketError, WebSocketStream},
};
use sockeye_testing::others_run;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::support::{answer, echo, recorder, script, serve, soon, switch};

async fn open(url: &str) -> StreamOpened {
    soon(WebSocketStream::connect(url, StreamOptions::default())).await.unwrap()
}

/// Rule: S1.
#[tokio::test]
async fn what_the_constructor_refuses() {
    for url in ["invalid:", "ws://h/#f"] {
        let error = WebSocketStream::connect(url, StreamOptions::default()).await.unwrap_err();
        assert!(
            matches!(&error, StreamError::Exception(e) if e.name() == "SyntaxError"),
            "{error}"
        );
    }
    let options = StreamOptions::default().protocols(["a", "a"]);
    let error = WebSocketStream::connect("ws://h/", options).await.unwrap_err();
    assert!(matches!(&error, StreamError::Exception(e) if e.name() == "SyntaxError"), "{error}");
}

/// Rule: S2.
#[tokio::test]
async fn a_token_cancelled_before_makes_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let token = CancellationToken::new();
    token.cancel();
    let options = StreamOptions::default().signal(token);
    let error = soon(WebSocketStream::connect(&url, options)).await.unwrap_err();
    assert!(matches!(error, StreamError::Aborted), "{error}");
    others_run().await;
    assert!(listener.accept().now_or_never().is_none(), "it has connected");
}

/// Rule: S3.
#[tokio::test]
async fn a_token_cancelled_meanwhile_gives_up_and_later_means_nothing() {
    let token = CancellationToken::new();
    let canceller = token.clone();
    let url = script(|stream, _| async move {
        canceller.cancel();
        answer(stream, b"").await;
    })
    .await;
    let options = StreamOptions::default().signal(token);
    let error = soon(WebSocketStream::connect(&url, options)).await.unwrap_err();
    assert!(matches!(error, StreamError::Aborted), "{error}");

    let token = CancellationToken::new();
    let options = StreamOptions::default().signal(token.clone());
    let mut opened = WebSocketStream::connect(&echo().await, options).await.unwrap();
    token.cancel();
    opened.writer.write("still open").await.unwrap();
    let message = soon(opened.reader.read()).await.unwrap().unwrap();
    assert_eq!(message.as_text(), Some("still open"));
}

/// Rule: S3.
#[tokio::test]
async fn opened_and_closed_tell_that_it_was_aborted() {
    let (url, _server) = silent().await;
    for before in [true, false] {
        let token = CancellationToken::new();
        if before {
            token.cancel();
        }
        let options = StreamOptions::default().signal(token.clone());
        let socket = WebSocketStream::new(&url, options).unwrap();
        token.cancel();
        assert!(matches!(soon(socket.opened()).await, Err(StreamError::Aborted)));
        assert!(matches!(soon(socket.closed()).await, Err(StreamError::Aborted)));
    }
}

/// Rule: S4.
#[tokio::test]
async fn there_is_one_reader_and_one_writer() {
    let url = echo().await;
    let socket = WebSocketStream::new(&url, StreamOptions::default()).unwrap();
    assert_eq!(socket.url(), url);
    // What waits in vain takes nothing away.
    assert!(socket.opened().now_or_never().is_none());
    let StreamOpened { mut reader, mut writer, .. } = soon(socket.opened()).await.unwrap();
    let Err(StreamError::Exception(error)) = soon(socket.opened()).await else { panic!() };
    assert_eq!(error.name(), "InvalidStateError");
    writer.write("hello").await.unwrap();
    assert_eq!(soon(reader.read()).await.unwrap().unwrap().as_text(), Some("hello"));
}

/// Rules: S5, S9.
#[tokio::test]
async fn closed_while_it_is_opened_it_fails() {
    let (url, server) = silent().await;
    let socket = WebSocketStream::new(&url, StreamOptions::default()).unwrap();
    assert_eq!(socket.url(), url);
    let (mut stream, _) = soon(server.accept()).await.unwrap();
    assert_eq!(socket.close(CloseInfo::new(1001, "")).unwrap_err().name(), "InvalidAccessError");
    assert!(socket.opened().now_or_never().is_none(), "a call that is refused changes nothing");
    socket.close(CloseInfo::default()).unwrap();
    for error in
        [soon(socket.opened()).await.unwrap_err(), soon(socket.closed()).await.unwrap_err()]
    {
        let error = error.as_websocket_error().unwrap();
        assert_eq!((error.name(), error.close_code()), ("WebSocketError", Some(1006)));
    }
    // The server sees the end.
    let mut request = Vec::new();
    let _ = soon(stream.read_to_end(&mut request)).await;
    assert!(!request.ends_with(b"\x88\x80"), "there is nothing to close yet");
}

/// Rule: S5.
#[tokio::test]
async fn a_connection_that_fails_rejects_both() {
    let socket = WebSocketStream::new("ws://127.0.0.1:1/", StreamOptions::default()).unwrap();
    for error in
        [soon(socket.opened()).await.unwrap_err(), soon(socket.closed()).await.unwrap_err()]
    {
        let error = error.as_websocket_error().unwrap();
        assert_eq!((error.close_code(), error.reason()), (Some(1006), ""));
    }
}

/// Rule: S15.
#[tokio::test]
async fn dropped_while_it_is_opened_it_is_given_up() {
    let (url, server) = silent().await;
    let socket = WebSocketStream::new(&url, StreamOptions::default()).unwrap();
    let (mut stream, _) = soon(server.accept()).await.unwrap();
    drop(socket);
    let _ = soon(stream.read_to_end(&mut Vec::new())).await;
}

/// A server that takes connections and answers nothing.
async fn silent() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("ws://{}/", listener.local_addr().unwrap()), listener)
}

/// Rule: S4.
#[tokio::test]
async fn opened_has_what_was_agreed_on() {
    let options = StreamOptions::default().protocols("chat");
    let opened = WebSocketStream::connect(&echo().await, options).await.unwrap();
    assert_eq!((opened.protocol.as_str(), opened.extensions.as_str()), ("chat", ""));
    assert_eq!(open(&echo().await).await.protocol, "");
}

/// Rule: S5.
#[tokio::test]
async fn a_failed_connection_is_a_websocket_error() {
    let url = script(|stream, _| async {
        answer(stream, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let error = WebSocketStream::connect(&url, StreamOptions::default()).await.unwrap_err();
    let StreamError::WebSocket(error) = error else { panic!("{error}") };
    assert_eq!((error.name(), error.close_code()), ("WebSocketError", Some(1006)));
    assert!(error.cause().is_some());
}

/// Rule: S6.
#[tokio::test]
async fn a_reader_that_does_not_read_makes_the_server_wait() {
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let url = serve(move |incoming| {
        let sender = sender.clone();
        async move {
            let mut socket = incoming.accept().await?;
            for i in 0..32 {
                socket.send(vec![0; 1 << 20]).await?;
                sender.send(i)?;
            }
            socket.close(CloseCode::NORMAL).await;
            Ok(())
        }
    })
    .await;
    let StreamOpened { mut reader, .. } = open(&url).await;
    // The last one cannot be sent before something is read, however long that takes.
    let all = async { while sent.recv().await != Some(31) {} };
    tokio::pin!(all);
    assert!(timeout(Duration::from_millis(200), &mut all).await.is_err());
    let mut count = 0;
    while let Some(message) = soon(reader.read()).await {
        assert_eq!(message.unwrap().len(), 1 << 20);
        count += 1;
    }
    assert_eq!(count, 32);
}

/// Rule: S7.
#[tokio::test]
async fn a_write_waits_for_the_network() {
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let url = script(|mut stream, head| async move {
        stream.write_all(&switch(&head, "")).await.unwrap();
        let _ = wait.await;
        answer(stream, b"").await;
    })
    .await;
    let StreamOpened { mut writer, socket, reader, .. } = open(&url).await;
    writer.write("small").await.unwrap();
    let large = writer.write(vec![0; 32 << 20]);
    tokio::pin!(large);
    // A real pause: the buffers of the system take what they can meanwhile.
    assert!(timeout(Duration::from_millis(200), &mut large).await.is_err());
    go.send(()).unwrap();
    soon(large).await.unwrap();
    drop((socket, reader));
}

/// Rule: S9.
#[tokio::test]
async fn close_judges_its_arguments() {
    let StreamOpened { socket, .. } = open(&echo().await).await;
    for code in [0, 999, 1001, 1005, 2999, 5000] {
        let error = socket.close(CloseInfo::new(code, "")).unwrap_err();
        assert_eq!(error.name(), "InvalidAccessError", "{code}");
    }
    let error = socket.close(CloseInfo::new(1000, "x".repeat(124))).unwrap_err();
    assert_eq!(error.name(), "SyntaxError");
}

/// Rules: S9, S10.
#[tokio::test]
async fn closed_is_what_the_server_answered() {
    for (info, answered) in [
        (CloseInfo::default(), CloseInfo::new(1005, "")),
        (CloseInfo::new(1000, ""), CloseInfo::new(1000, "")),
        (CloseInfo::new(None, "why"), CloseInfo::new(1000, "why")),
        (CloseInfo::new(4999, "é"), CloseInfo::new(4999, "é")),
    ] {
        let StreamOpened { socket, .. } = open(&echo().await).await;
        socket.close(info).unwrap();
        assert_eq!(soon(socket.closed()).await.unwrap(), answered);
    }
}

/// Rule: S10.
#[tokio::test]
async fn an_unclean_end_is_a_websocket_error() {
    let url = script(|stream, head| async move {
        let mut stream = stream;
        stream.write_all(&switch(&head, "")).await.unwrap();
    })
    .await;
    let StreamOpened { socket, mut reader, .. } = open(&url).await;
    let error = soon(socket.closed()).await.unwrap_err();
    let error = error.as_websocket_error().unwrap();
    assert_eq!((error.close_code(), error.reason()), (Some(1006), ""));
    assert!(soon(reader.read()).await.unwrap().is_err());
    assert!(soon(reader.read()).await.is_none());
}

/// Rule: S11.
#[tokio::test]
async fn closing_the_writer_closes_the_connection_and_waits_for_the_end() {
    let (url, mut received) = recorder().await;
    let StreamOpened { mut writer, socket, .. } = open(&url).await;
    writer.write("last").await.unwrap();
    soon(writer.close()).await.unwrap();
    assert_eq!(soon(received.recv()).await, Some(Ok(Message::text("last"))));
    let closed = soon(received.recv()).await.unwrap().unwrap_err();
    assert_eq!(closed.received, sockeye::CloseSignal::Empty);
    assert_eq!(soon(socket.closed()).await.unwrap().close_code, Some(1005));
}

/// Rule: S11.
#[tokio::test]
async fn aborting_and_cancelling_use_the_code_of_a_websocket_error() {
    let error = WebSocketError::new("enough", CloseInfo::new(3456, "set")).unwrap();
    let StreamOpened { writer, socket, .. } = open(&echo().await).await;
    writer.abort(Some(&error));
    assert_eq!(soon(socket.closed()).await.unwrap(), CloseInfo::new(3456, "set"));
    let StreamOpened { reader, socket, .. } = open(&echo().await).await;
    reader.cancel(Some(&error));
    assert_eq!(soon(socket.closed()).await.unwrap(), CloseInfo::new(3456, "set"));
    let StreamOpened { writer, socket, .. } = open(&echo().await).await;
    writer.abort(None);
    assert_eq!(soon(socket.closed()).await.unwrap(), CloseInfo::new(1005, ""));
}

/// Rule: S12.
#[tokio::test]
async fn what_the_server_closes_with_is_told_unless_something_was_unwritten() {
    let url = serve(|incoming| async move {
        let frame = CloseFrame::new(CloseCode::try_from(3000)?, "bye é")?;
        incoming.accept().await?.close(frame).await;
        Ok(())
    })
    .await;
    let StreamOpened { socket, .. } = open(&url).await;
    assert_eq!(soon(socket.closed()).await.unwrap(), CloseInfo::new(3000, "bye é"));

    let url = script(|mut stream, head| async move {
        stream.write_all(&switch(&head, "")).await.unwrap();
        // Of the message it reads the first byte, and then no more.
        stream.read_u8().await.unwrap();
        stream.write_all(b"\x88\x02\x03\xe8").await.unwrap();
        stream.shutdown().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let StreamOpened { socket, mut writer, reader, .. } = open(&url).await;
    let write = tokio::spawn(async move { writer.write(vec![0; 64 << 20]).await });
    assert!(soon(socket.closed()).await.is_err());
    assert!(soon(write).await.unwrap().is_err(), "a write that came to no end");
    drop(reader);
}

/// Rule: S13.
#[tokio::test]
async fn writing_after_the_end_is_an_invalid_state_error() {
    let StreamOpened { socket, mut writer, .. } = open(&echo().await).await;
    socket.close(CloseInfo::default()).unwrap();
    soon(socket.closed()).await.unwrap();
    let error = writer.write("late").await.unwrap_err();
    let StreamError::Exception(error) = error else { panic!("{error}") };
    assert_eq!(error.name(), "InvalidStateError");
}

/// Rule: S14.
#[test]
fn a_websocket_error_judges_its_arguments() {
    let make = |code: Option<u16>, reason: &str| {
        WebSocketError::new("words", CloseInfo::new(code, reason))
    };
    let error = make(None, "").unwrap();
    assert_eq!(
        (error.close_code(), error.reason(), error.to_string().as_str()),
        (None, "", "words")
    );
    assert_eq!(make(None, "why").unwrap().close_code(), Some(1000));
    assert_eq!(make(Some(3333), "why").unwrap().close_code(), Some(3333));
    assert_eq!(make(Some(1001), "").unwrap_err().name(), "InvalidAccessError");
    assert_eq!(make(None, &"é".repeat(62)).unwrap_err().name(), "SyntaxError");
}

/// Rule: S15.
#[tokio::test]
async fn dropping_everything_closes_the_connection() {
    let (url, mut received) = recorder().await;
    let mut opened = open(&url).await;
    opened.writer.write("last").await.unwrap();
    drop(opened);
    assert_eq!(soon(received.recv()).await, Some(Ok(Message::text("last"))));
    let closed = soon(received.recv()).await.unwrap().unwrap_err();
    assert_eq!((closed.is_clean(), closed.received), (true, sockeye::CloseSignal::Empty));
}
