//! The counters of a server, under the names that collectors see.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sockeye_hub::{Entry, Gap, GapReason, Hub, Page, Start};

use super::engine::Engine;
use super::format::Format;
use super::latency::Latency;
use super::levels::{Gauges, Levels};
use super::process::Process;
use super::waiting::Waiting;
use super::{End, now};
use crate::http::problem::Code;
use crate::transport::Transport;

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
    answers: Gauge,
    waits: Counter,
    latency: Latency,
    gauges: Gauges,
    waiting: Waiting,
    process: Process,
}

/// The counters of one transport, found without a lookup.
#[derive(Debug)]
struct Counters {
    open: Gauge,
    opened: Counter,
    messages: Counter,
    bytes: Counter,
}

impl Metrics {
    /// All counters at zero, except those of `lost_lines`, which the log counts, and of the engine.
    pub(crate) fn new(lost_lines: Arc<AtomicU64>, cluster: Option<Hub>) -> Self {
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
        registry.register("connections", "Open subscriptions, including long polls", open);
        registry.register("connections_opened", "Subscriptions opened", opened);
        registry.register("messages_sent", "Messages sent to clients", messages);
        let help = "Bytes of messages sent to clients, as encoded by the transport, before TLS";
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
            answers: Gauge::default(),
            waits: Counter::default(),
            latency: Latency::default(),
            gauges: Gauges::register(registry, lost_lines),
            waiting: Waiting::register(registry),
            process,
            registry: Registry::default(),
        };
        metrics.register(registry);
        if let Some(hub) = cluster {
            registry.register_collector(Box::new(Engine(hub)));
        }
        metrics.registry = all;
        metrics
    }

    /// Makes the others known under their names.
    fn register(&self, registry: &mut Registry) {
        let help = "Subscriptions closed, by reason";
        registry.register("connections_closed", help, self.closed.clone());
        let help = "Subscriptions that resumed after a position, by whether the history still reached back to it";
        registry.register("resumes", help, self.resumes.clone());
        let help = "Gaps reported to readers, by reason";
        registry.register("gaps", help, self.gaps.clone());
        let help = "Publications, by outcome";
        registry.register("publishes", help, self.publishes.clone());
        registry.register(
            "requests",
            "HTTP requests, by the status of the response",
            self.requests.clone(),
        );
        let help = "Open HTTP/2 streams: requests, subscriptions and WebSockets";
        registry.register("http2_streams", help, self.streams.clone());
        let help = "Bytes that HTTP/2 streams hold and their clients have not read";
        registry.register_with_unit("http2_buffered", help, Unit::Bytes, self.buffered.clone());
        let help = "Bytes of answers to polls that their clients have not taken whole";
        registry.register_with_unit("unread_answers", help, Unit::Bytes, self.answers.clone());
        let help = "Times a stream waited because the streams of its connection held too much";
        registry.register("http2_waits", help, self.waits.clone());
        let help = "HTTP/2 streams reset because the client did not read them";
        registry.register("http2_streams_given_up", help, self.streams_given_up.clone());
        let help =
            "Time from publishing a message to handing it to a connection that waited for it";
        registry.register_with_unit("delivery", help, Unit::Seconds, self.latency.clone());
    }

    /// All of it as text, with the levels of this moment.
    pub(crate) fn text(&self, levels: &Levels, format: Format) -> String {
        self.gauges.set(levels);
        self.waiting.set(levels);
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

    /// A client resumed after a position; what was missing, if anything.
    pub(crate) fn resumed(&self, transport: Transport, missing: Option<GapReason>) {
        let outcome = missing.map_or("recovered", why_name);
        self.resumes.get_or_create(&[("transport", transport.name()), ("outcome", outcome)]).inc();
    }

    pub(crate) fn gap(&self, transport: Transport, gap: &Gap) {
        self.gaps
            .get_or_create(&[("transport", transport.name()), ("why", why_name(gap.why))])
            .inc();
    }

    /// Messages that were handed to a connection, and the bytes that they took.
    pub(crate) fn sent(&self, transport: Transport, messages: usize, bytes: usize) {
        self.of(transport).messages.inc_by(messages as u64);
        self.of(transport).bytes.inc_by(bytes as u64);
    }

    /// Delivery times of messages for which the reader had been waiting since that time.
    pub(crate) fn delivered(&self, entries: &[Arc<Entry>], waiting_since: u64) {
        self.latency.observe(entries, waiting_since, (1, now()));
    }

    /// The same for that many readers, which had all been waiting before the first of the messages came.
    pub(crate) fn delivered_to(&self, readers: usize, entries: &[Arc<Entry>]) {
        if readers > 0 {
            self.latency.observe(entries, 0, (readers as u64, now()));
        }
    }

    /// A poll that began at `start` got that page, in that many bytes.
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
            Err(Code::Ended) => "ended",
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

    /// HTTP/2 streams hold that many bytes more, or fewer.
    pub(crate) fn http2_buffered(&self, bytes: i64) {
        self.buffered.inc_by(bytes);
    }

    /// Answers to polls hold that many bytes more, or fewer.
    pub(crate) fn answers_hold(&self, bytes: i64) {
        self.answers.inc_by(bytes);
    }

    /// A stream waits for the budget of its connection.
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

fn why_name(why: GapReason) -> &'static str {
    match why {
        GapReason::Expired => "expired",
        GapReason::Reset => "reset",
        GapReason::Slow => "slow",
    }
}
