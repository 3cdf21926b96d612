//! Futures dropped at every await: nothing is lost, doubled or half sent.

mod common;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use common::{BINARY, LINKS, Link, Raw, client_and_raw, pair, server_and_raw, soon};
use futures_util::{SinkExt, StreamExt};
use sockeye::{CloseFrame, Config, Message, MessageKind};
use tokio::io::AsyncWriteExt;

/// Polls a future at most `times` times, then drops it.
async fn cancel_after<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let result = future.as_mut().poll(cx).map(Some);
        // At the last poll it is dropped at once, not when something happens.
        if result.is_pending() && left == 0 { Poll::Ready(None) } else { result }
    })
    .await
}

/// Each payload tells its number, whatever its size.
fn payload(number: u32, size: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; size.max(4)];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

const SIZES: [usize; 6] = [4, 125, 126, 5_000, 40_000, 100_000];

/// Sends messages of all sizes, in pieces, so that they are received in part.
async fn send_in_pieces(mut raw: Raw) -> Raw {
    for number in 0..120 {
        let size = SIZES[number as usize % SIZES.len()];
        let frame = raw.frame(BINARY, &payload(number, size));
        for piece in frame.chunks(30_000) {
            raw.write(piece).await;
            tokio::task::yield_now().await;
        }
    }
    raw
}

#[tokio::test]
async fn receiving_cancelled_at_every_await_loses_and_doubles_nothing() {
    for link in LINKS {
        for times in [1, 2, 5] {
            let (mut server, raw) = server_and_raw(link, Config::default()).await;
            let sender = tokio::spawn(send_in_pieces(raw));
            let receiving = async {
                for number in 0..120 {
                    let message = loop {
                        let received = match number % 2 {
                            0 => cancel_after(times, server.recv()).await,
                            _ => cancel_after(times, server.next()).await,
                        };
                        match received {
                            Some(message) => break message.unwrap().unwrap(),
                            None => tokio::task::yield_now().await,
                        }
                    };
                    let size = SIZES[number as usize % SIZES.len()];
                    assert!(message == Message::from(payload(number, size)), "message {number}");
                }
            };
            soon(receiving).await;
            sender.await.unwrap();
        }
    }
}

#[tokio::test]
async fn sending_cancelled_at_every_await_sends_each_message_once_or_not_at_all() {
    for link in LINKS {
        for times in [1, 2, 5] {
            let (mut client, mut raw) = client_and_raw(link, Config::default()).await;
            let sender = tokio::spawn(async move {
                for number in 0..120 {
                    let size = SIZES[number as usize % SIZES.len()];
                    while cancel_after(times, client.send(payload(number, size))).await.is_none() {
                        tokio::task::yield_now().await;
                    }
                }
                client
            });
            for number in 0..120 {
                let size = SIZES[number as usize % SIZES.len()];
                let (first, got) = raw.expect_frame().await;
                assert!(first == BINARY && got == payload(number, size), "message {number}");
            }
            let client = soon(sender).await.unwrap();
            assert_eq!(client.buffered_amount(), 0);
        }
    }
}

