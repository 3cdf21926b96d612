//! Large messages as streams, sent and received, without holding them whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    pin::Pin,
    task::Poll,
};

use common::{
    BINARY, CLOSE, LINKS, Link, PING, PONG, Raw, TEXT, client_and_raw, pair_with, server_and_raw,
    soon,
};
use futures_util::{Sink, SinkExt};
use sockeye::{
    Client, CloseCode, Compression, Config, DeflateConfig, Error, Failure, Limit, Message,
    MessageKind, Server, TrySendError, WebSocket,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MIB: usize = 1 << 20;
/// The first bytes of fragments.
const BEGIN: u8 = 0x02;
const GO_ON: u8 = 0x00;
const END: u8 = 0x80;

/// Bytes that tell where they stand.
fn film(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 1000 + i) as u8).collect()
}

/// Whole messages of 1 MiB, and larger ones as streams.
fn streams() -> Config {
    Config::default().max_streamed_size(usize::MAX)
}

/// The next message that a peer made by hand receives, with the first bytes of its frames.
async fn message_read(raw: &mut Raw) -> (Vec<u8>, Vec<u8>) {
    let (mut message, mut firsts) = (Vec::new(), Vec::new());
    loop {
        let (first, payload) = raw.expect_frame().await;
        message.extend_from_slice(&payload);
        firsts.push(first);
        if first & END != 0 {
            return (message, firsts);
        }
    }
}

#[tokio::test]
async fn a_stream_goes_out_in_fragments_that_are_one_message() {
    for link in LINKS {
        let (mut client, mut raw) = client_and_raw(link, Config::default()).await;
        let film = film(3 * MIB + 1);
        let sending = async {
            let mut message = client.send_stream(MessageKind::Binary).await.unwrap();
            // In pieces that fit nowhere.
            for piece in film.chunks(100_003) {
                message.write_all(piece).await.unwrap();
            }
            message.shutdown().await.unwrap();
            message.shutdown().await.unwrap();
            let late = message.write(b"late").await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::BrokenPipe);
            message.finish().await.unwrap();
        };
        let ((got, firsts), ()) = tokio::join!(message_read(&mut raw), soon(sending));
        assert!(got == film);
        assert_eq!(firsts.len(), (3 << 4) + 1);
        assert_eq!((firsts[0], firsts[1], *firsts.last().unwrap()), (BEGIN, GO_ON, END));
        client.send("next").await.unwrap();
        assert_eq!(raw.expect_frame().await, (TEXT, "next".into()));
    }
}

#[tokio::test]
async fn a_short_stream_is_one_frame_and_shutdown_ends_it_too() {
    let (mut client, mut raw) = client_and_raw(Link::Tcp, Config::default()).await;
    let mut message = client.send_stream(MessageKind::Text).await.unwrap();
    message.write_all(b"hel").await.unwrap();
    message.write_all(b"lo").await.unwrap();
    message.shutdown().await.unwrap();
    drop(message);
    assert_eq!(raw.expect_frame().await, (TEXT, "hello".into()));
    let empty = client.send_stream(MessageKind::Binary).await.unwrap();
    empty.finish().await.unwrap();
    assert_eq!(raw.expect_frame().await, (BINARY, "".into()));
    assert_eq!(client.buffered_amount(), 0);
}

#[tokio::test]
async fn pings_and_pongs_go_between_the_fragments_and_other_messages_behind_them() {
    for link in LINKS {
        let (client, mut raw) = client_and_raw(link, Config::default()).await;
        let (_reader, writer) = client.split();
        let mut message = writer.send_stream(MessageKind::Binary).await.unwrap();
        message.write_all(b"one").await.unwrap();
        message.flush().await.unwrap();
        assert_eq!(raw.expect_frame().await, (BEGIN, "one".into()));

        raw.send(PING, b"?").await;
        assert_eq!(raw.expect_frame().await, (PONG, "?".into()));
        let ponging = async {
            let (first, payload) = raw.expect_frame().await;
            assert_eq!(first, PING);
            raw.send(PONG, &payload).await;
        };
        tokio::join!(ponging, async { soon(writer.ping()).await.unwrap() });

        let refused = writer.try_send("now").unwrap_err();
        assert!(matches!(refused, TrySendError::Full(_)), "{refused:?}");
        let other = writer.clone();
        let sending = tokio::spawn(async move { other.send("then").await });
        tokio::task::yield_now().await;
        message.write_all(b"two").await.unwrap();
        message.finish().await.unwrap();
        soon(sending).await.unwrap().unwrap();
        assert_eq!(raw.expect_frame().await, (END, "two".into()));
        assert_eq!(raw.expect_frame().await, (TEXT, "then".into()));
    }
}

