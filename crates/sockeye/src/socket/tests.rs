//! What a connection leaves behind, seen from inside.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::BytesMut;
use futures_sink::Sink;
use sockeye_proto::{Config, Connection, Message};
use sockeye_testing::eventually_async;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{Agreed, ByteStream, Shared, WebSocket};

fn open(io: ByteStream, config: Config) -> (WebSocket, Weak<Shared>) {
    let connection = Connection::client(config, Box::new(|| [0; 4]), Duration::ZERO);
    let agreed = Agreed { subprotocol: None, deflate: None, peer: None };
    let shared = Shared::new(io, connection, BytesMut::new(), agreed);
    let weak = Arc::downgrade(&shared);
    (WebSocket::new(shared), weak)
}

/// With the header of its `Arc` and of the allocator it takes 368 bytes.
#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn a_connection_has_360_bytes() {
    assert_eq!(2 * size_of::<usize>() + size_of::<Shared>(), 360);
}

/// A link in memory keeps the wakers of both ends until one of them does something.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_peer_does_nothing_is_freed_when_it_is_dropped() {
    let config = Config::default().close_timeout(Duration::from_millis(20));
    let (near, mut far) = duplex(1 << 10);
    let (socket, shared) = open(ByteStream::boxed(near), config);
    drop(socket);
    eventually_async("it is freed", async || shared.strong_count() == 0).await;
    // The peer was there all the time, and finds the Close and the end.
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [0x88, 0x80, 0, 0, 0, 0]);
}

/// One that waited to write stays known to such a link until the peer reads, but holds nothing.
#[tokio::test(start_paused = true)]
async fn what_a_peer_did_not_take_is_freed_with_the_transport() {
    let config = Config::default().close_timeout(Duration::from_millis(20));
    let (near, mut far) = duplex(1 << 10);
    let (mut socket, shared) = open(ByteStream::boxed(near), config);
    socket.send(vec![0; 200_000]).await.unwrap();
    drop(socket);
    let is_empty = || shared.upgrade().is_none_or(|shared| shared.queued() == 0);
    eventually_async("nothing is queued", async || is_empty()).await;
    far.read_to_end(&mut Vec::new()).await.unwrap();
    eventually_async("it is freed", async || shared.strong_count() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn flushing_what_the_peer_did_not_take_is_an_error() {
    let config = Config::default().close_timeout(Duration::from_millis(20));
    let (near, far) = duplex(1 << 10);
    let (socket, _) = open(ByteStream::boxed(near), config);
    let (_reader, mut writer) = socket.split();
    writer.send(vec![0; 200_000]).await.unwrap();
    writer.start_close(None);
    let flushed = poll_fn(|cx| Sink::<Message>::poll_flush(Pin::new(&mut writer), cx)).await;
    assert!(flushed.is_err());
    drop(far);
}

/// The messages that wait keep the connection from its end: the sender is told all the same.
#[tokio::test(start_paused = true)]
async fn sending_on_a_broken_link_is_an_error_though_messages_wait() {
    let (near, mut far) = duplex(1 << 10);
    let (mut socket, _) = open(ByteStream::boxed(near), Config::default());
    far.write_all(&[0x82, 1, 7].repeat(100)).await.unwrap();
    drop(far);
    let sending = async {
        while socket.send("tick").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("sending goes on for ever");
    assert!(socket.recv().await.is_some_and(|message| message.is_ok()));
}
