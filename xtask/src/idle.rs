//! `cargo xtask idle`: what idle connections cost the servers, for `docs/internals/performance.md`.

use anyhow::Result;
use clap::Args;

use crate::shell;

/// What `cargo xtask idle` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure; all of it when nothing is named
    #[arg(value_name = "CASE", value_parser = ["echo", "deflate", "ws", "v1", "sse", "longpoll", "pings", "who"])]
    cases: Vec<String>,
    /// How many connections to open; each takes a file descriptor at both ends
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// Builds the program as it is released, opens the connections to it and prints what they cost.
pub(crate) fn run(options: &Options) -> Result<()> {
    let packages = ["--package", "sockeye-cli", "--package", "sockeye-tests"];
    shell::run(shell::cargo(["build", "--release"]).args(packages))?;
    let count = options.connections.to_string();
    let measure = ["run", "--quiet", "--release", "--package", "sockeye-tests", "--bin"];
    shell::run(shell::cargo(measure).args(["measure-idle", &count]).args(&options.cases))
}