#[tokio::test]
async fn one_stream_waits_for_another() {
    let (client, mut raw) = client_and_raw(Link::Tcp, Config::default()).await;
    let (_reader, writer) = client.split();
    let streams = (0..5_u8).map(|number| {
        let writer = writer.clone();
        tokio::spawn(async move {
            let mut message = writer.send_stream(MessageKind::Binary).await.unwrap();
            for _ in 0..3 {
                message.write_all(&[number; 50_000]).await.unwrap();
                message.flush().await.unwrap();
            }
            message.finish().await.unwrap();
        })
    });
    let streams: Vec<_> = streams.collect();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (message, _) = message_read(&mut raw).await;
        assert!(message == [message[0]; 150_000]);
        seen.push(message[0]);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    for stream in streams {
        stream.await.unwrap();
    }
}

/// A sink that was ready stays ready.
#[tokio::test]
async fn a_message_accepted_by_a_sink_before_a_stream_began_goes_behind_it() {
    let (client, mut raw) = client_and_raw(Link::Tcp, Config::default()).await;
    let (_reader, writer) = client.split();
    let mut sink = writer.clone();
    poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx)).await.unwrap();
    let mut message = writer.send_stream(MessageKind::Binary).await.unwrap();
    message.write_all(b"one").await.unwrap();
    message.flush().await.unwrap();
    Pin::new(&mut sink).start_send(Message::from("behind")).unwrap();
    assert_eq!(sink.buffered_amount(), 6);
    let prepared = sockeye::Prepared::new("in order");
    let feeding = async {
        sink.feed_prepared(&prepared).await.unwrap();
        SinkExt::<Message>::flush(&mut sink).await.unwrap();
    };
    let (ended, ()) = soon(async { tokio::join!(message.finish(), feeding) }).await;
    ended.unwrap();
    assert_eq!(message_read(&mut raw).await, (b"one".to_vec(), vec![BEGIN, END]));
    assert_eq!(raw.expect_frame().await, (TEXT, "behind".into()));
    assert_eq!(raw.expect_frame().await, (TEXT, "in order".into()));
}

