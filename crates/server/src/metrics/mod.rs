//! What the server counts, and how collectors read it.
//!
//! Counting is adding to numbers in memory; no label has more values than this file names, so what
//! clients do makes no more of them. `docs/operations.md` lists the names.

mod format;
mod latency;
mod process;
mod state;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sockeye_hub::{Entry, Gap, Page, Start, Why};

pub(crate) use self::format::Format;
use self::latency::Latency;
use self::process::Process;
use self::state::State;
use crate::problem::Code;
use crate::router::App;

/// A way to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Poll,
    LongPoll,
    /// Server-Sent Events.
    Events,
    /// JSON lines.
    Lines,
    /// A plain WebSocket.
    WebSocket,
    /// A WebSocket that speaks `sockeye.v1`.
    V1,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client left, or the network between.
    Left,
    /// The client took nothing for too long of what was there for it.
    Stalled,
    /// The server stops.
    Drain,
    /// What the client was given has expired.
    Expired,
    /// Messages are missing, and its transport or its policy does not go on after that.
    Gap,
    /// It did something that it may not, or too much of it.
    Refused,
}

/// All counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    transports: [Counters; Transport::ALL.len()],
    closed: Family<[(&'static str, &'static str); 2], Counter>,
    resumes: Family<[(&'static str, &'static str); 2], Counter>,
    gaps: Family<[(&'static str, &'static str); 2], Counter>,
    publishes: Family<[(&'static str, &'static str); 1], Counter>,
    requests: Family<[(&'static str, u16); 1], Counter>,
    streams: Gauge,
    streams_given_up: Counter,
    buffered: Gauge,
    waits: Counter,
    latency: Latency,
    state: State,
    process: Process,
}

/// What is counted of one transport, found without looking it up.
#[derive(Debug)]
struct Counters {
    open: Gauge,
    opened: Counter,
    messages: Counter,
    bytes: Counter,
}

impl Metrics {
    /// Nothing is counted yet, but what `lost_lines` counts of the log.
    pub(crate) fn new(lost_lines: Arc<AtomicU64>) -> Self {
        let mut all = Registry::default();
        let process = Process::register(&mut all);
        let registry = all.sub_registry_with_prefix("sockeye");
        let open = Family::<[(&str, &str); 1], Gauge>::default();
        let opened = Family::<[(&str, &str); 1], Counter>::default();
        let messages = Family::<[(&str, &str); 1], Counter>::default();
        let bytes = Family::<[(&str, &str); 1], Counter>::default();
        let counters = |transport: Transport| {
            let label = [("transport", transport.name())];
            Counters {
                open: open.get_or_create_owned(&label),
                opened: opened.get_or_create_owned(&label),
                messages: messages.get_or_create_owned(&label),
                bytes: bytes.get_or_create_owned(&label),
            }
        };
        let transports = Transport::ALL.map(counters);
        registry.register("connections", "Who listens now, parked polls included", open);
        registry.register("connections_opened", "Who began to listen", opened);
        registry.register("messages_sent", "Messages given to clients", messages);
        let help = "What messages given to clients took on their transport, before TLS";
        registry.register_with_unit("sent", help, Unit::Bytes, bytes);

        let mut metrics = Self {
            transports,
            closed: Family::default(),
            resumes: Family::default(),
            gaps: Family::default(),
            publishes: Family::default(),
            requests: Family::default(),
            streams: Gauge::default(),
            streams_given_up: Counter::default(),
            buffered: Gauge::default(),
            waits: Counter::default(),
            latency: Latency::default(),
            state: State::register(registry, lost_lines),
            process,
            registry: Registry::default(),
        };
        metrics.register(registry);
        metrics.registry = all;
        metrics
    }

    /// Makes the others known under their names.
    fn register(&self, registry: &mut Registry) {
        let help = "Who stopped listening, and why";
        registry.register("connections_closed", help, self.closed.clone());
        let help = "Who came with a position, and whether the history still reached back to it";
        registry.register("resumes", help, self.resumes.clone());
        let help = "Gaps told to readers, and why messages were missing";
        registry.register("gaps", help, self.gaps.clone());
        let help = "Messages published, and those that were not taken";
        registry.register("publishes", help, self.publishes.clone());
        registry.register(
            "requests",
            "HTTP requests by the status of their answer",
            self.requests.clone(),
        );
        let help = "Open streams of HTTP/2: requests, subscriptions and WebSockets";
        registry.register("http2_streams", help, self.streams.clone());
        let help = "What streams of HTTP/2 hold that their clients have not taken";
        registry.register_with_unit("http2_buffered", help, Unit::Bytes, self.buffered.clone());
        let help = "How often a stream waited because those of its connection held too much";
        registry.register("http2_waits", help, self.waits.clone());
        let help = "Streams of HTTP/2 reset because the client did not read them";
        registry.register("http2_streams_given_up", help, self.streams_given_up.clone());
        let help =
            "From publishing a message to handing it to a connection that was waiting for it";
        registry.register_with_unit("delivery", help, Unit::Seconds, self.latency.clone());
    }

    /// All of it as text, with what there is at this moment.
    pub(crate) fn text(&self, app: &App, format: Format) -> String {
        self.state.look(app);
        self.process.look();
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        format.of_open_metrics(text)
    }

    pub(crate) fn opened(&self, transport: Transport) {
        self.of(transport).opened.inc();
        self.of(transport).open.inc();
    }

    pub(crate) fn closed(&self, transport: Transport, end: End) {
        self.of(transport).open.dec();
        self.closed.get_or_create(&[("transport", transport.name()), ("reason", end.name())]).inc();
    }

    /// One came with a position to go on from; what was missing, if anything.
    pub(crate) fn resumed(&self, transport: Transport, missing: Option<Why>) {
        let outcome = missing.map_or("recovered", why_name);
        self.resumes.get_or_create(&[("transport", transport.name()), ("outcome", outcome)]).inc();
    }

    pub(crate) fn gap(&self, transport: Transport, gap: &Gap) {
        self.gaps
            .get_or_create(&[("transport", transport.name()), ("why", why_name(gap.why))])
            .inc();
    }

    /// Messages that were handed to a connection, and what they took there.
    pub(crate) fn sent(&self, transport: Transport, messages: usize, bytes: usize) {
        self.of(transport).messages.inc_by(messages as u64);
        self.of(transport).bytes.inc_by(bytes as u64);
    }

    /// The same of messages for which the reader had been waiting since that time: how long each
    /// took.
    pub(crate) fn delivered(&self, entries: &[Arc<Entry>], waiting_since: u64) {
        self.latency.observe(entries, waiting_since, now());
    }

    /// A poll that began at `start` was answered with that page in so many bytes.
    pub(crate) fn polled(&self, start: Start, page: &Page, bytes: usize) {
        let transport = Transport::Poll;
        if matches!(start, Start::After(_) | Start::Foreign) {
            self.resumed(transport, page.gap.map(|gap| gap.why));
        }
        if let Some(gap) = &page.gap {
            self.gap(transport, gap);
        }
        self.sent(transport, page.entries.len(), bytes);
    }

    pub(crate) fn published(&self, outcome: Result<(), Code>) {
        let outcome = match outcome {
            Ok(()) => "ok",
            Err(Code::Forbidden | Code::Unauthorized) => "forbidden",
            Err(Code::TooLarge) => "too_large",
            Err(Code::TooMany) => "too_many",
            Err(Code::InsufficientStorage) => "insufficient_storage",
            Err(_) => "error",
        };
        self.publishes.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn answered(&self, status: http::StatusCode) {
        self.requests.get_or_create(&[("status", status.as_u16())]).inc();
    }

    pub(crate) fn stream_opened(&self) {
        self.streams.inc();
    }

    pub(crate) fn stream_closed(&self) {
        self.streams.dec();
    }

    /// So many bytes more, or fewer, are held by streams of HTTP/2.
    pub(crate) fn http2_buffered(&self, bytes: i64) {
        self.buffered.inc_by(bytes);
    }

    /// A stream waits for the room of its connection.
    pub(crate) fn http2_waited(&self) {
        self.waits.inc();
    }

    #[cfg(test)]
    pub(crate) fn http2_buffered_bytes(&self) -> i64 {
        self.buffered.get()
    }

    pub(crate) fn stream_given_up(&self) {
        self.streams_given_up.inc();
    }

    #[cfg(test)]
    pub(crate) fn streams_given_up(&self) -> u64 {
        self.streams_given_up.get()
    }

    fn of(&self, transport: Transport) -> &Counters {
        &self.transports[transport as usize]
    }
}

impl Transport {
    /// In the order of their declaration.
    const ALL: [Self; 6] =
        [Self::Poll, Self::LongPoll, Self::Events, Self::Lines, Self::WebSocket, Self::V1];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::LongPoll => "longpoll",
            Self::Events => "sse",
            Self::Lines => "ndjson",
            Self::WebSocket => "ws",
            Self::V1 => "v1",
        }
    }
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Stalled => "stalled",
            Self::Drain => "drain",
            Self::Expired => "expired",
            Self::Gap => "gap",
            Self::Refused => "refused",
        }
    }
}

fn why_name(why: Why) -> &'static str {
    match why {
        Why::Expired => "expired",
        Why::Reset => "reset",
        Why::Slow => "slow",
    }
}

/// The time as the hub tells it: milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
