//! Streams of a client that opens its window byte by byte, with a paused clock.

use sockeye::internals::PendingConnections;
use sockeye_testing::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame,
};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::*;
use crate::conn::answer::{Answer, AnswerFuture, Handler};
use crate::lifecycle::drain::Drain;
use crate::limits::peer::Peer;

const LIMIT: Duration = Duration::from_secs(12);

/// A client with one request in progress, for a response of `LENGTH` bytes.
struct Client {
    stream: DuplexStream,
    metrics: Arc<Metrics>,
}

const LENGTH: usize = 3000;

/// Answers every request with that many bytes.
struct Page;

impl Handler for Page {
    fn answer(&self, request: axum::extract::Request) -> AnswerFuture {
        let stream_budget = StreamBudget::of(&request);
        Box::pin(async move {
            Answer::from(stream_budget.make(|| "x".repeat(LENGTH), String::len).await)
        })
    }
}

impl Client {
    async fn ask(window: u32) -> Self {
        let (stream, theirs) = duplex(64 << 10);
        let metrics = Arc::new(Metrics::new(Arc::default(), None));
        let routes = Routes { peer: Peer::unknown(), handler: Arc::new(Page) };
        let http = builder(LIMIT, Arc::clone(&metrics));
        let limits = StreamLimits {
            idle: LIMIT * 100,
            write: LIMIT,
            buffer: LENGTH,
            metrics: Arc::clone(&metrics),
        };
        let (guard, pending) = (Drain::new().guard(), PendingConnections::default().register());
        let theirs = WriteDeadline::new(theirs, LIMIT * 100, pending);
        tokio::spawn(serve(http, theirs, routes, limits, guard));
        let mut client = Self { stream, metrics };
        client.stream.write_all(PREFACE).await.unwrap();
        client.send(SETTINGS, 0, 0, &[&[0, 4], &window.to_be_bytes()[..]].concat()).await;
        // `:method: GET`, `:scheme: http`, `:path: /` of the static table, and `:authority: x`.
        let head = [0x82, 0x86, 0x84, 0x01, 1, b'x'];
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await;
        client
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.stream.write_all(&frame(kind, flags, stream, payload)).await.unwrap();
    }

    async fn grant(&mut self, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, 1, &bytes.to_be_bytes()).await;
    }

    /// The next frame of the stream: its kind, whether it is the last, and its payload.
    async fn next(&mut self) -> (u8, bool, Vec<u8>) {
        loop {
            let frame = Frame::read_async(&mut self.stream).await.unwrap();
            let Frame { kind, flags, stream, payload } = frame;
            match (kind, stream) {
                (PING, 0) if flags == 0 => self.send(PING, ACK, 0, &payload).await,
                (kind, 1) => return (kind, flags & END_STREAM != 0, payload),
                _ => {}
            }
        }
    }

    /// How many bytes came, and whether the stream ended or was reset. `on_data` gets how many came so
    /// far.
    async fn received(&mut self, mut on_data: impl AsyncFnMut(&mut Self, usize)) -> (usize, bool) {
        let mut received = 0;
        loop {
            let (kind, is_last, data) = self.next().await;
            match kind {
                HEADERS | DATA => received += if kind == DATA { data.len() } else { 0 },
                RST_STREAM => return (received, false),
                kind => panic!("{kind}"),
            }
            if is_last {
                return (received, true);
            }
            on_data(self, received).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_window_is_reset_at_its_deadline() {
    for window in [0, 1, 100, 2999] {
        let begun = Instant::now();
        let mut client = Client::ask(window).await;
        let (received, ended) = client.received(async |_, _| {}).await;
        assert_eq!((received, ended), (window as usize, false));
        assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT * 2, "{:?}", begun.elapsed());
        assert_eq!(client.metrics.streams_given_up(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_just_the_answer_is_enough() {
    let begun = Instant::now();
    let mut client = Client::ask(LENGTH as u32).await;
    assert_eq!(client.received(async |_, _| {}).await, (LENGTH, true));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(client.metrics.streams_given_up(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_now_and_then_gets_everything() {
    let mut client = Client::ask(0).await;
    let (begun, mut granted) = (Instant::now(), 0);
    let grant = async |client: &mut Client, received| {
        if received == granted {
            sleep(LIMIT / 8).await;
            client.grant(200).await;
            granted += 200;
        }
    };
    assert_eq!(client.received(grant).await, (LENGTH, true));
    assert!(begun.elapsed() > LIMIT, "{:?}", begun.elapsed());
    assert_eq!(client.metrics.streams_given_up(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_made_when_others_leave_room_for_it() {
    let mut client = Client::ask(0).await;
    assert_eq!(client.next().await.0, HEADERS);
    assert_eq!(client.metrics.http2_buffered_bytes(), LENGTH as i64);
    let head = [0x82, 0x86, 0x84, 0x01, 1, b'x'];
    client.send(HEADERS, END_HEADERS | END_STREAM, 3, &head).await;
    sleep(LIMIT / 2).await;
    assert_eq!(client.metrics.http2_buffered_bytes(), LENGTH as i64, "nothing is made");
    // The first is given up, and the second is answered.
    assert_eq!(client.next().await.0, RST_STREAM);
    let begun = Instant::now();
    while client.metrics.streams_given_up() < 2 {
        assert!(client.metrics.http2_buffered_bytes() <= LENGTH as i64);
        sleep(LIMIT / 10).await;
    }
    assert!(begun.elapsed() >= LIMIT / 2, "{:?}", begun.elapsed());
}
