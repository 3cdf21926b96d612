//! Gauges of what waits, or is remembered for a moment, beside the histories: each within a bound that
//! `docs/operate/memory.md` names.

use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Registry, Unit};
use sockeye_hub::MAX_QUEUED_BYTES;

use super::levels::{Level, Levels};

/// The gauges, as they were set last.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    publications: Level,
    max_publications: Level,
    events: Level,
    vacating: Level,
    taps: Level,
    tap_lines: Level,
    indebted: Level,
    questions: Level,
    asked: Counter,
    unanswered: Counter,
}

impl Waiting {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        for (name, help, level) in [
            (
                "publications_queued",
                "Bytes charged for publications that wait for the store or the cluster",
                &gauges.publications,
            ),
            (
                "max_publications_queued",
                "Limit of bytes charged for publications that wait",
                &gauges.max_publications,
            ),
            ("events_queued", "Bytes charged for events that are not offered yet", &gauges.events),
            ("taps_queued", "Bytes of lines that wait for taps", &gauges.tap_lines),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, level.clone());
        }
        for (name, help, level) in [
            (
                "events_vacating_channels",
                "Channels without readers that are not vacated yet",
                &gauges.vacating,
            ),
            ("taps", "Open taps", &gauges.taps),
            (
                "rated_clients",
                "Addresses and publishers that are remembered for their rate",
                &gauges.indebted,
            ),
            (
                "authorizer_questions_open",
                "Questions to the authoriser without an answer yet",
                &gauges.questions,
            ),
        ] {
            registry.register(name, help, level.clone());
        }
        for (name, help, counter) in [
            ("authorizer_questions", "Questions to the authoriser", &gauges.asked),
            (
                "authorizer_failures",
                "Questions that the authoriser did not answer: errors, panics, timeouts",
                &gauges.unanswered,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        gauges
    }

    pub(super) fn set(&self, levels: &Levels) {
        self.publications.set(levels.hub.queued_bytes);
        self.max_publications.set(MAX_QUEUED_BYTES);
        self.events.set(levels.events.queued_bytes);
        self.vacating.set(levels.events.vacating);
        let (taps, lines) = levels.taps;
        self.taps.set(taps);
        self.tap_lines.set(lines);
        self.indebted.set(levels.indebted);
        self.questions.set(levels.authorizer.open);
        self.asked.inner().store(levels.authorizer.asked, Relaxed);
        self.unanswered.inner().store(levels.authorizer.failed, Relaxed);
    }
}
