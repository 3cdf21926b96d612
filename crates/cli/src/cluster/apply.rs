//! `sockeye cluster apply`: changes what a cluster was made with.

use clap::Args;
use sockeye_cluster::{ApplyOptions, Plan, Servers};
use tokio::runtime::Builder;

use super::access::{Access, replicas};
use crate::{
    flags::units::{Size, Time, number, some_size, some_time, trimmed},
    terminal::output::print_line,
};

/// Change the replicas, the limits and the history of a cluster
///
/// Options that are not given stay as they are. It prints what it changes, and refuses what would drop
/// messages. Broken off, it is completed by the same command.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye cluster apply --cluster nats://10.0.0.1:4222 --cluster-replicas 3
  sockeye cluster apply --cluster nats://10.0.0.1:4222 --history-count 5000 --dry-run
  sockeye cluster apply --cluster nats://10.0.0.1:4222 --cluster-bytes 200G")]
pub(crate) struct Apply {
    /// Servers of NATS
    #[arg(long, value_name = "URLS", env = "SOCKEYE_CLUSTER", value_parser = trimmed::<Servers>)]
    cluster: Servers,

    #[command(flatten)]
    access: Access,

    /// On how many servers of NATS each stream is to be
    #[arg(long, value_name = "N", env = "SOCKEYE_CLUSTER_REPLICAS", value_parser = replicas)]
    cluster_replicas: Option<u8>,

    /// How much all channels may take on each server of NATS
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_CLUSTER_BYTES", value_parser = some_size)]
    cluster_bytes: Option<Size>,

    /// How many messages of a channel are kept
    #[arg(long, value_name = "N", env = "SOCKEYE_HISTORY_COUNT", help_heading = "History")]
    #[arg(value_parser = number::<usize>)]
    history_count: Option<usize>,

    /// How many bytes of a channel are kept. No node may run while they become more
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_HISTORY_BYTES", help_heading = "History")]
    #[arg(value_parser = some_size)]
    history_bytes: Option<Size>,

    /// How long messages are kept
    #[arg(long, value_name = "TIME", env = "SOCKEYE_HISTORY_AGE", help_heading = "History")]
    #[arg(value_parser = some_time)]
    history_age: Option<Time>,

    /// The largest message that nodes may publish; the streams never take less than they do
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_MESSAGE", help_heading = "Limits")]
    #[arg(value_parser = some_size)]
    max_message: Option<Size>,

    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Also do what drops messages that are stored. No node may run then
    #[arg(long)]
    allow_loss: bool,
}

impl Apply {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let wanted = ApplyOptions::default()
            .replicas(self.cluster_replicas)
            .max_bytes(self.cluster_bytes.map(|size| size.0))
            .history_count(self.history_count)
            .history_bytes(self.history_bytes.map(|size| size.0))
            .history_age(self.history_age.map(|time| time.0))
            .max_message(self.max_message.map(Size::in_memory))
            .allow_loss(self.allow_loss);
        let options = self.access.options(self.cluster);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let plan = Plan::make(&options, &wanted).await?;
            print_line(&plan.to_string())?;
            if plan.is_empty() {
                return Ok(());
            }
            if self.dry_run {
                return Ok(print_line("nothing is changed: leave out --dry-run to do it")?);
            }
            plan.apply().await?;
            print_line("done")?;
            if plan.changes_history() {
                print_line("start every node with the same history now: see sockeye serve --help")?;
            }
            anyhow::Ok(())
        })
    }
}
