//! A46–A60: sending, and what is buffered.

use std::{io::Write, time::Duration};

use sockeye::{
    Config, Message,
    web::{BinaryType, Blob, WebSocket},
};
use sockeye_testing::others_run;
use tokio::io::AsyncWriteExt;

use crate::support::{Events, Told, clean, echo, failed, recorder, script, serve, soon, switch};

async fn opened(url: &str) -> (WebSocket, Events) {
    let config = Config::default().max_message_size(16 << 20);
    let socket = WebSocket::builder().config(config).open(url, ()).unwrap();
    socket.set_binary_type(BinaryType::ArrayBuffer);
    let mut events = Events::of(&socket);
    assert_eq!(events.next().await, Told::Open);
    (socket, events)
}

/// Rule: A47.
#[tokio::test]
async fn sending_before_open_is_an_invalid_state_error() {
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    assert_eq!(socket.send("early").unwrap_err().name(), "InvalidStateError");
    assert_eq!(socket.buffered_amount(), 0);
}

/// Rules: A48, A51.
#[tokio::test]
async fn text_is_one_text_message_even_if_empty() {
    let (socket, mut events) = opened(&echo().await).await;
    for text in ["hello", "", "¥¥¥¥ 日本 👍", "a\u{FFFD}b"] {
        socket.send(text).unwrap();
        assert_eq!(events.next().await, Told::Text(text.to_owned()));
    }
}

/// Rule: A50.
#[tokio::test]
async fn binary_is_the_window_that_was_given() {
    let (socket, mut events) = opened(&echo().await).await;
    let bytes = bytes::Bytes::from_static(b"0123456789");
    socket.send(bytes.slice(2..5)).unwrap();
    socket.send(&bytes[5..]).unwrap();
    socket.send(vec![0u8; 0]).unwrap();
    socket.send(Blob::new(bytes).slice(1..100)).unwrap();
    for expected in [&b"234"[..], b"56789", b"", b"123456789"] {
        assert_eq!(events.next().await, Told::Bytes(expected.to_vec()));
    }
}

/// Rule: A50.
#[tokio::test]
async fn a_file_is_sent_as_a_blob_and_later_messages_wait_for_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let contents: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    file.write_all(&contents).unwrap();
    let blob = Blob::from_file(file.path()).await.unwrap();
    assert_eq!(blob.size(), 300_000);
    assert_eq!(blob.slice(10..20).bytes().await.unwrap(), contents[10..20]);
    let (url, mut received) = recorder().await;
    let (socket, mut events) = opened(&url).await;
    socket.send("before").unwrap();
    socket.send(blob.clone()).unwrap();
    socket.send(blob.slice(5..5)).unwrap();
    socket.send("after").unwrap();
    assert_eq!(socket.buffered_amount(), 6 + 300_000 + 5);
    socket.close(1000, "").unwrap();
    let binary = |bytes: &[u8]| Message::binary(bytes.to_vec());
    for expected in ["before".into(), binary(&contents), binary(b""), "after".into()] {
        assert!(soon(received.recv()).await == Some(Ok(expected)));
    }
    assert_eq!(events.next().await, clean(1000, ""));
    assert_eq!(socket.buffered_amount(), 0);
}

/// Rule: A50.
#[tokio::test]
async fn a_file_that_is_gone_fails_the_connection() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let blob = Blob::from_file(file.path()).await.unwrap();
    drop(file);
    let (socket, mut events) = opened(&echo().await).await;
    socket.send(blob).unwrap();
    assert_eq!(events.all().await, [Told::Error, failed()]);
    let cause = socket.last_error().unwrap().to_string();
    assert!(cause.contains("blob"), "{cause}");
}

/// Rule: A52.
#[tokio::test]
async fn lengths_on_the_boundaries_of_the_forms_come_back() {
    let (socket, mut events) = opened(&echo().await).await;
    for length in [125, 126, 127, 65_535, 65_536, 65_537] {
        let text = "x".repeat(length);
        socket.send(text.as_str()).unwrap();
        assert!(events.next().await == Told::Text(text), "{length}");
    }
}