#[tokio::test]
async fn a_stream_dropped_before_its_end_closes_the_connection_inside_the_message() {
    for link in LINKS {
        let (mut client, mut raw) = client_and_raw(link, Config::default()).await;
        let mut message = client.send_stream(MessageKind::Binary).await.unwrap();
        message.write_all(b"half").await.unwrap();
        message.flush().await.unwrap();
        drop(message);
        let error = client.send("more").await.unwrap_err();
        assert!(matches!(error, Error::Closed(_)), "{error:?}");
        assert_eq!(raw.expect_frame().await, (BEGIN, "half".into()));
        let (first, body) = raw.expect_frame().await;
        assert_eq!((first, &body[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
        raw.send(CLOSE, &body).await;
        drop(raw);
        assert!(soon(client.recv()).await.is_none());
    }
}

#[tokio::test]
async fn a_stream_dropped_before_anything_went_out_was_never_there() {
    let (client, mut raw) = client_and_raw(Link::Tcp, Config::default()).await;
    let (_reader, writer) = client.split();
    let mut message = writer.send_stream(MessageKind::Binary).await.unwrap();
    message.write_all(b"never mind").await.unwrap();
    let other = writer.clone();
    let sending = tokio::spawn(async move { other.send("hello").await });
    tokio::task::yield_now().await;
    drop(message);
    soon(sending).await.unwrap().unwrap();
    assert_eq!(raw.expect_frame().await, (TEXT, "hello".into()));
}

#[tokio::test]
async fn a_text_that_is_streamed_has_to_be_utf8() {
    let (mut client, mut raw) = client_and_raw(Link::Tcp, Config::default()).await;
    let mut message = client.send_stream(MessageKind::Text).await.unwrap();
    let (one, other) = "κόσμε".as_bytes().split_at(3);
    message.write_all(one).await.unwrap();
    let wrong = message.write(b"\xff").await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidData);
    let half = message.shutdown().await.unwrap_err();
    assert_eq!(half.kind(), ErrorKind::InvalidData);
    // None of that was sent.
    message.write_all(other).await.unwrap();
    message.finish().await.unwrap();
    assert_eq!(raw.expect_frame().await, (TEXT, "κόσμε".into()));
}

#[tokio::test]
async fn a_stream_to_a_peer_that_does_not_read_waits_and_holds_little() {
    for link in LINKS {
        let (client, mut raw) = client_and_raw(link, Config::default()).await;
        let (_reader, writer) = client.split();
        let mut message = writer.send_stream(MessageKind::Binary).await.unwrap();
        let chunk = vec![7; 50_000];
        let mut written = 0;
        let mut waited = 0;
        // Sockets buffer some megabytes; what is queued here stays small whatever is written.
        while waited < 100 {
            let count = poll_fn(|cx| {
                let writing = Pin::new(&mut message).poll_write(cx, &chunk);
                Poll::Ready(writing)
            });
            match count.await {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending => waited += 1,
            }
            assert!(writer.buffered_amount() <= (128 << 10) + 28, "{}", writer.buffered_amount());
            tokio::task::yield_now().await;
        }
        let reading = message_read(&mut raw);
        let ending = async { message.finish().await.unwrap() };
        let ((got, _), ()) = tokio::join!(reading, soon(ending));
        assert!(got == vec![7; written]);
    }
}

#[tokio::test]
async fn a_stream_on_a_connection_that_ends_is_an_error() {
    for link in LINKS {
        let (client, raw) = client_and_raw(link, Config::default()).await;
        let (mut reader, writer) = client.split();
        let mut message = writer.send_stream(MessageKind::Binary).await.unwrap();
        message.write_all(b"one").await.unwrap();
        message.flush().await.unwrap();
        drop(raw);
        while soon(reader.recv()).await.is_some() {}
        message.write_all(b"two").await.unwrap();
        let error = message.flush().await.unwrap_err();
        assert!(error.get_ref().unwrap().is::<Error>(), "{error:?}");
        assert!(message.finish().await.is_err());
        assert!(writer.send_stream(MessageKind::Text).await.is_err());
    }
}

/// Both ends of a connection that compresses.
async fn compressing_pair() -> (WebSocket, WebSocket) {
    let server = Server::bind("127.0.0.1:0").await.unwrap().config(streams());
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (sender, mut accepted) = tokio::sync::mpsc::channel(1);
    tokio::spawn(server.deflate(DeflateConfig::default()).run(
        move |incoming: sockeye::Incoming| {
            let sender = sender.clone();
            async move {
                let _ = sender.send(incoming.accept().await?).await;
                Ok::<(), sockeye::AcceptError>(())
            }
        },
    ));
    let client = Client::new(&url).unwrap().deflate(DeflateConfig::default()).connect();
    (client.await.unwrap(), accepted.recv().await.unwrap())
}

#[tokio::test]
async fn streams_may_be_compressed_and_are_received_as_streams_or_whole() {
    let (mut client, mut server) = compressing_pair().await;
    let text = "the same again and again. ".repeat(200_000);
    for compression in [Compression::On, Compression::Off] {
        let sending = async {
            let message = client.send_stream_with(MessageKind::Text, compression);
            let mut message = message.await.unwrap();
            message.write_all(text.as_bytes()).await.unwrap();
            message.finish().await.unwrap();
            client.send("small".repeat(100)).await.unwrap();
        };
        let receiving = async {
            let mut message = server.recv_stream().await.unwrap().unwrap();
            assert_eq!(message.kind(), MessageKind::Text);
            let mut got = String::new();
            message.read_to_string(&mut got).await.unwrap();
            assert!(got == text);
            drop(message);
            assert_eq!(server.recv().await.unwrap().unwrap(), "small".repeat(100).into());
        };
        soon(async { tokio::join!(sending, receiving) }).await;
    }
}

#[tokio::test]
async fn a_message_of_any_size_is_received_as_a_stream_however_it_was_sent() {
    for link in LINKS {
        let (mut client, mut server) = pair_with(link, Config::default(), streams()).await;
        let film = film(5 * MIB);
        let sending = async {
            client.send(film.clone()).await.unwrap();
            let mut message = client.send_stream(MessageKind::Binary).await.unwrap();
            message.write_all(&film).await.unwrap();
            message.finish().await.unwrap();
            client.send("whole").await.unwrap();
        };
        let receiving = async {
            for _ in 0..2 {
                let mut message = server.recv_stream().await.unwrap().unwrap();
                let mut got = Vec::new();
                message.read_to_end(&mut got).await.unwrap();
                assert!(got == film);
            }
            assert_eq!(server.recv().await.unwrap().unwrap(), Message::from("whole"));
        };
        soon(async { tokio::join!(sending, receiving) }).await;
    }
}

#[tokio::test]
async fn a_message_that_waited_already_is_given_as_a_stream_too() {
    let (mut server, mut raw) = server_and_raw(Link::Tcp, Config::default()).await;
    raw.send(TEXT, b"one\ntwo\n").await;
    raw.send(BINARY, b"").await;
    raw.send(PING, b"").await;
    assert_eq!(raw.expect_frame().await.0, PONG); // the server has taken both in
    let message = server.recv_stream().await.unwrap().unwrap();
    let mut lines = message.lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "one");
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "two");
    assert_eq!(lines.next_line().await.unwrap(), None);
    drop(lines);
    let mut empty = server.recv_stream().await.unwrap().unwrap();
    assert!(empty.chunk().await.is_none());
    drop(empty);
    raw.send(CLOSE, b"").await;
    assert!(soon(server.recv_stream()).await.is_none());
}

