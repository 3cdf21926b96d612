//! The example `proxy`, with a backend and a client.

#[path = "../examples/proxy.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod proxy;

use std::time::Duration;

use sockeye::{
    Client, CloseCode, CloseFrame, ConnectError, Incoming, Message, ResponseError, Server,
    WebSocket,
};
use tokio::{sync::mpsc, time::timeout};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A server whose connections are handed to the test.
async fn backend() -> std::io::Result<(String, mpsc::Receiver<WebSocket>)> {
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", server.local_addr()?);
    let (sender, opened) = mpsc::channel(1);
    let handle = move |incoming: Incoming| {
        let sender = sender.clone();
        async move {
            assert_eq!((incoming.path(), incoming.query()), ("/room", Some("n=7")));
            assert_eq!(incoming.headers()["cookie"], "session=1");
            let incoming = incoming.subprotocol_of(["chat.v1"]);
            sender.send(incoming.accept().await?).await?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        }
    };
    tokio::spawn(server.run(handle));
    Ok((url, opened))
}

/// A client of a proxy before this backend.
async fn client(backend: String) -> Result<Client, Box<dyn std::error::Error>> {
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/room?n=7", server.local_addr()?);
    tokio::spawn(server.run(move |incoming| proxy::proxy(incoming, backend.clone())));
    Ok(Client::new(url)?.header("cookie", "session=1").subprotocols(["chat.v2", "chat.v1"]))
}

/// Both ends of a connection through a proxy: the client's and the backend's.
async fn pair() -> Result<(WebSocket, WebSocket), Box<dyn std::error::Error>> {
    let (url, mut opened) = backend().await?;
    let near = client(url).await?.connect().await?;
    let far = opened.recv().await.ok_or("the backend has ended")?;
    Ok((near, far))
}

#[tokio::test]
async fn messages_pass_both_ways() -> Outcome {
    let (mut near, mut far) = pair().await?;
    assert_eq!(near.subprotocol(), Some("chat.v1"));
    for message in [Message::from("hello"), vec![0xA5; 100_000].into()] {
        near.send(message.clone()).await?;
        assert_eq!(far.recv().await.transpose()?, Some(message.clone()));
        far.send(message.clone()).await?;
        assert_eq!(near.recv().await.transpose()?, Some(message));
    }
    Ok(())
}

#[tokio::test]
async fn a_close_passes_with_its_code_and_reason() -> Outcome {
    let frame = CloseFrame::new(CloseCode::try_from(4321)?, "enough")?;
    for from_backend in [false, true] {
        let (near, far) = pair().await?;
        let (mut one, mut other) = if from_backend { (far, near) } else { (near, far) };
        one.send("the last words").await?;
        let (closed, last) = tokio::join!(one.close(frame.clone()), other.recv());
        assert!(closed.is_clean());
        assert_eq!(last.transpose()?, Some("the last words".into()));
        assert!(other.recv().await.is_none());
        assert_eq!(other.ended().await.received.frame(), Some(&frame));
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_closes_the_other_one() -> Outcome {
    let (near, mut far) = pair().await?;
    near.abort();
    assert!(far.recv().await.is_none());
    assert_eq!(far.ended().await.code(), CloseCode::GOING_AWAY.as_u16());

    let (mut near, far) = pair().await?;
    far.abort();
    assert!(near.recv().await.is_none());
    assert_eq!(near.ended().await.code(), CloseCode::BAD_GATEWAY.as_u16());
    Ok(())
}

#[tokio::test]
async fn a_slow_backend_slows_the_client_down() -> Outcome {
    let (mut near, mut far) = pair().await?;
    let message = Message::from(vec![0; 1 << 16]);
    let mut sent = 0;
    // The backend does not read. If the proxy read on regardless, this would never end.
    while timeout(Duration::from_millis(300), near.send(message.clone())).await.is_ok() {
        sent += 1;
        assert!(sent < 2048, "128 MiB fit into the proxy");
    }
    for _ in 0..sent {
        assert_eq!(far.recv().await.transpose()?.as_ref(), Some(&message));
    }
    near.send("the last").await?;
    assert_eq!(far.recv().await.transpose()?, Some("the last".into()));
    Ok(())
}

#[tokio::test]
async fn without_a_backend_the_answer_is_502() -> Outcome {
    // A port that was just free, and on which nothing listens any more.
    let (url, _) = {
        let server = Server::bind("127.0.0.1:0").await?;
        (format!("ws://{}", server.local_addr()?), drop(server))
    };
    match client(url).await?.connect().await {
        Err(ConnectError::Response(ResponseError::Status(response))) => {
            assert_eq!(response.status(), 502);
            Ok(())
        }
        other => Err(format!("not refused: {other:?}").into()),
    }
}