/// Rules: A53, A57.
#[tokio::test]
async fn sending_too_late_sends_nothing_but_counts() {
    let (url, mut received) = recorder().await;
    let (socket, mut events) = opened(&url).await;
    socket.close(1000, "").unwrap();
    assert_eq!(socket.ready_state(), WebSocket::CLOSING);
    socket.send("late").unwrap();
    assert_eq!(socket.buffered_amount(), 4);
    assert_eq!(events.next().await, clean(1000, ""));
    socket.send(vec![0; 10]).unwrap();
    socket.send("é").unwrap();
    assert_eq!(socket.buffered_amount(), 16);
    tokio::task::yield_now().await;
    assert_eq!(socket.buffered_amount(), 16);
    assert!(soon(received.recv()).await.unwrap().is_err(), "nothing but the end was received");
}

/// Rules: A55, A56.
#[tokio::test]
async fn what_is_buffered_grows_at_once_by_the_payload_and_shrinks_between_tasks() {
    let (url, mut received) = recorder().await;
    let (socket, _events) = opened(&url).await;
    socket.send("日本").unwrap();
    assert_eq!(socket.buffered_amount(), 6);
    socket.send(vec![0; 1000]).unwrap();
    socket.send(Blob::new(vec![0; 70_000])).unwrap();
    assert_eq!(socket.buffered_amount(), 6 + 1000 + 70_000);
    // A real pause, in which no other task runs: what wrote from another thread would have written.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(socket.buffered_amount(), 6 + 1000 + 70_000);
    for _ in 0..3 {
        soon(received.recv()).await.unwrap().unwrap();
    }
    soon(async {
        while socket.buffered_amount() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Rule: A56.
#[tokio::test]
async fn what_is_buffered_never_shrinks_inside_of_a_listener() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let socket = WebSocket::new(&echo().await, ()).unwrap();
    socket.set_onopen(move |event| {
        let socket = event.target();
        socket.send("12345").unwrap();
        // A real pause, as above.
        std::thread::sleep(Duration::from_millis(20));
        socket.send("12345").unwrap();
        sender.send(socket.buffered_amount()).unwrap();
    });
    assert_eq!(soon(receiver.recv()).await, Some(10));
}

/// Rule: A58.
#[tokio::test]
async fn more_than_may_wait_fails_the_connection() {
    let url = script(|mut stream, head| async move {
        stream.write_all(&switch(&head, "")).await.unwrap();
        // It never reads.
        std::future::pending::<()>().await;
    })
    .await;
    let socket = WebSocket::builder().max_buffered_amount(1 << 20).open(&url, ()).unwrap();
    let mut events = Events::of(&socket);
    assert_eq!(events.next().await, Told::Open);
    socket.send(vec![0; 1 << 20]).unwrap();
    socket.send("x").unwrap();
    assert_eq!(socket.buffered_amount(), (1 << 20) + 1);
    assert_eq!(events.all().await, [Told::Error, failed()]);
    let cause = socket.last_error().unwrap().to_string();
    assert!(cause.contains("bytes are buffered"), "{cause}");
}

/// Rule: A59.
#[tokio::test]
async fn a_slow_reader_gets_everything_and_a_clean_close() {
    const MESSAGES: usize = 50;
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let url = serve(move |incoming| {
        let sender = sender.clone();
        async move {
            let mut socket = incoming.accept().await?;
            let mut count = 0;
            while let Some(message) = socket.recv().await {
                count += message?.len();
                others_run().await;
            }
            sender.send(count)?;
            Ok(())
        }
    })
    .await;
    let (socket, mut events) = opened(&url).await;
    for _ in 0..MESSAGES {
        socket.send(vec![0; 64 << 10]).unwrap();
    }
    socket.close(1000, "").unwrap();
    assert_eq!(soon(received.recv()).await, Some(MESSAGES * (64 << 10)));
    assert_eq!(events.next().await, clean(1000, ""));
    assert_eq!(socket.buffered_amount(), 0);
}

/// Rule: A60.
#[tokio::test]
async fn what_was_sent_before_close_goes_out_before_it() {
    let (url, mut received) = recorder().await;
    let (socket, _events) = opened(&url).await;
    for i in 0..100 {
        socket.send(i.to_string()).unwrap();
    }
    socket.close(3000, "done").unwrap();
    for i in 0..100 {
        assert_eq!(soon(received.recv()).await, Some(Ok(i.to_string().into())));
    }
    let closed = soon(received.recv()).await.unwrap().unwrap_err();
    assert_eq!((closed.code(), closed.reason()), (3000, "done"));
}
