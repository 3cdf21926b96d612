//! Gauges that are set when a collector asks, and not counted as things happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sockeye_hub::Figures;

use crate::auth::AuthorizerFigures;
use crate::events::EventFigures;

pub(super) type Level = Gauge<u64, AtomicU64>;

/// The levels of one moment, taken together.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(crate) hub: Figures,
    pub(crate) max_form_bytes: u64,
    pub(crate) max_presence_bytes: u64,
    pub(crate) max_channels: u64,
    pub(crate) max_bytes: u64,
    pub(crate) store_is_failing: bool,
    pub(crate) ticket_bytes: u64,
    /// How many addresses and publishers are ahead of a rate.
    pub(crate) indebted: u64,
    /// How many taps are open, and the bytes of what waits for them.
    pub(crate) taps: (u64, u64),
    /// How many tokens and subjects are revoked.
    pub(crate) revoked: u64,
    /// The keys of an issuer, and how often they could not be fetched.
    pub(crate) issuer_keys: Option<(u64, u64)>,
    /// How much an authoriser is asked.
    pub(crate) authorizer: AuthorizerFigures,
    /// Bytes reserved for the compression contexts of clients, and the most there may be.
    pub(crate) deflate: Option<(u64, u64)>,
    /// How many messages each reader of a connection is behind.
    pub(crate) lags: Vec<u64>,
    /// What was told of who comes and goes.
    pub(crate) events: EventFigures,
    pub(crate) is_draining: bool,
    pub(crate) connections: u64,
    /// 0 if there is no limit.
    pub(crate) max_connections: u64,
    /// Connections without a complete request yet.
    pub(crate) pending: u64,
    /// Connections that are idle after their responses.
    pub(crate) idle: u64,
    /// Connections that were evicted for others, and those that were refused, since the start.
    pub(crate) evicted: u64,
    pub(crate) refused: u64,
}

/// The gauges, as they were set last.
#[derive(Debug)]
pub(super) struct Gauges {
    published: Counter,
    lost_lines: Counter,
    /// Where the lost lines of the log are counted.
    lost_lines_now: Arc<AtomicU64>,
    channels: Level,
    entries: Level,
    history_bytes: Level,
    form_bytes: Level,
    max_form_bytes: Level,
    forms_not_kept: Counter,
    key_bytes: Level,
    presence_bytes: Level,
    max_presence_bytes: Level,
    ticket_bytes: Level,
    revoked: Level,
    issuer_keys: Level,
    issuer_failures: Counter,
    deflate_bytes: Level,
    max_deflate_bytes: Level,
    readers: Level,
    accounts: Level,
    max_channels: Level,
    max_bytes: Level,
    made_room: Family<[(&'static str, &'static str); 1], Counter>,
    lagging: Level,
    lag: Level,
    draining: Level,
    store_failing: Level,
    evicted: Counter,
    refused: Counter,
    open_connections: Level,
    pending: Level,
    idle: Level,
    max_connections: Level,
    events_queued: Level,
    events_sent: Counter,
    events_retried: Counter,
    events_dropped: Counter,
}

impl Gauges {
    pub(super) fn register(registry: &mut Registry, lost_lines_now: Arc<AtomicU64>) -> Self {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The version of the server", Info::new(version));
        let mut level = |name, help| {
            let level = Level::default();
            registry.register(name, help, level.clone());
            level
        };
        let gauges = Self {
            channels: level("channels", "Channels that hold or have held messages"),
            entries: level("history_messages", "Messages kept"),
            readers: level("readers", "Open readers of channels"),
            accounts: level("accounts", "Accounts that channels or messages are charged to"),
            max_channels: level("max_channels", "Limit of channels (max_channels)"),
            max_bytes: Level::default(),
            made_room: Family::default(),
            lagging: level("readers_lagging", "Readers that are behind their channel"),
            lag: level("reader_lag_messages", "Messages that the slowest reader is behind"),
            store_failing: level(
                "store_failing",
                "Whether the store refuses publications (1) or accepts them (0)",
            ),
            draining: level("draining", "Whether the server is stopping (1) or not (0)"),
            open_connections: level("open_connections", "Open connections"),
            pending: level(
                "pending_connections",
                "Open connections without a complete request yet",
            ),
            idle: level(
                "idle_connections",
                "Open connections that are idle after a response, and can be evicted",
            ),
            revoked: level("revoked", "Tokens and subjects that are revoked"),
            issuer_keys: level("issuer_keys", "Public keys of the issuer of tokens (jwks)"),
            issuer_failures: Counter::default(),
            max_connections: level("max_connections", "Limit of connections; 0 if there is none"),
            events_queued: level("events_queued", "Events that wait to be taken"),
            events_sent: Counter::default(),
            events_retried: Counter::default(),
            events_dropped: Counter::default(),
            evicted: Counter::default(),
            refused: Counter::default(),
            published: Counter::default(),
            lost_lines: Counter::default(),
            lost_lines_now,
            history_bytes: Level::default(),
            form_bytes: Level::default(),
            max_form_bytes: Level::default(),
            forms_not_kept: Counter::default(),
            key_bytes: Level::default(),
            presence_bytes: Level::default(),
            max_presence_bytes: Level::default(),
            ticket_bytes: Level::default(),
            deflate_bytes: Level::default(),
            max_deflate_bytes: Level::default(),
        };
        gauges.register_counters(registry);
        gauges.register_bytes(registry);
        gauges
    }

