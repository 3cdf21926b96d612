//! One measurement: one server, one load, some seconds.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::cases::Case;
use super::on_processor;
use super::servers::Server;
use crate::shell;

/// What one measurement gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// CPU time of the server's process for each message, in microseconds.
    pub(super) cpu_us: f64,
    /// Messages a second.
    pub(super) per_second: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub(super) p99_us: f64,
    /// Bytes that came over the wire for a message, where they are counted.
    pub(super) wire: Option<f64>,
}

/// Starts the server, loads it, and stops it.
pub(super) fn measure(case: &Case, server: &Server, seconds: u64) -> Result<Sample> {
    let running = server.start()?;
    let program = shell::target()?.join("release/sockeye");
    let mut bench = on_processor("1", &program.to_string_lossy());
    bench.arg("bench").args(case.load).arg(&running.url);
    bench.args(["--threads", "1", "--json", "--warm-up", "500ms"]);
    bench.args(["--duration", &format!("{seconds}s"), "--pid", &running.id().to_string()]);
    let report = shell::output(&mut bench).with_context(|| format!("loading {}", server.name))?;
    sample(&serde_json::from_str(&report)?).with_context(|| format!("no figures in {report}"))
}

fn sample(report: &Value) -> Option<Sample> {
    let figures = report["figures"].as_object()?;
    let figure = |prefix: &str| {
        let found = figures.iter().find(|(name, _)| name.starts_with(prefix));
        found.and_then(|(_, value)| value.as_f64())
    };
    Some(Sample {
        cpu_us: figure("server_cpu_per_")?,
        per_second: figure("throughput_")?,
        p99_us: report["latency_us"]["p99"].as_f64()?,
        wire: figure("wire_"),
    })
}
