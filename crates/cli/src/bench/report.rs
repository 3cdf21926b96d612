//! What a run of load has shown, for people, as JSON, and as figures for the page.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;

use super::run::Outcome;

/// One run.
#[derive(Debug)]
pub(super) struct Report {
    /// What was done, in a line.
    title: String,
    /// Name, figure and unit of each result.
    figures: Vec<Figure>,
    latencies: Vec<Latencies>,
}

/// Latencies in nanoseconds, and how they are called.
#[derive(Debug)]
pub(super) struct Latencies {
    pub(super) name: &'static str,
    pub(super) histogram: Histogram<u64>,
}

#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: Cow<'static, str>,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

/// What is counted, and how its figures are called.
#[derive(Debug)]
pub(super) struct Work {
    name: &'static str,
    per_second: &'static str,
    cpu: &'static str,
}

pub(super) const MESSAGES: Work =
    Work { name: "messages", per_second: "messages/s", cpu: "server CPU per message" };
pub(super) const DELIVERIES: Work =
    Work { name: "deliveries", per_second: "deliveries/s", cpu: "server CPU per delivery" };
pub(super) const HANDSHAKES: Work =
    Work { name: "handshakes", per_second: "handshakes/s", cpu: "server CPU per handshake" };

/// The percentiles that are told.
pub(super) const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

impl Report {
    pub(super) fn new(title: String) -> Self {
        Self { title, figures: Vec::new(), latencies: Vec::new() }
    }

    /// The report on what was completed while it was measured.
    pub(super) fn of(work: &Work, title: String, outcome: Outcome) -> Self {
        let Outcome { tally, took, usage } = outcome;
        let messages = tally.latencies.len() as f64;
        let mut report = Self::new(title);
        report.figure(work.name, messages, "");
        report.figure("throughput", messages / took.as_secs_f64(), work.per_second);
        if tally.bytes > 0 {
            report.figure("payload", tally.bytes as f64 / took.as_secs_f64() / 1e6, "MB/s");
        }
        if let Some(usage) = usage {
            report.figure("server CPU", usage.cpu.as_secs_f64() / took.as_secs_f64(), "cores");
            if messages > 0.0 {
                let each = usage.cpu.as_secs_f64() * 1e6 / messages;
                report.figure(work.cpu, each, "µs");
            }
            report.figure("server memory", usage.resident as f64 / 1024.0 / 1024.0, "MiB");
        }
        report.latencies_of(tally.latencies);
        report.add_latencies("latency to the last", tally.to_last);
        report
    }

    pub(super) fn figure(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
    ) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    pub(super) fn latencies_of(&mut self, latencies: Histogram<u64>) {
        self.add_latencies("latency", latencies);
    }

    /// Adds latencies, if there are any.
    fn add_latencies(&mut self, name: &'static str, histogram: Histogram<u64>) {
        if !histogram.is_empty() {
            self.latencies.push(Latencies { name, histogram });
        }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) fn figures(&self) -> &[Figure] {
        &self.figures
    }

    pub(super) fn latencies(&self) -> &[Latencies] {
        &self.latencies
    }

    /// One object: `title`, `figures` by name with their unit in the name, `latency_us` and the like.
    pub(super) fn json(&self) -> String {
        let figures: serde_json::Map<_, _> = self
            .figures
            .iter()
            .map(|Figure { name, value, unit }| (key(name, unit), json!(value)))
            .collect();
        let mut json = json!({ "title": self.title, "figures": figures });
        for Latencies { name, histogram } in &self.latencies {
            let of = |&(name, percentile): &(&str, f64)| {
                (name.to_owned(), json!(micros(histogram.value_at_percentile(percentile))))
            };
            let percentiles = PERCENTILES.iter().map(of).collect::<serde_json::Map<_, _>>();
            json[key(name, "µs")] = percentiles.into();
        }
        json.to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for figure in &self.figures {
            let Figure { name, unit, .. } = figure;
            writeln!(f, "  {name:26} {:>12} {unit}", figure.rounded())?;
        }
        for Latencies { name, histogram } in &self.latencies {
            write!(f, "  {name}")?;
            for (name, percentile) in PERCENTILES {
                let latency = Duration::from_nanos(histogram.value_at_percentile(percentile));
                write!(f, "  {name} {latency:.1?}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Figure {
    /// The value for people: counts and large values without a fraction.
    pub(super) fn rounded(&self) -> String {
        let digits = if self.value >= 1000.0 || self.value.fract() == 0.0 { 0 } else { 2 };
        format!("{:.digits$}", self.value)
    }
}

/// `server CPU per message` in `µs` is `server_cpu_per_message_us`.
fn key(name: &str, unit: &str) -> String {
    let unit = unit.replace('µ', "u").replace("/s", "_per_s").to_ascii_lowercase();
    let name = name.replace([' ', ','], "_").to_ascii_lowercase();
    if unit.is_empty() { name } else { format!("{name}_{unit}") }
}

/// Nanoseconds as microseconds.
pub(super) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}
