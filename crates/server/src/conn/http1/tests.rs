//! How long a connection waits for its next request.

use std::future::ready;

use axum::extract::Request;
use axum::response::IntoResponse;
use sockeye::internals::PendingConnections;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::conn::answer::{Answer, AnswerFuture, Handler};
use crate::lifecycle::drain::Drain;
use crate::limits::peer::Peer;

const TIMEOUTS: RequestTimeouts =
    RequestTimeouts { idle: Duration::from_secs(75), head: Duration::from_secs(10) };
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers every request at once.
struct AlwaysOk;

impl Handler for AlwaysOk {
    fn answer(&self, _: Request) -> AnswerFuture {
        Box::pin(ready(Answer::from("ok")))
    }
}

/// A connection whose first request was answered.
async fn connection() -> DuplexStream {
    connection_in(&PendingConnections::default()).await
}

/// The same, registered as one that can be evicted.
async fn connection_in(set: &PendingConnections) -> DuplexStream {
    let mut client = begin(set, &Drain::new(), Arc::new(AlwaysOk)).await;
    is_answered(&mut client).await;
    client
}

/// A connection that has sent its first request.
async fn begin(set: &PendingConnections, drain: &Drain, handler: Arc<dyn Handler>) -> DuplexStream {
    let (mut client, server) = duplex(1 << 16);
    let pending = set.register();
    let connection = Http1Connection {
        http: Arc::new(builder(TIMEOUTS.head)),
        timeouts: TIMEOUTS,
        routes: Routes { peer: Peer::unknown(), handler },
        guard: drain.guard(),
    };
    tokio::spawn(connection.serve(WriteDeadline::new(server, Duration::from_secs(120), pending)));
    client.write_all(REQUEST).await.unwrap();
    client
}

/// Answers with a stream, once it is told to.
struct StreamsLater {
    asked: Arc<Notify>,
    answers: Arc<Notify>,
}

impl Handler for StreamsLater {
    fn answer(&self, _: Request) -> AnswerFuture {
        self.asked.notify_one();
        let answers = Arc::clone(&self.answers);
        Box::pin(async move {
            answers.notified().await;
            Answer::Streaming("ok".into_response())
        })
    }
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
async fn a_connection_may_idle_between_requests_for_its_limit() {
    let mut client = connection().await;
    for _ in 0..3 {
        sleep(TIMEOUTS.idle - Duration::from_secs(1)).await;
        client.write_all(REQUEST).await.unwrap();
        is_answered(&mut client).await;
    }
    let idle = Instant::now();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(idle.elapsed().as_secs(), TIMEOUTS.idle.as_secs());
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
    assert_eq!(begun.elapsed().as_secs(), TIMEOUTS.head.as_secs());
    // A request in time is served as any other.
    let mut client = connection().await;
    client.write_all(&REQUEST[..9]).await.unwrap();
    sleep(TIMEOUTS.head - Duration::from_secs(1)).await;
    client.write_all(&REQUEST[9..]).await.unwrap();
    is_answered(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_while_the_server_drains_has_its_head_at_once() {
    let (asked, answers) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let handler = StreamsLater { asked: Arc::clone(&asked), answers: Arc::clone(&answers) };
    let drain = Drain::new();
    let mut client = begin(&PendingConnections::default(), &drain, Arc::new(handler)).await;
    asked.notified().await;
    drain.begin(Duration::from_secs(30));
    // The connection gets to know of it first.
    sleep(Duration::from_millis(1)).await;
    answers.notify_one();
    timeout(Duration::from_secs(1), is_answered(&mut client)).await.expect("a head at once");
}
