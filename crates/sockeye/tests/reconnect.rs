//! The client that connects again: when, how often, and when not. Time is tokio's paused clock and the
//! transports are in memory: nothing here waits.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use sockeye::{
    Client, CloseCode, CloseFrame, Config, ConnectError, Error, Message, Role, WebSocket,
    reconnect::{Backoff, Decision, Down, Event, ReconnectingClient, SendError},
};
use sockeye_testing::handshake::{accept_for, response};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    time::{Instant, sleep},
};

/// What a server does with one connection.
#[derive(Clone)]
enum Act {
    Unreachable,
    Answer(&'static str),
    /// Sends this behind its handshake and reads to the end.
    Open(Vec<u8>),
    /// The same, but drops the connection after this time.
    Drop(Duration),
}

fn close(code: u16) -> Act {
    let [high, low] = code.to_be_bytes();
    Act::Open(vec![0x88, 2, high, low])
}

/// A client of a server that does these things, one for each connection, and is then unreachable.
fn client(acts: impl IntoIterator<Item = Act>) -> ReconnectingClient {
    let acts: Arc<Mutex<VecDeque<Act>>> = Arc::new(Mutex::new(acts.into_iter().collect()));
    ReconnectingClient::new(move || {
        let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Unreachable);
        async move {
            if matches!(act, Act::Unreachable) {
                return Err(ConnectError::Io(io::ErrorKind::ConnectionRefused.into()));
            }
            let (near, far) = duplex(1 << 10);
            tokio::spawn(play(act, far));
            // The server answers no pings.
            let config = Config::default().keepalive(None);
            Ok(Client::new("ws://localhost/")?.config(config).open_over(near).await?.socket)
        }
    })
}

