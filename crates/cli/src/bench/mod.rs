//! `sockeye bench`: load for a WebSocket server, and what it does to it.

mod connections;
mod echo;
mod fanout;
mod handshakes;
mod html;
mod live;
mod payload;
mod process;
mod report;
mod run;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::bench::process::Watched;
use crate::bench::report::Report;
use crate::bench::run::Window;
use crate::flags::units::time;
use crate::system::{clock, processors};

/// Put load on a WebSocket server and measure it: throughput, latency, CPU and memory
///
/// Latencies count from the time at which a message was meant to be sent, so a server that stalls
/// is not let off the messages it kept from being sent.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye bench echo ws://127.0.0.1:9001 --connections 200 --size 125 --pid $(pgrep -xn sockeye)
  sockeye bench echo ws://127.0.0.1:9001 --rate 20000 --duration 30s --html echo.html
  sockeye bench fanout ws://127.0.0.1:8080/c/bench --subscribers 1000 --rate 100
  sockeye bench fanout http://127.0.0.1:8080/c/bench --transport sse
  sockeye bench connections ws://127.0.0.1:9001 --connections 10000 --pid 4711
  sockeye bench handshakes ws://127.0.0.1:9001 --json")]
pub(crate) struct Bench {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    Echo(echo::Echo),
    Fanout(fanout::Fanout),
    Connections(connections::Connections),
    Handshakes(handshakes::Handshakes),
}

/// What every kind of load is told.
#[derive(Debug, Clone, Args)]
struct Common {
    /// For how long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    duration: Duration,

    /// For how long to run before measuring begins
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    warm_up: Duration,

    /// The server's process, for its CPU time and memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// How many threads make the load [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// Print the figures as JSON
    #[arg(long)]
    json: bool,

    /// Write the figures, with a plot of the latencies, as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    target: target::Target,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let (common, report) = match self.load {
            Load::Echo(load) => (load.common.clone(), load.run()?),
            Load::Fanout(load) => (load.common.clone(), load.run()?),
            Load::Connections(load) => (load.common.clone(), load.run()?),
            Load::Handshakes(load) => (load.common.clone(), load.run()?),
        };
        common.print(&report)
    }
}

impl Common {
    fn threads(&self) -> usize {
        self.threads.map_or_else(processors::count, usize::from)
    }

    fn window(&self) -> Window {
        Window::new(self.warm_up, self.duration)
    }

    fn watched(&self) -> anyhow::Result<Option<Watched>> {
        self.pid.map(Watched::new).transpose()
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(path) = &self.html {
            std::fs::write(path, html::page(report, &self.target.shown(), &clock::now()))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let text = if self.json { report.json() } else { report.to_string() };
        Ok(crate::terminal::output::print_line(text.trim_end())?)
    }
}
