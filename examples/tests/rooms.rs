//! The example `rooms`, with three clients.

#[path = "../examples/rooms.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod rooms;

use sockeye::{CloseCode, Connections, WebSocket, connect};
use tokio::net::TcpListener;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What comes next, as text.
async fn next(socket: &mut WebSocket) -> Option<String> {
    let message = socket.recv().await?.ok()?;
    message.as_text().map(str::to_owned)
}

#[tokio::test]
async fn what_is_said_stays_in_the_room() -> Outcome {
    let connections = Connections::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/rooms", listener.local_addr()?);
    let app = rooms::app(&connections);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut ann = connect(format!("{url}/tea/ann")).await?;
    assert_eq!(next(&mut ann).await.as_deref(), Some("ann comes in"));
    let mut cem = connect(format!("{url}/coffee/cem")).await?;
    assert_eq!(next(&mut cem).await.as_deref(), Some("cem comes in"));
    let mut ben = connect(format!("{url}/tea/ben")).await?;
    for socket in [&mut ann, &mut ben] {
        assert_eq!(next(socket).await.as_deref(), Some("ben comes in"));
    }
    ann.send("hello").await?;
    assert_eq!(next(&mut ben).await.as_deref(), Some("ann: hello"));
    ben.close(CloseCode::NORMAL).await;
    // Neither words of `ann` nor those of the other room come in between.
    assert_eq!(next(&mut ann).await.as_deref(), Some("ben leaves"));
    cem.send("hello?").await?;
    let stopping = connections.shutdown(CloseCode::GOING_AWAY, std::time::Duration::MAX);
    let (cut, last, also_last) = tokio::join!(stopping, next(&mut ann), next(&mut cem));
    assert_eq!((cut, last, also_last), (0, None, None));
    assert_eq!(ann.closed().map(|closed| closed.code()), Some(1001));
    Ok(())
}
