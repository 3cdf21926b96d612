//! Backpressure and limits: a slow peer costs a bounded amount of memory, and the others nothing.

mod common;

use std::{sync::Arc, time::Duration};

use common::{BINARY, CLOSE, LINKS, TEXT, client_and_raw, pair, server_and_raw, soon};
use futures_util::SinkExt;
use sockeye::{Config, Error, Failure, Limit, Message};
use tokio::{sync::Barrier, time::timeout};

/// What is queued at most before senders wait, as the documentation has it.
const HIGH_WATER: usize = 64 << 10;

/// Sends until the peer has to read, and tells how often: nothing else says that the buffers of the system
/// are full.
async fn fill(mut send: impl AsyncFnMut() -> Result<(), Error>) -> usize {
    let mut sent = 0;
    while let Ok(done) = timeout(Duration::from_millis(200), send()).await {
        done.expect("the message is sent");
        sent += 1;
        assert!(sent < 4000, "128 MiB were taken for a peer that reads nothing");
    }
    sent
}

#[tokio::test]
async fn sending_waits_while_the_peer_does_not_read_and_goes_on_when_it_does() {
    for link in LINKS {
        let (mut client, mut raw) = client_and_raw(link, Config::default()).await;
        let chunk = 64 << 10;
        let sent = fill(async || client.send(vec![5; chunk]).await).await;
        assert!(client.buffered_amount() <= HIGH_WATER + chunk + 14);
        let last = tokio::spawn(async move { client.send("through").await.map(|()| client) });
        for _ in 0..sent {
            assert_eq!(raw.expect_frame().await.1.len(), chunk);
        }
        assert_eq!(raw.expect_frame().await, (TEXT, "through".into()));
        soon(last).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_pass_the_limit_by_one_message_together() {
    for link in LINKS {
        let (client, mut raw) = client_and_raw(link, Config::default()).await;
        let (_reader, writer) = client.split();
        // Fill what the transport itself holds.
        fill(async || writer.send(vec![1; 32 << 10]).await).await;
        let (writers, size) = (50, 30 << 10);
        let start = Arc::new(Barrier::new(writers + 1));
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let (writer, start) = (writer.clone(), start.clone());
                tokio::spawn(async move {
                    start.wait().await;
                    writer.send(vec![2; size]).await
                })
            })
            .collect();
        start.wait().await;
        let mut arrived = 0;
        while arrived < writers {
            assert!(writer.buffered_amount() <= HIGH_WATER + (32 << 10) + 14);
            arrived += usize::from(raw.expect_frame().await.1[0] == 2);
        }
        for task in tasks {
            soon(task).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_writer_that_waits_is_told_when_the_connection_ends() {
    for link in LINKS {
        let (client, raw) = client_and_raw(link, Config::default()).await;
        let (_reader, writer) = client.split();
        fill(async || writer.send(vec![1; 32 << 10]).await).await;
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let writer = writer.clone();
                tokio::spawn(async move { writer.send("x").await })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(raw);
        for task in waiting {
            assert!(soon(task).await.unwrap().is_err());
        }
    }
}

#[tokio::test]
async fn a_peer_that_floods_waits_while_the_application_does_not_read() {
    for link in LINKS {
        let (mut server, mut raw) = server_and_raw(link, Config::default()).await;
        let frame = raw.frame(BINARY, &vec![3; 10_000]);
        let mut flooded = 0;
        // Written whole or not at all: what is cut off here is sent in the end.
        let mut rest = &frame[..];
        while let Ok(written) = timeout(
            Duration::from_millis(200),
            tokio::io::AsyncWriteExt::write(&mut raw.stream, rest),
        )
        .await
        {
            rest = &rest[written.unwrap()..];
            if rest.is_empty() {
                (rest, flooded) = (&frame, flooded + 1);
            }
            assert!(flooded < 10_000, "100 MB were taken in for an application that does not read");
        }
        for _ in 0..flooded {
            assert_eq!(soon(server.recv()).await.unwrap().unwrap().len(), 10_000);
        }
        raw.write(rest).await;
        assert_eq!(soon(server.recv()).await.unwrap().unwrap().len(), 10_000);
    }
}

#[tokio::test]
async fn close_is_answered_behind_the_few_messages_that_are_taken_in() {
    for link in LINKS {
        let (mut server, mut raw) = server_and_raw(link, Config::default()).await;
        for number in 0..10 {
            raw.send(BINARY, &[number]).await;
        }
        raw.send(CLOSE, b"").await;
        assert_eq!(raw.expect_frame().await, (CLOSE, "".into()));
        for number in 0..10 {
            assert_eq!(soon(server.recv()).await.unwrap().unwrap(), vec![number].into());
        }
        assert!(soon(server.recv()).await.is_none());
    }
}

#[tokio::test]
async fn messages_of_many_sizes_go_both_ways_unchanged() {
    let sizes = [0, 1, 125, 126, 127, 4095, 4096, 65_535, 65_536, 65_537, 300_000, 1 << 20];
    for link in LINKS {
        let (client, mut server) = pair(link).await;
        tokio::spawn(async move {
            while let Some(message) = server.recv().await {
                server.send(message.unwrap()).await.unwrap();
            }
        });
        let (mut reader, writer) = client.split();
        for size in sizes {
            let binary = Message::from((0..size).map(|i| (i * 7) as u8).collect::<Vec<_>>());
            let text = Message::from("é".repeat(size / 2));
            for message in [binary, text] {
                let (sent, echo) = tokio::join!(soon(writer.send(message.clone())), reader.recv());
                sent.unwrap();
                assert!(echo.unwrap().unwrap() == message, "{size} bytes");
            }
        }
        // Many at once.
        let big = Message::from(vec![9_u8; 64 << 10]);
        let sending = async {
            for _ in 0..50 {
                writer.send(big.clone()).await.unwrap();
            }
        };
        let receiving = async {
            for _ in 0..50 {
                assert!(reader.recv().await.unwrap().unwrap() == big);
            }
        };
        soon(async { tokio::join!(sending, receiving) }).await;
    }
}

#[tokio::test]
async fn a_message_above_the_limit_fails_with_1009_as_soon_as_it_is_announced() {
    for link in LINKS {
        let (mut server, mut raw) =
            server_and_raw(link, Config::default().max_message_size(1000)).await;
        raw.write(&[BINARY, 0xFE, 0x03, 0xE9, 0, 0, 0, 0]).await;
        let error = soon(server.recv()).await.unwrap().unwrap_err();
        let limit = Failure::Limit(Limit::MessageSize { max: 1000 });
        assert!(matches!(error, Error::Failed(failure) if failure == limit), "{error:?}");
        let (first, payload) = raw.expect_frame().await;
        assert_eq!((first, &payload[..2]), (CLOSE, &1009_u16.to_be_bytes()[..]));
    }
}

#[tokio::test]
async fn a_sink_feeds_many_and_flushes_once() {
    for link in LINKS {
        let (mut client, mut raw) = client_and_raw(link, Config::default()).await;
        for number in 0..100 {
            client.feed(Message::from(vec![number])).await.unwrap();
        }
        assert_eq!(client.buffered_amount(), 100 * 7);
        SinkExt::<Message>::flush(&mut client).await.unwrap();
        assert_eq!(client.buffered_amount(), 0);
        for number in 0..100 {
            assert_eq!(raw.expect_frame().await.1[..], [number]);
        }
    }
}
