//! `sockeye cluster`: how a cluster is, and changing what it was made with.

pub(crate) mod access;
mod apply;
mod monitor;
mod status;
mod table;

use clap::{Args, Subcommand};

/// Look at a cluster, or change it
///
/// The nodes of a cluster are started by `sockeye serve --cluster`; this asks the servers of NATS, and the nodes
/// through them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye cluster status --cluster nats://10.0.0.1:4222,nats://10.0.0.2:4222
  sockeye cluster apply --cluster nats://10.0.0.1:4222 --history-count 5000 --dry-run")]
pub(crate) struct Cluster {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(Box<status::Status>),
    Apply(Box<apply::Apply>),
}

impl Cluster {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Status(status) => status.run(),
            Command::Apply(apply) => apply.run(),
        }
    }
}
