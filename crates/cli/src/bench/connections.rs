//! `sockeye bench connections`: how many stay open, how fast they open, and what each costs.

use std::time::Instant;

use clap::Args;

use super::Common;
use super::echo::positive;
use super::report::Report;
use super::run::{self, Start, Tally};

/// Open connections and hold them
#[derive(Debug, Args)]
pub(super) struct Connections {
    /// How many connections to open
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    connections: usize,

    #[command(flatten)]
    pub(super) common: Common,
}

impl Connections {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        raise_file_limit();
        let threads = self.common.threads().min(self.connections);
        let watched = self.common.watched()?;
        let before = watched.as_ref().map(|watched| watched.read()).transpose()?;
        let begun = Instant::now();
        let opened = std::sync::Mutex::new(begun);
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.hold(thread, threads, start, &opened)
            })?;
        let took = opened.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) - begun;
        let count = self.connections as f64;
        let mut report = Report::new(format!("connections: {} held", self.connections));
        report.figure("opened", count / took.as_secs_f64(), "connections/s");
        if let (Some(before), Some(usage)) = (before, outcome.usage) {
            let grown = usage.resident.saturating_sub(before.resident) as f64;
            report.figure("server memory per connection", grown / count, "bytes");
            let cores = usage.cpu.as_secs_f64() / outcome.took.as_secs_f64();
            report.figure("server CPU while they idle", 100.0 * cores, "% of a core");
        }
        report.latencies_of(outcome.tally.latencies);
        Ok(report)
    }

    /// Opens this thread's share, holds it through the window, and gives how long each took to open.
    async fn hold(
        &self,
        thread: usize,
        threads: usize,
        start: Start,
        last_opened: &std::sync::Mutex<Instant>,
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut held = Vec::new();
        for number in (thread..self.connections).step_by(threads) {
            let begun = Instant::now();
            held.push(self.common.target.open(number).await?);
            tally.note(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        if let Ok(mut last) = last_opened.lock() {
            *last = (*last).max(Instant::now());
        }
        let times = start.all_open().await?;
        tokio::time::sleep_until(times.until.into()).await;
        let lost = held.iter().filter(|socket| socket.closed().is_some()).count();
        anyhow::ensure!(lost == 0, "{lost} connections did not stay open");
        Ok(tally)
    }
}

/// Every connection takes a file descriptor: as many as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If not, connections will fail, and say why.
    let _ = setrlimit(Resource::Nofile, limit);
}