#[tokio::test]
async fn a_message_too_large_to_be_whole_waits_to_be_read_as_a_stream() {
    for link in LINKS {
        let config = Config::default().max_message_size(1000).max_streamed_size(MIB);
        let (mut server, mut raw) = server_and_raw(link, config).await;
        let peer = tokio::spawn(async move {
            raw.send(BINARY, &film(2000)).await;
            raw.send(PING, b"").await;
            raw.send(BINARY, &film(1001)).await;
            raw
        });
        // However long it waits: it is neither refused nor answered past.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let mut message = soon(server.recv_stream()).await.unwrap().unwrap();
        let mut got = Vec::new();
        soon(message.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got, film(2000));
        drop(message);
        // The next one is asked for whole.
        let error = soon(server.recv()).await.unwrap().unwrap_err();
        let limit = Limit::MessageSize { max: 1000 };
        assert!(matches!(error, Error::Failed(Failure::Limit(l)) if l == limit), "{error:?}");
        let mut raw = peer.await.unwrap();
        assert_eq!(raw.expect_frame().await.0, PONG);
        let (first, body) = raw.expect_frame().await;
        assert_eq!((first, &body[..2]), (CLOSE, &1009_u16.to_be_bytes()[..]));
    }
}

/// Writes for as long as the other end takes anything; gives how much it took.
async fn write_until_stuck(raw: &mut Raw, bytes: &[u8]) -> usize {
    let (mut taken, mut waited) = (0, 0);
    while waited < 100 {
        let piece = &bytes[taken..taken + 4096];
        let writing = poll_fn(|cx| Poll::Ready(Pin::new(&mut raw.stream).poll_write(cx, piece)));
        match writing.await {
            Poll::Ready(count) => taken += count.unwrap(),
            Poll::Pending => waited += 1,
        }
        tokio::task::yield_now().await;
    }
    taken
}

#[tokio::test]
async fn what_is_received_and_not_read_is_bounded_and_the_sender_waits() {
    let (mut server, mut raw) = server_and_raw(Link::Memory, streams()).await;
    let frame = raw.frame(BINARY, &film(8 * MIB));
    // It was not asked for: nothing but buffers is filled.
    let mut taken = write_until_stuck(&mut raw, &frame).await;
    assert!(taken < 128 << 10, "{taken} bytes were taken");
    // It is read, but slowly.
    let mut message = soon(server.recv_stream()).await.unwrap().unwrap();
    message.read_exact(&mut [0; 1000]).await.unwrap();
    taken += write_until_stuck(&mut raw, &frame[taken..]).await;
    assert!(taken < 384 << 10, "{taken} bytes were taken");
    let reading = async {
        let mut rest = Vec::new();
        message.read_to_end(&mut rest).await.unwrap();
        assert!(rest == film(8 * MIB)[1000..]);
    };
    let writing = async { raw.stream.write_all(&frame[taken..]).await.unwrap() };
    soon(async { tokio::join!(reading, writing) }).await;
}

