//! `cargo xtask idle`: what idle connections cost the servers, for `docs/internals/performance.md`.

use anyhow::{Result, ensure};
use clap::Args;

use crate::shell;

/// What `cargo xtask idle` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure; all of it when nothing is named, but for `scale`: 60,000 connections between four
    /// servers and four other processes, for `docs/internals/scale.md`
    #[arg(value_name = "CASE", value_parser = ["echo", "deflate", "ws", "v1", "sse", "longpoll", "pings", "who", "scale"])]
    cases: Vec<String>,
    /// How many connections to open; each takes a file descriptor at both ends [default: 10,000; for `scale`
    /// 60,000]
    #[arg(long)]
    connections: Option<usize>,
}

/// Builds the program as it is released, opens the connections to it and prints what they cost.
pub(crate) fn run(options: &Options) -> Result<()> {
    let packages = ["--package", "sockeye-cli", "--package", "sockeye-tests"];
    shell::run(shell::cargo(["build", "--release"]).args(packages))?;
    let is_scale = options.cases.iter().any(|case| case == "scale");
    ensure!(!is_scale || options.cases.len() == 1, "`scale` is measured alone");
    let connections = options.connections.unwrap_or(if is_scale { 60_000 } else { 10_000 });
    let count = connections.to_string();
    let measure = ["run", "--quiet", "--release", "--package", "sockeye-tests", "--bin"];
    shell::run(shell::cargo(measure).args(["measure-idle", &count]).args(&options.cases))
}
