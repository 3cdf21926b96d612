//! `--cluster` of a program that is built without it: refused with the feature's name.

use std::future::pending;

use clap::Args;
use sockeye_server::ServerOptions;

use crate::serve::absent::built_without;

#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterFlags {
    #[arg(long, value_name = "URLS", env = "SOCKEYE_CLUSTER", hide = true)]
    #[arg(value_parser = built_without::<String>("cluster", "shares channels among many machines"))]
    cluster: Option<String>,
}

/// A server's part in no cluster.
#[derive(Debug)]
pub(super) struct Membership;

impl ClusterFlags {
    pub(super) async fn join(self, _: &mut ServerOptions) -> anyhow::Result<Membership> {
        // No value of it is taken.
        debug_assert!(self.cluster.is_none());
        Ok(Membership)
    }
}

impl Membership {
    #[expect(clippy::needless_pass_by_ref_mut, reason = "with a cluster it has to be")]
    pub(super) async fn follow(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    pub(super) async fn refused(self) -> anyhow::Error {
        pending().await
    }
}