    fn register_counters(&self, registry: &mut Registry) {
        let help = "Events of who comes and goes that were taken";
        registry.register("events_sent", help, self.events_sent.clone());
        let help = "Times a batch of events was not taken, and is offered again";
        registry.register("events_retried", help, self.events_retried.clone());
        let help = "Events dropped: there was no room for them, or they were refused";
        registry.register("events_dropped", help, self.events_dropped.clone());
        let help = "Connections evicted for others: without a request, idle, or lingering";
        registry.register("connections_evicted", help, self.evicted.clone());
        let help = "Connections refused at the limit";
        registry.register("connections_refused", help, self.refused.clone());
        let help = "Times that the keys of the issuer could not be fetched (jwks)";
        registry.register("issuer_keys_failures", help, self.issuer_failures.clone());
        registry.register("messages_published", "Messages published", self.published.clone());
        let lost_lines = self.lost_lines.clone();
        registry.register(
            "log_lines_lost",
            "Lines of the log that could not be written",
            lost_lines,
        );
        let help = "Encoded messages not cached because max_wire_forms was reached";
        registry.register("wire_forms_not_kept", help, self.forms_not_kept.clone());
        let help = "Channels, messages and keys evicted for publishers that hold less";
        registry.register("evicted", help, self.made_room.clone());
    }

    fn register_bytes(&self, registry: &mut Registry) {
        for (name, help, level) in [
            ("history", "Bytes charged for kept messages", &self.history_bytes),
            (
                "max_history",
                "Limit of bytes charged for kept messages (max_bytes)",
                &self.max_bytes,
            ),
            ("wire_forms", "Bytes of cached encoded messages", &self.form_bytes),
            (
                "wire_forms_max",
                "Limit of bytes of cached encoded messages (max_wire_forms)",
                &self.max_form_bytes,
            ),
            ("idempotency_keys", "Bytes charged for idempotency keys", &self.key_bytes),
            ("presence", "Bytes charged for presence", &self.presence_bytes),
            ("max_presence", "Limit of bytes charged for presence", &self.max_presence_bytes),
            ("tickets", "Bytes of memory for tickets", &self.ticket_bytes),
            (
                "deflate",
                "Bytes reserved for the compression contexts of clients",
                &self.deflate_bytes,
            ),
            ("max_deflate", "Limit of bytes for compression contexts", &self.max_deflate_bytes),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, level.clone());
        }
    }

    /// Sets all gauges. When two collectors ask at once, both set them right.
    pub(super) fn set(&self, levels: &Levels) {
        let figures = &levels.hub;
        self.published.inner().store(figures.published, Relaxed);
        self.lost_lines.inner().store(self.lost_lines_now.load(Relaxed), Relaxed);
        self.forms_not_kept.inner().store(figures.forms_not_kept, Relaxed);
        self.channels.set(figures.channels);
        self.entries.set(figures.entries);
        self.history_bytes.set(figures.bytes);
        self.form_bytes.set(figures.form_bytes);
        self.max_form_bytes.set(levels.max_form_bytes);
        self.key_bytes.set(figures.key_bytes);
        self.presence_bytes.set(figures.presence_bytes);
        self.max_presence_bytes.set(levels.max_presence_bytes);
        self.ticket_bytes.set(levels.ticket_bytes);
        self.revoked.set(levels.revoked);
        let (keys, failures) = levels.issuer_keys.unwrap_or_default();
        self.issuer_keys.set(keys);
        self.issuer_failures.inner().store(failures, Relaxed);
        if let Some((reserved, limit)) = levels.deflate {
            self.deflate_bytes.set(reserved);
            self.max_deflate_bytes.set(limit);
        }
        self.readers.set(figures.readers);
        self.accounts.set(figures.accounts);
        self.max_channels.set(levels.max_channels);
        self.max_bytes.set(levels.max_bytes);
        for (what, count) in [
            ("channels", figures.evicted_channels),
            ("messages", figures.evicted_entries),
            ("keys", figures.evicted_keys),
        ] {
            let counter = self.made_room.get_or_create_owned(&[("what", what)]);
            counter.inner().store(count, Relaxed);
        }
        self.lagging.set(levels.lags.iter().filter(|lag| **lag > 0).count() as u64);
        self.lag.set(levels.lags.iter().copied().max().unwrap_or(0));
        self.store_failing.set(levels.store_is_failing.into());
        self.draining.set(levels.is_draining.into());
        self.open_connections.set(levels.connections);
        self.max_connections.set(levels.max_connections);
        self.pending.set(levels.pending);
        self.idle.set(levels.idle);
        self.evicted.inner().store(levels.evicted, Relaxed);
        self.refused.inner().store(levels.refused, Relaxed);
        self.events_queued.set(levels.events.queued);
        self.events_sent.inner().store(levels.events.sent, Relaxed);
        self.events_retried.inner().store(levels.events.retried, Relaxed);
        self.events_dropped.inner().store(levels.events.dropped, Relaxed);
    }
}