#[tokio::test]
async fn a_stream_dropped_half_way_is_skipped_and_the_next_message_comes() {
    for link in LINKS {
        for forgotten in [false, true] {
            let (mut server, mut raw) = server_and_raw(link, streams()).await;
            let peer = tokio::spawn(async move {
                for fragments in [1, 30] {
                    let film = film(3 * MIB);
                    let pieces: Vec<&[u8]> = film.chunks(film.len() / fragments).collect();
                    for (i, piece) in pieces.iter().enumerate() {
                        let begin = if i == 0 { BEGIN } else { GO_ON };
                        let end = if i + 1 == pieces.len() { END } else { 0 };
                        raw.send(begin | end, piece).await;
                    }
                    raw.send(TEXT, b"next").await;
                }
                raw
            });
            for whole in [false, true] {
                let mut message = soon(server.recv_stream()).await.unwrap().unwrap();
                message.read_exact(&mut [0; 100_000]).await.unwrap();
                if forgotten {
                    let _ = std::mem::ManuallyDrop::new(message);
                } else {
                    drop(message);
                }
                if whole {
                    let next = soon(server.recv()).await.unwrap().unwrap();
                    assert_eq!(next, Message::from("next"));
                } else {
                    let mut next = soon(server.recv_stream()).await.unwrap().unwrap();
                    assert_eq!(next.chunk().await.unwrap().unwrap(), "next");
                }
            }
            peer.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_stream_given_up_late_takes_nothing_of_the_next_one() {
    for link in LINKS {
        let (mut server, mut raw) = server_and_raw(link, streams()).await;
        let peer = tokio::spawn(async move {
            for _ in 0..2 {
                raw.send(BINARY, &film(MIB)).await;
            }
            raw
        });
        let mut message = soon(server.recv_stream()).await.unwrap().unwrap();
        message.read_exact(&mut [0; 1000]).await.unwrap();
        // The first one is dropped when the second one is there.
        message = soon(server.recv_stream()).await.unwrap().unwrap();
        let mut got = Vec::new();
        soon(message.read_to_end(&mut got)).await.unwrap();
        assert!(got == film(MIB));
        peer.await.unwrap();
    }
}

#[tokio::test]
async fn a_message_may_be_answered_when_it_was_read() {
    let (mut server, mut raw) = server_and_raw(Link::Tcp, streams()).await;
    let peer = tokio::spawn(async move {
        raw.send(BINARY, &film(3000)).await;
        assert_eq!(raw.expect_frame().await, (TEXT, "3000 bytes".into()));
        raw.send(CLOSE, b"").await;
    });
    while let Some(message) = soon(server.recv_stream()).await {
        let size = tokio::io::copy(&mut message.unwrap(), &mut tokio::io::sink()).await.unwrap();
        server.send(format!("{size} bytes")).await.unwrap();
    }
    peer.await.unwrap();
}

#[tokio::test]
async fn what_is_skipped_need_not_be_read() {
    for link in LINKS {
        let (mut server, mut raw) = server_and_raw(link, streams()).await;
        let ponged = tokio::spawn(async move {
            raw.send(BINARY, &film(5 * MIB)).await;
            raw.send(PING, b"behind").await;
            assert_eq!(raw.expect_frame().await, (PONG, "behind".into()));
            raw
        });
        let message = soon(server.recv_stream()).await.unwrap().unwrap();
        drop(message);
        let mut raw = soon(ponged).await.unwrap();

        // So it is where the reading half is gone, and the message is too large to be whole.
        let (reader, _writer) = server.split();
        drop(reader);
        let ponged = async {
            raw.send(BINARY, &film(2 * MIB)).await;
            raw.send(PING, b"behind").await;
            assert_eq!(raw.expect_frame().await, (PONG, "behind".into()));
        };
        soon(ponged).await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_inside_a_message_is_an_error_and_never_its_end() {
    for link in LINKS {
        for closes in [false, true] {
            let (mut server, mut raw) = server_and_raw(link, streams()).await;
            raw.send(BEGIN, b"half").await;
            let mut message = soon(server.recv_stream()).await.unwrap().unwrap();
            if closes {
                raw.send(CLOSE, &1000_u16.to_be_bytes()).await;
            } else {
                drop(raw);
            }
            let mut got = Vec::new();
            let error: io::Error = soon(message.read_to_end(&mut got)).await.unwrap_err();
            assert_eq!(got, b"half");
            let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
            match inner {
                Error::Unfinished => assert!(closes),
                _ => assert!(!closes, "{inner:?}"),
            }
            assert!(soon(message.read(&mut [0; 10])).await.is_err());
            drop(message);
            assert!(soon(server.recv()).await.is_none());
        }
    }
}

#[tokio::test]
async fn a_streamed_text_that_is_not_utf8_fails_the_connection() {
    let (mut server, mut raw) = server_and_raw(Link::Tcp, streams()).await;
    raw.send(0x01, b"so far so good").await;
    let mut message = soon(server.recv_stream()).await.unwrap().unwrap();
    raw.send(END, b"\xff").await;
    let mut got = Vec::new();
    let error = soon(message.read_to_end(&mut got)).await.unwrap_err();
    assert_eq!((error.kind(), &got[..]), (ErrorKind::InvalidData, &b"so far so good"[..]));
    drop(message);
    let closed = server.close(CloseCode::NORMAL).await;
    assert_eq!(closed.sent.frame().unwrap().code(), CloseCode::INVALID_PAYLOAD);
}
