//! The same responses through hyper and through the writer: the bytes are the same.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::response::IntoResponse;
use http_body::SizeHint;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use sockeye::internals::PendingConnections;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::{self, yield_now};

use super::*;
use crate::conn::answer::{Answer, AnswerFuture, Handler};
use crate::conn::http1::{Http1Connection, RequestTimeouts, builder};
use crate::conn::service::Routes;
use crate::lifecycle::drain::Drain;
use crate::limits::peer::Peer;

const TIMEOUTS: RequestTimeouts =
    RequestTimeouts { idle: Duration::from_secs(75), head: Duration::from_secs(10) };

/// A response that can be made again.
#[derive(Clone, Debug)]
struct Sample {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<Vec<u8>>,
    /// Whether the body says its length.
    is_sized: bool,
}

impl Sample {
    fn new(status: u16, pieces: &[&str], is_sized: bool) -> Self {
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        Self { status, headers: Vec::new(), pieces, is_sized }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn response(&self, polled_in: &Tasks) -> Response {
        let pieces = self.pieces.iter().map(|piece| Bytes::from(piece.clone())).collect();
        let (is_sized, polled_in) = (self.is_sized, Arc::clone(polled_in));
        let body = Body::new(Pieces { pieces, is_sized, polled_in, waits: true });
        let mut response = body.into_response();
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in &self.headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    }

    /// Whether the body has to end with the connection for a client without chunks.
    fn needs_chunks(&self) -> bool {
        !self.is_sized && !self.pieces.is_empty() && ![204, 304].contains(&self.status)
    }
}

/// The tasks that have polled a body.
type Tasks = Arc<Mutex<HashSet<task::Id>>>;

/// A body that waits before each piece.
struct Pieces {
    pieces: VecDeque<Bytes>,
    is_sized: bool,
    polled_in: Tasks,
    waits: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.polled_in.lock().unwrap().insert(task::id());
        self.waits = !self.waits;
        if !self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_sized {
            true => SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum()),
            false => SizeHint::new(),
        }
    }
}

/// How a handler gives its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerKind {
    Ready,
    Streaming,
    Deferred,
}

struct Answering {
    sample: Sample,
    kind: AnswerKind,
    /// The tasks in which the handler was called.
    called_in: Tasks,
    polled_in: Tasks,
}

impl Handler for Answering {
    fn answer(&self, _: Request) -> AnswerFuture {
        self.called_in.lock().unwrap().insert(task::id());
        let response = self.sample.response(&self.polled_in);
        let answer = match self.kind {
            AnswerKind::Ready => Answer::Ready(response),
            AnswerKind::Streaming => Answer::Streaming(response),
            AnswerKind::Deferred => Answer::defer(async move |_| {
                yield_now().await;
                response
            }),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// Sends the request twice, and reads to the end of the connection, with a paused clock.
async fn ask(mut client: DuplexStream, request: &str) -> String {
    client.write_all(request.repeat(2).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    without_dates(&String::from_utf8(answer).unwrap())
}

fn without_dates(text: &str) -> String {
    let lines = text.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("date: ")).collect()
}

async fn through_hyper(request: &str, sample: &Sample) -> String {
    let (client, server) = duplex(1 << 16);
    let sample = sample.clone();
    let answer = service_fn(move |_| {
        std::future::ready(Ok::<_, Infallible>(sample.response(&Tasks::default())))
    });
    let serving = builder(TIMEOUTS.head).serve_connection(TokioIo::new(server), answer);
    let serving = tokio::spawn(serving);
    let answer = ask(client, request).await;
    // A connection that idles for too long ends with an error.
    let _ = serving.await.unwrap();
    answer
}

async fn through_ours(request: &str, sample: &Sample, kind: AnswerKind) -> String {
    let (client, server) = duplex(1 << 16);
    let (called_in, polled_in) = (Tasks::default(), Tasks::default());
    let handler = Answering {
        sample: sample.clone(),
        kind,
        called_in: Arc::clone(&called_in),
        polled_in: Arc::clone(&polled_in),
    };
    let connection = Http1Connection {
        http: Arc::new(builder(TIMEOUTS.head)),
        timeouts: TIMEOUTS,
        routes: Routes { peer: Peer::unknown(), handler: Arc::new(handler) },
        guard: Drain::new().guard(),
    };
    let pending = PendingConnections::default().register();
    tokio::spawn(connection.serve(WriteDeadline::new(server, Duration::from_secs(120), pending)));
    let answer = ask(client, request).await;
    let (called_in, polled_in) = (called_in.lock().unwrap(), polled_in.lock().unwrap());
    if !polled_in.is_empty() {
        let is_detached = called_in.is_disjoint(&polled_in);
        let expected = kind != AnswerKind::Ready && request.starts_with("GET ");
        assert_eq!(is_detached, expected, "the writer has a task of its own: {kind:?} {request}");
    }
    answer
}

/// Whether hyper promises to keep a connection that ends with the response.
fn is_promised(request: &str, sample: &Sample) -> bool {
    let says_close = sample.headers.iter().any(|(name, value)| (*name, &**value) == CLOSE);
    request.contains("/1.0\r\nConnection: keep-alive\r\n") && (sample.needs_chunks() || says_close)
}

const CLOSE: (&str, &str) = ("connection", "close");

fn without_promise(text: &str) -> String {
    let lines = text.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("connection: ")).collect()
}

const REQUESTS: [&str; 8] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
];

fn compare(request: &str, sample: &Sample) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let expected = through_hyper(request, sample).await;
        for kind in [AnswerKind::Ready, AnswerKind::Streaming, AnswerKind::Deferred] {
            let ours = through_ours(request, sample, kind).await;
            if kind != AnswerKind::Ready && is_promised(request, sample) {
                assert!(ours.contains("\r\nconnection: close"), "{ours:?}");
                assert!(!ours.contains("keep-alive"), "{ours:?}");
                assert_eq!(without_promise(&ours), without_promise(&expected));
            } else {
                assert_eq!(ours, expected, "{kind:?} {request:?} {sample:?}");
            }
        }
    });
}

