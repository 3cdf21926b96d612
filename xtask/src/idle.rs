//! `cargo xtask idle`: what an idle connection costs the server, for `docs/performance.md`.

use anyhow::Result;
use clap::Args;

use crate::shell;

/// What `cargo xtask idle` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// How many connections to open; each takes a file descriptor at both ends
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// Builds the program as it is released, opens the connections to it and prints its memory.
pub(crate) fn run(options: &Options) -> Result<()> {
    let packages = ["--package", "sockeye-cli", "--package", "sockeye-tests"];
    shell::run(shell::cargo(["build", "--release"]).args(packages))?;
    let count = options.connections.to_string();
    let measure = ["run", "--quiet", "--release", "--package", "sockeye-tests", "--bin"];
    shell::run(shell::cargo(measure).args(["measure-idle", &count]))
}