#[tokio::test]
async fn pings_flushes_and_closes_cancelled_leave_a_connection_that_works() {
    for link in LINKS {
        for times in [1, 2, 5] {
            let (mut client, mut server) = pair(link).await;
            let echo = tokio::spawn(async move {
                while let Some(Ok(message)) = server.recv().await {
                    server.send(message).await.unwrap();
                }
                server.closed().unwrap()
            });
            for number in 0..20 {
                cancel_after(times, client.ping()).await;
                cancel_after(times, SinkExt::<Message>::flush(&mut client)).await;
                client.send(payload(number, 1000)).await.unwrap();
                let message = soon(client.recv()).await.unwrap().unwrap();
                assert!(message == Message::from(payload(number, 1000)));
            }
            let code = sockeye::CloseCode::GOING_AWAY;
            cancel_after(times, client.close(CloseFrame::new(code, "first").unwrap())).await;
            // A Close once begun goes on, and is not sent again.
            let closed = soon(client.close(CloseFrame::new(code, "second").unwrap())).await;
            assert!(closed.is_clean(), "{closed:?}");
            assert_eq!(closed.sent.frame().unwrap().reason(), "first");
            assert_eq!(soon(echo).await.unwrap().received.frame().unwrap().reason(), "first");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_echoed_under_cancellation_on_many_threads_come_back_in_order() {
    for link in [Link::Tcp, Link::Memory] {
        let (client, mut server) = pair(link).await;
        tokio::spawn(async move {
            while let Some(Ok(message)) = server.recv().await {
                let mut message = Some(message);
                while let Some(next) = message.take() {
                    if cancel_after(2, server.send(next.clone())).await.is_none() {
                        message = Some(next);
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        let (mut reader, writer) = client.split();
        let sender = tokio::spawn(async move {
            for number in 0..300 {
                while cancel_after(1, writer.send(payload(number, 3000))).await.is_none() {
                    tokio::task::yield_now().await;
                }
            }
            writer
        });
        for number in 0..300 {
            let message = loop {
                if let Some(message) = cancel_after(1, reader.recv()).await {
                    break message.unwrap().unwrap();
                }
                tokio::task::yield_now().await;
            };
            assert!(message == Message::from(payload(number, 3000)), "message {number}");
        }
        sender.await.unwrap();
    }
}

#[tokio::test]
async fn streams_received_cancelled_at_every_await_lose_and_double_nothing() {
    for link in LINKS {
        for times in [1, 2, 5] {
            let config = Config::default().max_message_size(50_000).max_streamed_size(1 << 20);
            let (mut server, raw) = server_and_raw(link, config).await;
            let sender = tokio::spawn(send_in_pieces(raw));
            let receiving = async {
                for number in 0..120 {
                    let size = SIZES[number as usize % SIZES.len()];
                    let expected = payload(number, size);
                    // Asked for whole, and then not, where it is small enough.
                    if number % 3 == 0
                        && size < 50_000
                        && let Some(message) = cancel_after(times, server.recv()).await
                    {
                        assert!(message.unwrap().unwrap() == Message::from(expected));
                        continue;
                    }
                    let mut message = loop {
                        match cancel_after(times, server.recv_stream()).await {
                            Some(message) => break message.unwrap().unwrap(),
                            None => tokio::task::yield_now().await,
                        }
                    };
                    let mut got = Vec::new();
                    loop {
                        match cancel_after(times, message.chunk()).await {
                            Some(Some(chunk)) => got.extend_from_slice(&chunk.unwrap()),
                            Some(None) => break,
                            None => tokio::task::yield_now().await,
                        }
                    }
                    assert!(got == expected, "message {number}");
                }
            };
            soon(receiving).await;
            sender.await.unwrap();
        }
    }
}

#[tokio::test]
async fn streams_sent_cancelled_at_every_await_send_each_message_once() {
    for link in LINKS {
        for times in [1, 2, 5] {
            let (client, server) = pair(link).await;
            let (_reader, writer) = client.split();
            let sender = tokio::spawn(async move {
                for number in 0..60 {
                    let size = SIZES[number as usize % SIZES.len()];
                    let mut message = loop {
                        match cancel_after(times, writer.send_stream(MessageKind::Binary)).await {
                            Some(message) => break message.unwrap(),
                            None => tokio::task::yield_now().await,
                        }
                    };
                    let payload = payload(number, size);
                    let mut rest = &payload[..];
                    while !rest.is_empty() {
                        match cancel_after(times, message.write(rest)).await {
                            Some(count) => rest = &rest[count.unwrap()..],
                            None => tokio::task::yield_now().await,
                        }
                        cancel_after(times, message.flush()).await;
                    }
                    while cancel_after(times, message.shutdown()).await.is_none() {
                        tokio::task::yield_now().await;
                    }
                }
                writer
            });
            let (mut reader, _writer) = server.split();
            for number in 0..60 {
                let size = SIZES[number as usize % SIZES.len()];
                let message = soon(reader.recv()).await.unwrap().unwrap();
                assert!(message == Message::from(payload(number, size)), "message {number}");
            }
            soon(sender).await.unwrap();
        }
    }
}