#[test]
fn a_response_has_the_same_bytes_whichever_way_it_goes() {
    let long = "x".repeat(200_000);
    let samples = [
        Sample::new(200, &[], true),
        Sample::new(200, &[], false),
        Sample::new(200, &["short"], true),
        Sample::new(200, &["a", "", "piece"], true),
        Sample::new(200, &["a", "", "piece of twenty six bytes."], false),
        Sample::new(200, &[&long], true),
        Sample::new(200, &[&long, &long], false),
        Sample::new(200, &["last"], true).with(CLOSE.0, CLOSE.1),
        Sample::new(200, &["last"], false).with(CLOSE.0, CLOSE.1),
        Sample::new(200, &["same"], true).with("vary", "accept").with("vary", "origin"),
        Sample::new(200, &["same"], true).with("connection", "x").with("connection", "y"),
        Sample::new(200, &["same"], true).with("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        Sample::new(204, &[], true).with("etag", "\"a.1\""),
        Sample::new(204, &["none"], false),
        Sample::new(205, &[], true),
        Sample::new(304, &[], true).with("etag", "\"a.1\""),
        Sample::new(304, &["none"], true),
        Sample::new(404, &["nothing"], true),
        Sample::new(503, &["later"], true).with("retry-after", "5"),
        Sample::new(599, &["no reason"], true),
    ];
    for request in REQUESTS {
        samples.iter().for_each(|sample| compare(request, sample));
    }
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let header = prop_oneof![
        Just(CLOSE).prop_map(|(name, value)| (name, value.to_owned())),
        "[ -~]{0,40}".prop_map(|value| ("x-any", value.trim().to_owned())),
        "[a-z, -]{1,20}".prop_map(|value| ("vary", value.trim().to_owned())),
        "[!-~]{1,20}".prop_map(|value| ("etag", value)),
    ];
    let status = prop_oneof![200_u16..206, 300_u16..309, 400_u16..430, 500_u16..512, 200_u16..600];
    let pieces = prop::collection::vec("[ -~\r\n]{0,3000}".prop_map(String::into_bytes), 0..6);
    let headers = prop::collection::vec(header, 0..8);
    (status, headers, pieces, any::<bool>()).prop_map(|(status, headers, pieces, is_sized)| {
        Sample { status, headers, pieces, is_sized }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn any_response_has_the_same_bytes(sample in any_sample(), request in 0..REQUESTS.len()) {
        compare(REQUESTS[request], &sample);
    }
}

/// A body that is not as long as it says ends the connection: what follows would be taken for it.
#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_it_says_ends_the_connection() {
    for body in ["short", "much too long"] {
        let (mut client, server) = duplex(1 << 16);
        let pending = PendingConnections::default().register();
        let mut io = WriteDeadline::new(server, Duration::from_secs(120), pending);
        let lying = Body::new(Lying(Some(body.into())));
        let work = Work::Streaming(Box::new(lying.into_response()));
        let detached = Detached { work, persistence: Persistence::KeepAlive };
        write_response(&mut io, detached).await.unwrap_err();
        drop(io);
        let mut written = String::new();
        client.read_to_string(&mut written).await.unwrap();
        assert!(!written.contains("too long"), "{written}");
    }
}

/// A body that says it has seven bytes.
struct Lying(Option<Bytes>);

impl http_body::Body for Lying {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(7)
    }
}
