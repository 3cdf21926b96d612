//! Streams as a client sees them that gives its window byte by byte, by a clock that leaps.

use axum::Router;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use sockeye::internals::PendingConnections;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::*;
use crate::drain::Drain;
use crate::peer::{Addressed, Peer};

const LIMIT: Duration = Duration::from_secs(12);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client with one request under way, for an answer of `LENGTH` bytes.
struct Client {
    stream: DuplexStream,
    metrics: Arc<Metrics>,
}

const LENGTH: usize = 3000;

impl Client {
    async fn ask(window: u32) -> Self {
        let (stream, theirs) = duplex(64 << 10);
        let metrics = Arc::new(Metrics::new(Arc::default()));
        let page = async |request: axum::extract::Request| {
            Share::of(&request).make(|| "x".repeat(LENGTH), String::len).await
        };
        let router = Router::new().route("/", get(page));
        let routes = Addressed { peer: Peer::unknown(), service: TowerToHyperService::new(router) };
        let http = builder(LIMIT, Arc::clone(&metrics));
        let limits = StreamLimits {
            idle: LIMIT * 100,
            write: LIMIT,
            buffer: LENGTH,
            metrics: Arc::clone(&metrics),
        };
        let (guest, pending) = (Drain::new().admit(), PendingConnections::default().register());
        tokio::spawn(serve(http, theirs, routes, limits, guest, pending));
        let mut client = Self { stream, metrics };
        client.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.send(SETTINGS, 0, 0, &[&[0, 4], &window.to_be_bytes()[..]].concat()).await;
        // `:method: GET`, `:scheme: http`, `:path: /` of the static table, and `:authority: x`.
        let head = [0x82, 0x86, 0x84, 0x01, 1, b'x'];
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await;
        client
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn grant(&mut self, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, 1, &bytes.to_be_bytes()).await;
    }

    /// The next frame of the stream: its kind, whether it is the last, and its payload.
    async fn next(&mut self) -> (u8, bool, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.unwrap();
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            match (kind, u32::from_be_bytes(stream)) {
                (6, 0) if flags == 0 => self.send(6, 1, 0, &payload).await,
                (kind, 1) => return (kind, flags & END_STREAM != 0, payload),
                _ => {}
            }
        }
    }

    /// How many bytes came, and whether the stream ended or was reset. `on_data` is told how many
    /// came so far.
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
