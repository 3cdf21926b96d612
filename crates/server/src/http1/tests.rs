//! How long a connection waits for its next request.

use axum::Router;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::*;
use crate::drain::Drain;
use crate::peer::{Addressed, Peer};

const PATIENCE: Patience =
    Patience { idle: Duration::from_secs(75), head: Duration::from_secs(10) };
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection of which the first request was answered.
async fn connection() -> DuplexStream {
    let (mut client, server) = duplex(1 << 16);
    let router = Router::new().route("/", get(async || "ok"));
    let connection = Connection {
        http: Arc::new(builder(PATIENCE.head)),
        patience: PATIENCE,
        routes: Addressed { peer: Peer::unknown(), service: TowerToHyperService::new(router) },
        guest: Drain::new().admit(),
    };
    tokio::spawn(connection.serve(Impatient::new(server, Duration::from_secs(120))));
    client.write_all(REQUEST).await.unwrap();
    is_answered(&mut client).await;
    client
}

async fn is_answered(client: &mut DuplexStream) {
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"\r\n\r\nok") {
        let read = client.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the connection ended");
        answer.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test(start_paused = true)]
async fn it_idles_for_so_long_between_requests() {
    let mut client = connection().await;
    for _ in 0..3 {
        sleep(PATIENCE.idle - Duration::from_secs(1)).await;
        client.write_all(REQUEST).await.unwrap();
        is_answered(&mut client).await;
    }
    let idle = Instant::now();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(idle.elapsed().as_secs(), PATIENCE.idle.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_has_less_time() {
    let mut client = connection().await;
    sleep(Duration::from_secs(30)).await;
    let begun = Instant::now();
    for byte in &REQUEST[..9] {
        client.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.head.as_secs());
    // One that is in time is a request as any other.
    let mut client = connection().await;
    client.write_all(&REQUEST[..9]).await.unwrap();
    sleep(PATIENCE.head - Duration::from_secs(1)).await;
    client.write_all(&REQUEST[9..]).await.unwrap();
    is_answered(&mut client).await;
}
