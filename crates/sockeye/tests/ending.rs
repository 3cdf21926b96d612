//! The ways to end a connection, and to learn of its end, on every handle.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;

use std::time::Duration;

use common::{CLOSE, LINKS, Link, client_and_raw, pair, soon};
use sockeye::{CloseCode, CloseFrame, CloseSignal, Closed, Config, Error, Failure, Peer};
use tokio::{io::AsyncWriteExt, time::Instant};

#[tokio::test]
async fn a_close_says_a_code_or_a_code_and_a_reason_or_nothing() {
    let reason = CloseFrame::new(CloseCode::POLICY_VIOLATION, "too many").unwrap();
    let frames = [
        (Some(CloseCode::NORMAL.into()), &b"\x03\xe8"[..]),
        (Some(reason), b"\x03\xf0too many"),
        (None, b""),
    ];
    for link in LINKS {
        for (frame, body) in frames.clone() {
            let (mut client, mut raw) = client_and_raw(link, Config::default()).await;
            let peer = async {
                assert_eq!(raw.expect_frame().await, (CLOSE, body.to_vec().into()));
                raw.send(CLOSE, body).await;
                raw.stream.shutdown().await.unwrap();
            };
            let (closed, ()) =
                soon(async { tokio::join!(client.close(frame.clone()), peer) }).await;
            assert!(closed.is_clean());
            assert_eq!(closed.sent, CloseSignal::from(frame.clone()));
            assert_eq!(closed.received, closed.sent);
            let code = frame.as_ref().map_or(1005, |frame| frame.code().as_u16());
            assert_eq!(closed.code(), code);
        }
    }
}

#[tokio::test]
async fn every_handle_learns_of_the_end_and_how_it_came_about() {
    for link in LINKS {
        let (client, server) = pair(link).await;
        let (mut reader, writer) = client.split();
        let other = writer.clone();
        assert!(!writer.is_closed() && !reader.is_closed() && !server.is_closed());
        let ends = async { tokio::join!(server.ended(), writer.ended(), other.ended()) };
        let closes = async {
            tokio::task::yield_now().await;
            other.start_close(CloseCode::NORMAL);
            assert!(other.is_closed());
            assert!(matches!(other.send("late").await, Err(Error::Closed(_))));
        };
        let (ends, (), end) = soon(async { tokio::join!(ends, closes, reader.recv()) }).await;
        assert!(end.is_none());
        let (server_end, client_end, same) = ends;
        assert_eq!((server_end.initiator, server_end.code()), (Peer::Remote, 1000));
        assert_eq!((client_end.initiator, client_end.code()), (Peer::Local, 1000));
        assert_eq!(client_end, same);
        assert_eq!(soon(reader.ended()).await, same);
        assert!(server.is_closed() && writer.is_closed() && reader.is_closed());
    }
}

/// The connection is aborted by one of its handles while a message waits that is not taken.
async fn aborted(link: Link, with_reader: bool) -> (Closed, Option<Closed>) {
    let (client, mut raw) = client_and_raw(link, Config::default()).await;
    // More than sockets take: most of it is still here.
    let (mut reader, writer) = client.split();
    let sending = tokio::spawn({
        let writer = writer.clone();
        async move { writer.send(vec![0; 64 << 20]).await }
    });
    while writer.buffered_amount() == 0 {
        tokio::task::yield_now().await;
    }
    match with_reader {
        true => reader.abort(),
        false => writer.abort(),
    }
    let closed = soon(writer.ended()).await;
    let _ = sending.await;
    assert!(writer.is_closed());
    assert!(matches!(soon(reader.recv()).await, Some(Err(Error::Failed(Failure::Aborted)))));
    assert!(soon(reader.recv()).await.is_none());
    assert!(writer.send("late").await.is_err());
    // The peer is told nothing: of the message it has the beginning, and then the end.
    assert!(soon(raw.frame_read()).await.is_none());
    (closed, reader.closed())
}

#[tokio::test]
async fn to_abort_is_to_end_at_once_and_without_a_word() {
    for link in LINKS {
        for with_reader in [true, false] {
            let (closed, read) = aborted(link, with_reader).await;
            assert_eq!((closed.failure, closed.code()), (Some(Failure::Aborted), 1006));
            assert!(closed.sent.is_absent() && closed.received.is_absent());
            assert_eq!(Some(closed), read);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_waits_for_nothing_even_in_the_middle_of_a_close() {
    let (mut client, mut raw) = client_and_raw(Link::Memory, Config::default()).await;
    let begun = Instant::now();
    let closing = tokio::time::timeout(Duration::from_secs(1), client.close(None));
    assert!(closing.await.is_err(), "the peer does not answer");
    client.abort();
    assert!(!client.ended().await.is_clean());
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    assert_eq!(raw.expect_frame().await.0, CLOSE);
    assert!(raw.frame_read().await.is_none());
}
