//! What is not counted as it happens but looked at when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::router::App;

type Level = Gauge<u64, AtomicU64>;

/// The levels at the time of the last look.
#[derive(Debug)]
pub(super) struct State {
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
    ticket_bytes: Level,
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
    max_connections: Level,
}

impl State {
    pub(super) fn register(registry: &mut Registry, lost_lines_now: Arc<AtomicU64>) -> Self {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The version of the server", Info::new(version));
        let mut level = |name, help| {
            let level = Level::default();
            registry.register(name, help, level.clone());
            level
        };
        let state = Self {
            channels: level("channels", "Channels remembered"),
            entries: level("history_messages", "Messages kept"),
            readers: level("readers", "Places in channels from which somebody reads"),
            accounts: level("accounts", "Publishers that channels or messages are charged to"),
            max_channels: level("max_channels", "The most channels (--max-channels)"),
            max_bytes: Level::default(),
            made_room: Family::default(),
            lagging: level(
                "readers_lagging",
                "Those of them that have not been given everything yet",
            ),
            lag: level(
                "reader_lag_messages",
                "Messages that the one furthest behind has not been given",
            ),
            store_failing: level(
                "store_failing",
                "Whether the store refuses what is published (1) or takes it (0)",
            ),
            draining: level("draining", "Whether the server is stopping (1) or not (0)"),
            open_connections: level("open_connections", "Connections, whatever goes on on them"),
            pending: level("pending_connections", "Those of them without a complete request yet"),
            max_connections: level(
                "max_connections",
                "Connections there may be; 0 if there is no limit",
            ),
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
            ticket_bytes: Level::default(),
            deflate_bytes: Level::default(),
            max_deflate_bytes: Level::default(),
        };
        let help = "Connections without a complete request that ended to make room for others";
        registry.register("connections_evicted", help, state.evicted.clone());
        let help = "Connections for which there was no place";
        registry.register("connections_refused", help, state.refused.clone());
        registry.register("messages_published", "Messages taken", state.published.clone());
        let lost_lines = state.lost_lines.clone();
        registry.register(
            "log_lines_lost",
            "Lines of the log that could not be written",
            lost_lines,
        );
        let help = "Forms made for one reader because --max-wire-forms was reached";
        registry.register("wire_forms_not_kept", help, state.forms_not_kept.clone());
        let help = "Channels, messages and keys that made room for publishers that hold less";
        registry.register("evicted", help, state.made_room.clone());
        for (name, help, level) in [
            ("history", "What messages kept are charged for", &state.history_bytes),
            ("max_history", "The most that may be kept (--max-bytes)", &state.max_bytes),
            ("wire_forms", "What is kept of messages as they are sent", &state.form_bytes),
            ("wire_forms_max", "The most of it (--max-wire-forms)", &state.max_form_bytes),
            ("idempotency_keys", "What keys of publications are charged for", &state.key_bytes),
            ("presence", "What presence is charged for", &state.presence_bytes),
            ("tickets", "What tickets take in memory", &state.ticket_bytes),
            (
                "deflate",
                "What messages of clients that refer to earlier ones may take",
                &state.deflate_bytes,
            ),
            ("max_deflate", "The most of it (--max-deflate-memory)", &state.max_deflate_bytes),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, level.clone());
        }
        state
    }

    /// Sets all levels to what they are now. Of two that look at once each sets them right.
    pub(super) fn look(&self, app: &App) {
        let figures = app.hub.figures();
        self.published.inner().store(figures.published, Relaxed);
        self.lost_lines.inner().store(self.lost_lines_now.load(Relaxed), Relaxed);
        self.forms_not_kept.inner().store(figures.forms_not_kept, Relaxed);
        self.channels.set(figures.channels);
        self.entries.set(figures.entries);
        self.history_bytes.set(figures.bytes);
        self.form_bytes.set(figures.form_bytes);
        self.max_form_bytes.set(app.hub.max_form_bytes());
        self.key_bytes.set(figures.key_bytes);
        self.presence_bytes.set(figures.presence_bytes);
        self.ticket_bytes.set(app.authority.ticket_bytes() as u64);
        if let Some(deflate) = &app.deflate {
            self.deflate_bytes.set(deflate.takeover_budget.reserved() as u64);
            self.max_deflate_bytes.set(deflate.takeover_budget.limit() as u64);
        }
        self.readers.set(figures.readers);
        self.accounts.set(figures.accounts);
        self.max_channels.set(app.hub.options().max_channels);
        self.max_bytes.set(app.hub.options().max_bytes);
        for (what, count) in [
            ("channels", figures.evicted_channels),
            ("messages", figures.evicted_entries),
            ("keys", figures.evicted_keys),
        ] {
            let counter = self.made_room.get_or_create_owned(&[("what", what)]);
            counter.inner().store(count, Relaxed);
        }
        let lags = app.visits.lags(&app.hub);
        self.lagging.set(lags.iter().filter(|lag| **lag > 0).count() as u64);
        self.lag.set(lags.into_iter().max().unwrap_or(0));
        self.store_failing.set(app.hub.health().is_err().into());
        self.draining.set(app.drain.has_begun().into());
        let (crowd, pending) = (app.limits.crowd(), app.limits.pending());
        self.open_connections.set(crowd.len() as u64);
        self.max_connections.set(crowd.max().unwrap_or(0) as u64);
        self.pending.set(pending.len() as u64);
        self.evicted.inner().store(pending.evicted(), Relaxed);
        self.refused.inner().store(crowd.refusals(), Relaxed);
    }
}
