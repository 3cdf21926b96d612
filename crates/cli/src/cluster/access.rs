//! The login at the servers of NATS, and the name of the cluster there.

use std::path::PathBuf;

use clap::Args;
use sockeye_cluster::{ClusterName, ClusterOptions, Servers};

use crate::flags::units::{number, trimmed};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Access {
    /// The JWT and seed of a NATS user
    #[arg(long, value_name = "FILE", env = "SOCKEYE_CLUSTER_CREDS", requires = "cluster")]
    cluster_creds: Option<PathBuf>,

    /// Check the certificates of NATS with these authorities (PEM) in the place of the system's
    #[arg(long, value_name = "FILE", env = "SOCKEYE_CLUSTER_CACERT", requires = "cluster")]
    cluster_cacert: Option<PathBuf>,

    /// The certificate (PEM) to show to NATS
    #[arg(long, value_name = "FILE", env = "SOCKEYE_CLUSTER_CERT", requires = "cluster_key")]
    cluster_cert: Option<PathBuf>,

    /// The private key (PEM) of that certificate
    #[arg(long, value_name = "FILE", env = "SOCKEYE_CLUSTER_KEY", requires = "cluster_cert")]
    cluster_key: Option<PathBuf>,

    /// What its streams and subjects in NATS begin with; sockeye if not given
    #[arg(long, value_name = "NAME", env = "SOCKEYE_CLUSTER_NAME", requires = "cluster")]
    #[arg(value_parser = trimmed::<ClusterName>)]
    cluster_name: Option<ClusterName>,
}

impl Access {
    /// The cluster at these servers.
    pub(crate) fn options(self, servers: Servers) -> ClusterOptions {
        let mut options = ClusterOptions::new(servers);
        options.credentials = self.cluster_creds;
        options.ca_certificate = self.cluster_cacert;
        options.certificate = self.cluster_cert.zip(self.cluster_key);
        if let Some(name) = self.cluster_name {
            options.name = name;
        }
        options
    }
}

/// JetStream keeps at most five.
pub(crate) fn replicas(text: &str) -> Result<u8, &'static str> {
    match number::<u8>(text)? {
        count @ 1..=5 => Ok(count),
        _ => Err("JetStream keeps 1 to 5 replicas"),
    }
}
