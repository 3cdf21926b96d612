//! One measurement: one server, one load, some seconds.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cases::{Case, Kind};
use super::on_processor;
use super::servers::Server;
use crate::shell;

/// What one measurement gave: the report of `sockeye bench --json`.
#[derive(Debug)]
pub(super) struct Sample(Value);

/// A figure of a sample, as a table shows it.
pub(super) struct Column {
    /// With its unit.
    pub(super) heading: &'static str,
    source: Source,
    /// After the point.
    pub(super) digits: usize,
}

/// Where `sockeye bench --json` says it.
enum Source {
    /// The figure whose name begins so.
    Figure(&'static str),
    /// A percentile of the latency, in microseconds.
    Latency(&'static str),
}

const SPEED: &[Column] = &[
    Column { heading: "CPU, µs", source: Source::Figure("server_cpu_per_"), digits: 2 },
    Column { heading: "per second", source: Source::Figure("throughput_"), digits: 0 },
    Column { heading: "p99, µs", source: Source::Latency("p99"), digits: 0 },
    Column { heading: "B on the wire", source: Source::Figure("wire_bytes"), digits: 0 },
    // Of a fan-out.
    Column { heading: "B on the wire", source: Source::Figure("wire_to_"), digits: 0 },
];

const RATE: &[Column] = &[
    Column { heading: "CPU, µs", source: Source::Figure("server_cpu_per_"), digits: 2 },
    Column { heading: "per second", source: Source::Figure("throughput_"), digits: 0 },
    Column { heading: "p50, µs", source: Source::Latency("p50"), digits: 0 },
    Column { heading: "p99, µs", source: Source::Latency("p99"), digits: 0 },
    Column { heading: "p99.9, µs", source: Source::Latency("p99.9"), digits: 0 },
];

const MEMORY: &[Column] = &[
    Column {
        heading: "idle, B",
        source: Source::Figure("server_memory_per_connection_bytes"),
        digits: 0,
    },
    Column {
        heading: "after one message, B",
        source: Source::Figure("server_memory_per_connection_after_1_"),
        digits: 0,
    },
    Column {
        heading: "after 16 at once, B",
        source: Source::Figure("server_memory_per_connection_after_16_"),
        digits: 0,
    },
    Column {
        heading: "CPU for a handshake, µs",
        source: Source::Figure("server_cpu_per_handshake_"),
        digits: 1,
    },
    Column { heading: "B on the wire", source: Source::Figure("wire_bytes"), digits: 0 },
];

impl Kind {
    /// What is told of a sample; the first is what servers are compared by.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Speed => SPEED,
            Self::Rate => RATE,
            Self::Memory => MEMORY,
        }
    }
}

impl Column {
    /// The figure, if this load gives it.
    pub(super) fn of(&self, sample: &Sample) -> Option<f64> {
        match self.source {
            Source::Latency(percentile) => sample.latency_us(percentile),
            Source::Figure(prefix) => sample.figure(prefix),
        }
    }
}

impl Sample {
    /// The figure whose name begins so.
    pub(super) fn figure(&self, prefix: &str) -> Option<f64> {
        let mut figures = self.0["figures"].as_object()?.iter();
        figures.find(|(name, _)| name.starts_with(prefix))?.1.as_f64()
    }

    /// A percentile of the latency, in microseconds.
    fn latency_us(&self, percentile: &str) -> Option<f64> {
        self.0["latency_us"][percentile].as_f64()
    }

    /// The same in milliseconds: in a fan-out, to each subscriber.
    pub(super) fn to_each_ms(&self, percentile: &str) -> Option<f64> {
        Some(self.latency_us(percentile)? / 1000.0)
    }

    /// The same to the last of all subscribers.
    pub(super) fn to_last_ms(&self, percentile: &str) -> Option<f64> {
        Some(self.0["latency_to_the_last_us"][percentile].as_f64()? / 1000.0)
    }
}

/// Starts the server, loads it, and stops it.
pub(super) fn measure(case: &Case, server: &Server, seconds: u64) -> Result<Sample> {
    let running = server.start()?;
    let mut load: Vec<&str> = case.load.to_vec();
    load.extend([&*running.url, "--warm-up=500ms"]);
    let sample = bench(&load, running.id(), seconds)?;
    let first = &case.kind.columns()[0];
    first.of(&sample).with_context(|| format!("the load says nothing of {}", first.heading))?;
    Ok(sample)
}

/// Loads a server from the second processor with `sockeye bench`; gives its report.
pub(super) fn bench(load: &[&str], server: u32, seconds: u64) -> Result<Sample> {
    bench_on("1", load, server, seconds)
}

/// The same from these processors.
pub(super) fn bench_on(
    processors: &str,
    load: &[&str],
    server: u32,
    seconds: u64,
) -> Result<Sample> {
    /// What `timeout` exits with (timeout(1)).
    const TIMED_OUT: i32 = 124;
    // A server that answers no more would keep the load waiting.
    let longest = 60 + 5 * seconds;
    let mut bench = on_processor(processors, "timeout");
    bench.arg(longest.to_string()).arg(shell::target()?.join("release/sockeye")).arg("bench");
    bench.args(load).args(["--threads=1", "--json"]);
    bench.args([format!("--duration={seconds}s"), format!("--pid={server}")]);
    let output = bench.output().context("the load did not start")?;
    if output.status.code() == Some(TIMED_OUT) {
        bail!("the load did not end within {longest} s");
    }
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{}", why.trim_end().lines().last().unwrap_or("the load failed"));
    }
    let report = serde_json::from_slice(&output.stdout);
    report.map(Sample).context("the load's report cannot be read")
}

/// The middle of the figures, if there are any.
pub(super) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(figures[middle]),
        _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
    }
}
