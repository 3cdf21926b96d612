//! How to test what speaks over WebSockets, without ports and without waiting: see `docs/library/testing.md`.

use std::time::Duration;

use sockeye::{
    Client, CloseCode, Config, Deadline, Error, Failure, Keepalive, Role, WebSocket, accept,
    reconnect::{Down, Event, ReconnectingClient},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What is tested: a clock that tells each full minute, and closes after an hour.
async fn clock(mut socket: WebSocket) {
    for minute in 1..=60 {
        sleep(Duration::from_secs(60)).await;
        if socket.send(format!("minute {minute}")).await.is_err() {
            return;
        }
    }
    socket.close(CloseCode::NORMAL).await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_passes_at_once() -> Outcome {
    let (mut client, server) = WebSocket::pair(Config::default());
    tokio::spawn(clock(server));
    let begun = Instant::now();
    let mut told = 0;
    while let Some(message) = client.recv().await {
        told += 1;
        assert_eq!(message?.as_text(), Some(&*format!("minute {told}")));
    }
    assert_eq!((told, begun.elapsed().as_secs()), (60, 3600));
    assert_eq!(client.closed().map(|closed| closed.code()), Some(1000));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_found_dead() {
    let second = Duration::from_secs(1);
    let config = Config::default().keepalive(Keepalive::default().interval(second).timeout(second));
    // The peer is there, and reads nothing.
    let (near, _far) = duplex(1024);
    let mut client = WebSocket::from_upgraded(near, Role::Client, config);
    let begun = Instant::now();
    let error = client.recv().await;
    let dead = Failure::Deadline(Deadline::Keepalive);
    assert!(matches!(error, Some(Err(Error::Failed(failure))) if failure == dead), "{error:?}");
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_made_by_hand_says_what_no_library_would() -> Outcome {
    let (near, mut far) = duplex(1024);
    let mut client = WebSocket::from_upgraded(near, Role::Client, Config::default());
    // A text that is not UTF-8: FIN and the opcode 1, the length, the byte.
    far.write_all(&[0x81, 1, 0xFF]).await?;
    assert!(matches!(client.recv().await, Some(Err(Error::Failed(Failure::Violation(_))))));
    // The peer is told why: a Close with 1007, masked as all that clients send.
    let mut close = [0; 8];
    far.read_exact(&mut close).await?;
    let code = u16::from_be_bytes([close[6] ^ close[2], close[7] ^ close[3]]);
    assert_eq!((close[0], code), (0x88, 1007));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_connects_again_is_tested_with_a_handshake_in_memory() -> Outcome {
    let mut client = ReconnectingClient::new(|| async {
        let (near, far) = duplex(1024);
        // A server that sends one message, and vanishes.
        tokio::spawn(async move {
            let mut socket = accept(far).await?;
            socket.send("here I was").await?;
            sleep(Duration::from_secs(1)).await;
            socket.abort();
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
        Ok(Client::new("ws://in-memory/")?.open_over(near).await?.socket)
    });
    let (mut opened, mut received) = (0, 0);
    while opened < 10 {
        match client.next_event().await {
            Some(Event::Open) => opened += 1,
            Some(Event::Message(_)) => received += 1,
            Some(Event::Down(Down::Failed(_))) => {}
            Some(Event::Connecting { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, 9);
    Ok(())
}
