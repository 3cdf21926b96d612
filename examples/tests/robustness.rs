//! Peers that misbehave, and what a program sees of it. Nothing here waits in real time.

use std::time::Duration;

use sockeye::{
    AcceptError, Client, CloseCode, Config, ConnectError, Deadline, Error, Failure, Incoming,
    Keepalive, Origins, ResponseError, Role, Server, TrySendError, WebSocket, connect,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A server's end of a connection whose client is played by hand.
fn server() -> (WebSocket, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    let config = Config::default().max_message_size(1000).max_fragments(3);
    (WebSocket::from_upgraded(near, Role::Server, config), far)
}

/// The code of the Close that comes next, from a server: its frames are not masked.
async fn close_code(far: &mut DuplexStream) -> std::io::Result<u16> {
    let mut head = [0; 4];
    far.read_exact(&mut head).await?;
    assert_eq!(head[0], 0x88, "a Close");
    Ok(u16::from_be_bytes([head[2], head[3]]))
}

/// Each row is what a client sends, and the code that the server closes with. `recv` gives the error, and
/// `None` from then on; nothing that is wrong comes as a message.
#[tokio::test(start_paused = true)]
async fn bytes_that_break_the_rules_end_the_connection_and_nothing_else() -> Outcome {
    let too_long = [&[0x82, 0xFE, 0x03, 0xE9, 0, 0, 0, 0][..], &[0; 1001]].concat();
    let fragments = [&[0x01, 0x80, 0, 0, 0, 0][..], &[0x00, 0x80, 0, 0, 0, 0].repeat(3)].concat();
    let rows: [(&str, &[u8], u16); 7] = [
        ("a frame that is not masked", b"\x81\x02hi", 1002),
        ("an opcode that means nothing", b"\x83\x80\0\0\0\0", 1002),
        ("a ping of 126 bytes", b"\x89\xFE\0\x7E\0\0\0\0", 1002),
        ("a text that is not UTF-8", b"\x81\x81\0\0\0\0\xFF", 1007),
        ("a message that announces 2^62 bytes", b"\x82\xFF\x40\0\0\0\0\0\0\0\0\0\0\0", 1009),
        ("a message of 1001 bytes", &too_long, 1009),
        ("a message in four fragments", &fragments, 1009),
    ];
    for (what, bytes, code) in rows {
        let (mut socket, mut far) = server();
        far.write_all(bytes).await?;
        let error = socket.recv().await;
        assert!(matches!(error, Some(Err(Error::Failed(_)))), "{what}: {error:?}");
        assert_eq!(close_code(&mut far).await?, code, "{what}");
        assert!(socket.recv().await.is_none(), "{what}");
        assert!(socket.send("late").await.is_err(), "{what}");
    }
    Ok(())
}

/// A lost connection is an error, and not the end of a conversation: `None` comes after a Close only.
#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_is_told_from_one_that_closes() -> Outcome {
    let (mut socket, far) = server();
    drop(far);
    let end = socket.recv().await;
    assert!(matches!(end, Some(Err(Error::Failed(Failure::Lost)))), "{end:?}");
    assert_eq!(
        socket.closed().map(|closed| (closed.code(), closed.is_clean())),
        Some((1006, false))
    );

    let (mut socket, mut far) = server();
    far.write_all(b"\x88\x82\0\0\0\0\x03\xE8").await?;
    assert!(socket.recv().await.is_none());
    drop(far);
    assert_eq!(socket.ended().await.code(), 1000);
    Ok(())
}

/// Neither the memory nor the time that such a peer takes is without a bound.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_told_from_one_that_does() -> Outcome {
    let (mut socket, far) = server();
    // What is sent without waiting is refused, and given back, when 64 KiB are queued.
    let mut sent = 0;
    let refused = loop {
        match socket.try_send(vec![0; 1000]) {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
        assert!(sent < 1000);
    };
    assert!(matches!(refused, TrySendError::Full(_)), "{refused:?}");
    // What waits, waits until the peer is given up: it does not answer the pings that it does not read.
    let begun = Instant::now();
    let late = socket.send(vec![0; 1000]).await;
    assert!(late.is_err(), "{late:?}");
    let Keepalive { interval, timeout, .. } = Keepalive::default();
    assert!(
        begun.elapsed() <= interval + timeout + Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let failure = socket.ended().await.failure;
    assert_eq!(failure, Some(Failure::Deadline(Deadline::Keepalive)));
    drop(far);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_not_answered_is_not_waited_for_without_end() -> Outcome {
    let (mut socket, mut far) = server();
    let begun = Instant::now();
    let closed = socket.close(CloseCode::NORMAL).await;
    assert!(!closed.is_clean());
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(close_code(&mut far).await?, 1000);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handshake_ends_in_time_on_both_sides() -> Outcome {
    // A server that is there and says nothing.
    let (near, _far) = duplex(1024);
    let opened = Client::new("ws://in-memory/")?.open_over(near).await;
    assert!(matches!(opened, Err(ConnectError::Timeout(_))), "{opened:?}");
    // A client that begins a request, and does not end it.
    let (mut near, far) = duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\nHost: in-memory\r\n").await?;
    let begun = Instant::now();
    assert!(Incoming::from_stream(far, Origins::default()).await.is_err());
    // 10 s for the request, and 2 at most for the client to take the answer.
    assert!((10..=12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let mut answer = [0; 12];
    near.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"HTTP/1.1 408");
    Ok(())
}

#[tokio::test]
async fn a_refusal_says_why() -> Outcome {
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", server.local_addr()?);
    tokio::spawn(server.run(async |incoming: Incoming| {
        incoming.refuse(http::StatusCode::SERVICE_UNAVAILABLE, "come back later").await;
        Ok::<(), AcceptError>(())
    }));
    match connect(&url).await {
        Err(ConnectError::Response(ResponseError::Status(response))) => {
            assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.body().starts_with(b"come back later"), "{response:?}");
            Ok(())
        }
        other => Err(format!("not refused: {other:?}").into()),
    }
}

/// A handler that panics ends its own connection, with 1011. The others go on.
#[tokio::test]
async fn a_handler_that_panics_ends_its_connection_alone() -> Outcome {
    async fn serve(incoming: Incoming) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            let message = message?;
            assert_ne!(message.as_text(), Some("panic"), "as the client wishes");
            socket.send(message).await?;
        }
        Ok(())
    }
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", server.local_addr()?);
    tokio::spawn(server.run(serve));
    let (mut one, mut other) = (connect(&url).await?, connect(&url).await?);
    one.send("panic").await?;
    assert!(one.recv().await.is_none());
    assert_eq!(one.ended().await.code(), CloseCode::INTERNAL_ERROR.as_u16());
    other.send("still here").await?;
    assert_eq!(other.recv().await.transpose()?, Some("still here".into()));
    Ok(())
}
