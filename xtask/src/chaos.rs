//! `cargo xtask chaos`: messages lost, repeated and out of order, while everything goes wrong.

use anyhow::Result;
use clap::Args;

use crate::prepare::{self, Need};
use crate::shell;

/// What `cargo xtask chaos` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// How many messages are published in a round
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// How often the server is killed and restarted in a round
    #[arg(long, default_value_t = 10, conflicts_with = "cluster")]
    kills: u64,
    /// On a cluster: servers of NATS and nodes are killed, stopped, ended and cut off. Cutting takes root
    #[arg(long)]
    cluster: bool,
    /// For how many seconds new rounds begin; 0 is one round
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// The seed of the first round; random if not given
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds the program as it is released and lets loose publishers, hopping readers and a killer.
pub(crate) fn run(options: &Options) -> Result<()> {
    let packages = ["--package", "sockeye-cli", "--package", "sockeye-tests"];
    shell::run(shell::cargo(["build", "--release"]).args(packages))?;
    if options.cluster {
        prepare::prepare(&[Need::Python])?;
    }
    let numbers =
        [Some(options.messages), Some(options.kills), Some(options.seconds), options.seed];
    let arguments = numbers.iter().flatten().map(u64::to_string);
    let chaos = ["run", "--quiet", "--release", "--package", "sockeye-tests", "--bin", "chaos"];
    let ground = if options.cluster { "cluster" } else { "disk" };
    shell::run(shell::cargo(chaos).arg(ground).args(arguments))
}
