//! How much of the server one address may have: `--max-connections` and what belongs to it.

use clap::Args;
use sockeye_server::{Cidr, ServerOptions};

#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// How many connections there are at most, WebSockets among them [default: no limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_CONNECTIONS")]
    max_connections: Option<usize>,

    /// How many of them one address has at most, or one /64 of IPv6 [default: no limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_CONNECTIONS_PER_ADDRESS")]
    max_connections_per_address: Option<usize>,

    /// How many requests and handshakes one address may send in a second; twice as many at once
    /// [default: no limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_REQUESTS_PER_ADDRESS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_requests_per_address: Option<u32>,

    /// Believe what a proxy in this range of addresses says in X-Forwarded-For; may be given several
    /// times
    #[arg(long, value_name = "CIDR", env = "SOCKEYE_TRUST_PROXY", value_delimiter = ',')]
    trust_proxy: Vec<Cidr>,
}

impl Limits {
    pub(crate) fn apply(self, options: &mut ServerOptions) {
        options.max_connections = self.max_connections;
        options.max_connections_per_address = self.max_connections_per_address;
        options.max_requests_per_address = self.max_requests_per_address;
        options.trust_proxy = self.trust_proxy;
    }
}