async fn play(act: Act, mut stream: DuplexStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    if let Act::Answer(answer) = act {
        stream.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    stream.write_all(accepted(&request).as_bytes()).await.unwrap();
    match act {
        Act::Open(bytes) => {
            stream.write_all(&bytes).await.unwrap();
            if bytes.first() == Some(&0x88) {
                // The client answers; then a server ends the transport.
                stream.read_u8().await.unwrap();
                return;
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
        Act::Drop(after) => sleep(after).await,
        Act::Unreachable | Act::Answer(_) => unreachable!("dealt with above"),
    }
}

/// The answer that opens a WebSocket on this request.
fn accepted(request: &[u8]) -> String {
    let request = std::str::from_utf8(request).unwrap();
    let is_key = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key:");
    let key = request.lines().find(is_key).and_then(|line| line.split(": ").nth(1)).unwrap();
    response(&accept_for(key))
}

/// What happens next, in few words; `None` at the end.
async fn next(client: &mut ReconnectingClient) -> Option<String> {
    Some(match client.next_event().await? {
        Event::Connecting { attempt, .. } => format!("attempt {attempt}"),
        Event::Open => "open".to_owned(),
        Event::Message(message) => format!("message {}", message.as_text().unwrap()),
        Event::Down(Down::Failed(_)) => "closed 1006".to_owned(),
        Event::Down(Down::Closed(closed)) => format!("closed {}", closed.code()),
        Event::Down(_) => "not opened".to_owned(),
        event => panic!("{event:?}"),
    })
}

async fn assert_events(client: &mut ReconnectingClient, events: &[&str]) {
    for event in events {
        assert_eq!(next(client).await.as_deref(), Some(*event), "of {events:?}");
    }
}

/// The delay before the next attempt, with the failure before it passed over.
async fn next_delay(client: &mut ReconnectingClient) -> (u32, Duration) {
    loop {
        if let Event::Connecting { attempt, delay } = client.next_event().await.unwrap() {
            return (attempt, delay);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_is_an_event_and_a_lost_connection_is_made_again() {
    let hello = Act::Open(b"\x81\x02hi".to_vec());
    let mut client = client([close(1001), Act::Unreachable, hello]);
    let events = ["attempt 1", "open", "closed 1001", "attempt 2", "not opened", "attempt 3"];
    assert_events(&mut client, &events).await;
    assert_events(&mut client, &["open", "message hi"]).await;
}

/// Rule: WS6.
#[tokio::test(start_paused = true)]
async fn it_waits_a_random_time_below_a_bound_that_doubles() {
    let mut client = client([]);
    assert_eq!(next_delay(&mut client).await, (1, Duration::ZERO));
    for failures in 1..100 {
        let bound =
            Duration::from_millis(500 << (failures - 1).min(10)).min(Duration::from_secs(20));
        let (attempt, delay) = next_delay(&mut client).await;
        assert_eq!(attempt, failures + 1);
        assert!(delay <= bound, "{delay:?} after {failures} failures");
        let announced = Instant::now();
        assert_events(&mut client, &["not opened"]).await;
        let waited = announced.elapsed();
        // The clock ticks in milliseconds.
        assert!(
            (delay..delay + Duration::from_millis(2)).contains(&waited),
            "{waited:?} {delay:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_bound_is_set_by_the_backoff() {
    let backoff = Backoff::default().base(Duration::from_secs(3600)).cap(Duration::from_millis(10));
    let mut client = client([]).backoff(backoff);
    for _ in 0..100 {
        assert!(next_delay(&mut client).await.1 <= Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_was_stable_for_a_minute_makes_failures_forgotten() {
    let second = Act::Drop(Duration::from_secs(1));
    let minute = Act::Drop(Duration::from_secs(61));
    let mut client = client([second.clone(), second, minute, Act::Unreachable]);
    let lost = ["open", "closed 1006"];
    for attempt in ["attempt 1", "attempt 2", "attempt 3"] {
        assert_events(&mut client, &[attempt]).await;
        assert_events(&mut client, &lost).await;
    }
    assert_events(&mut client, &["attempt 2", "not opened", "attempt 3"]).await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_refuse_are_final_except_for_too_slow_and_too_often() {
    for status in ["301", "400", "401", "403", "404", "410"] {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        let mut client = client([Act::Answer(answer.leak())]);
        assert_events(&mut client, &["attempt 1", "not opened"]).await;
        assert_eq!(next(&mut client).await, None, "{status}");
        assert_eq!(next(&mut client).await, None, "{status}");
    }
    for status in ["408", "429", "500", "502", "503"] {
        let answer = format!("HTTP/1.1 {status} Later\r\nContent-Length: 0\r\n\r\n");
        let mut client = client([Act::Answer(answer.leak())]);
        assert_events(&mut client, &["attempt 1", "not opened", "attempt 2"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_to_come_again_is_obeyed() {
    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n";
    let mut client = client([Act::Answer(busy), close(1013)]);
    assert_eq!(next_delay(&mut client).await.1, Duration::ZERO);
    let delay = next_delay(&mut client).await.1;
    assert!((30.0..=30.5).contains(&delay.as_secs_f64()), "{delay:?}");
    let delay = next_delay(&mut client).await.1;
    assert!((5.0..=6.0).contains(&delay.as_secs_f64()), "{delay:?}");
}

#[tokio::test(start_paused = true)]
async fn close_codes_say_whether_to_come_again() {
    for code in [1000, 1003, 1008, 1010] {
        let mut client = client([close(code)]);
        assert_events(&mut client, &["attempt 1", "open", &format!("closed {code}")]).await;
        assert_eq!(next(&mut client).await, None, "{code}");
    }
    for code in [1001, 1011, 1012, 1013, 3000, 4000] {
        let mut client = client([close(code)]);
        assert_events(&mut client, &["attempt 1", "open", &format!("closed {code}")]).await;
        assert_events(&mut client, &["attempt 2"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_decides_which_failures_are_final() {
    let mut client = client([close(1000), close(4001)]).decide(|down| match down {
        Down::Closed(closed) if closed.code() == 4001 => Decision::Final,
        Down::Closed(_) => Decision::RetryAfter(Duration::from_secs(7)),
        down => down.decision(),
    });
    next_delay(&mut client).await;
    assert!(next_delay(&mut client).await.1 >= Duration::from_secs(7));
    assert_events(&mut client, &["open", "closed 4001"]).await;
    assert_eq!(next(&mut client).await, None);
}

#[tokio::test(start_paused = true)]
async fn sending_waits_for_a_connection_or_not_as_one_chooses() {
    let mut client = client([Act::Unreachable, close(1001), Act::Open(Vec::new())]);
    let unsent = client.send_if_open("now").await;
    assert!(matches!(unsent, Err(SendError::NotOpen(Message::Text(text))) if &*text == "now"));
    client.send("then").await.unwrap();
    assert!(client.socket().is_some());
    // What happened meanwhile is told in its order.
    assert_events(&mut client, &["attempt 1", "not opened", "attempt 2", "open"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_given_up_sends_nothing() {
    let mut client = client([]).decide(|_| Decision::Final);
    assert!(matches!(client.send("x").await, Err(SendError::Ended(_))));
    assert_events(&mut client, &["attempt 1", "not opened"]).await;
    assert_eq!(next(&mut client).await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_it_is_the_end() {
    let mut client = client([Act::Open(Vec::new()), Act::Open(Vec::new())]);
    assert_events(&mut client, &["attempt 1", "open"]).await;
    let closed = client.close(CloseFrame::new(CloseCode::NORMAL, "bye").unwrap()).await.unwrap();
    assert_eq!(closed.sent.frame().unwrap().reason(), "bye");
    assert_eq!(next(&mut client).await, None);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_wait_that_was_dropped_are_not_lost() {
    let mut client = client([Act::Unreachable, Act::Open(b"\x81\x02hi".to_vec())]);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "message hi") {
        // Dropped at every point where it waits.
        tokio::select! {
            biased;
            event = next(&mut client) => seen.push(event.unwrap()),
            () = sleep(Duration::from_millis(1)) => {}
        }
    }
    assert_eq!(seen, ["attempt 1", "not opened", "attempt 2", "open", "message hi"]);
}

/// A client of servers that play `serve` with what was accepted.
fn client_of<F>(serve: impl Fn(WebSocket) -> F + Send + Sync + 'static) -> ReconnectingClient
where
    F: Future<Output = ()> + Send + 'static,
{
    let serve = Arc::new(serve);
    ReconnectingClient::new(move || {
        let serve = serve.clone();
        async move {
            let (near, far) = duplex(1 << 10);
            tokio::spawn(async move { serve(sockeye::accept(far).await.unwrap()).await });
            Ok(Client::new("ws://localhost/")?.open_over(near).await?.socket)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_run_at_each_opening_before_anything_else_is_sent() {
    let (sender, mut first) = tokio::sync::mpsc::unbounded_channel();
    let mut client = client_of(move |mut socket| {
        let sender = sender.clone();
        async move {
            let message = socket.recv().await.unwrap().unwrap();
            sender.send(message.as_text().unwrap().to_owned()).unwrap();
            socket.send("welcome").await.unwrap();
            sender
                .send(socket.recv().await.unwrap().unwrap().as_text().unwrap().to_owned())
                .unwrap();
            socket.abort();
        }
    })
    .on_open(|mut socket| async {
        socket.send("subscribe").await?;
        // It may wait for an answer.
        assert_eq!(socket.recv().await.unwrap()?.as_text(), Some("welcome"));
        Ok(socket)
    });
    let handle = client.handle();
    let sending = tokio::spawn(async move {
        for _ in 0..3 {
            handle.send("from a handle").await.unwrap();
            sleep(Duration::from_secs(60)).await;
        }
    });
    let mut opened = 0;
    while opened < 3 {
        opened += usize::from(matches!(client.next_event().await, Some(Event::Open)));
    }
    let ends = async { while !matches!(client.next_event().await, Some(Event::Down(_))) {} };
    let (sent, ()) = tokio::join!(sending, ends);
    sent.unwrap();
    for _ in 0..3 {
        assert_eq!(first.recv().await.as_deref(), Some("subscribe"));
        assert_eq!(first.recv().await.as_deref(), Some("from a handle"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_is_a_failed_connection() {
    let refused = client_of(|mut socket| async move {
        socket.recv().await;
        socket.close(CloseCode::POLICY_VIOLATION).await;
    });
    let mut client = refused.on_open(|mut socket| async {
        socket.send("subscribe").await?;
        assert!(socket.recv().await.is_none());
        socket.send("more").await?;
        Ok(socket)
    });
    assert_events(&mut client, &["attempt 1"]).await;
    let down = client.next_event().await;
    assert!(matches!(&down, Some(Event::Down(Down::Failed(Error::Closed(_))))), "{down:?}");
    // As the server has closed it, it does not want more.
    assert_eq!(next(&mut client).await, None);
}

#[tokio::test(start_paused = true)]
async fn handles_send_and_close_from_other_tasks() {
    let mut client = client_of(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            socket.send(message).await.unwrap();
        }
    });
    let (handle, other) = (client.handle(), client.handle());
    assert!(matches!(handle.send_if_open("now").await, Err(SendError::NotOpen(_))));
    let task = tokio::spawn(async move {
        handle.send("later").await.unwrap();
        assert!(handle.is_open());
        handle.send_if_open("now").await.unwrap();
        handle.clone().close(CloseFrame::new(CloseCode::NORMAL, "bye").unwrap()).await
    });
    let events = ["attempt 1", "open", "message later", "message now", "closed 1000"];
    assert_events(&mut client, &events).await;
    assert_eq!(next(&mut client).await, None);
    let closed = task.await.unwrap().unwrap();
    assert_eq!(closed.sent.frame().unwrap().reason(), "bye");
    assert!(matches!(other.send("late").await, Err(SendError::Ended(_))));
    assert!(matches!(other.send_if_open("late").await, Err(SendError::Ended(_))));
    drop(client);
    assert!(other.close(None).await.is_none());

    // Between two connections there is none to be closed.
    let mut client = self::client([]);
    assert_events(&mut client, &["attempt 1", "not opened", "attempt 2"]).await;
    let handle = client.handle();
    let (closed, event) = tokio::join!(handle.close(None), next(&mut client));
    assert_eq!((closed, event), (None, None));
}

/// A transport that the network has reset.
struct Reset(DuplexStream);

impl AsyncRead for Reset {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset by the network")))
    }
}

impl AsyncWrite for Reset {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_cause_that_the_system_gave_is_told() {
    let mut client = ReconnectingClient::new(|| async {
        let reset = Reset(duplex(1 << 10).0);
        Ok(WebSocket::from_upgraded(reset, Role::Client, Config::default()))
    });
    assert_events(&mut client, &["attempt 1", "open"]).await;
    let down = client.next_event().await;
    let Some(Event::Down(down @ Down::Failed(Error::Io(_)))) = down else { panic!("{down:?}") };
    assert!(down.to_string().contains("reset by the network"), "{down}");
}
