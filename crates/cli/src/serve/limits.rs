//! What clients may have of the server, and what may be kept for them: `--max-connections` and what
//! belongs to it.

use clap::{Args, builder::BoolishValueParser};
use sockeye::internals;
use sockeye_server::{ChannelOptions, ServerOptions, TrustedProxy};

use crate::{
    flags::compression::Compression,
    flags::units::{Size, number, some_size, trimmed},
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// How many connections there are at most, WebSockets among them [default: as many as there may be
    /// open files (RLIMIT_NOFILE), less a quarter or 256]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_CONNECTIONS", hide_default_value = true)]
    #[arg(default_value_t = internals::max_connections().unwrap_or(usize::MAX))]
    #[arg(value_parser = number::<usize>)]
    max_connections: usize,

    /// How many of them one address has at most, or one /64 of IPv6 [default: no limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_CONNECTIONS_PER_ADDRESS")]
    #[arg(value_parser = number::<usize>)]
    max_connections_per_address: Option<usize>,

    /// How many WebSockets, streams and long polls one subject has at most, from all addresses [default: no limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_CONNECTIONS_PER_SUBJECT")]
    #[arg(value_parser = number::<usize>)]
    max_connections_per_subject: Option<usize>,

    /// How many messages one subject may publish in a second, on all its connections; twice as many at once, and
    /// those beyond wait [default: no limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_PUBLICATIONS_PER_SUBJECT")]
    #[arg(value_parser = number::<u32>)]
    max_publications_per_subject: Option<u32>,

    /// How many requests and handshakes one address may send in a second; twice as many at once
    /// [default: no limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_REQUESTS_PER_ADDRESS")]
    #[arg(value_parser = number::<u32>)]
    max_requests_per_address: Option<u32>,

    /// How many bytes are kept of messages as they are sent, so that what many readers take is made
    /// once; beyond it each reader has its own made [default: an eighth of what is kept of all
    /// channels, 128M]
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_WIRE_FORMS")]
    max_wire_forms: Option<Size>,

    /// How many invalid tokens and tickets one address may send in a second; twice as many at once
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_BAD_TOKENS_PER_ADDRESS")]
    #[arg(value_parser = number::<u32>)]
    #[arg(default_value_t = ChannelOptions::default().max_bad_tokens_per_address.unwrap_or(u32::MAX))]
    max_bad_tokens_per_address: u32,

    /// How many TLS handshakes are under way at most
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_HANDSHAKES")]
    #[arg(default_value_t = ServerOptions::default().max_handshakes)]
    #[arg(value_parser = number::<usize>)]
    max_handshakes: usize,

    /// How many bytes the answers on one connection of HTTP/2 hold together before the next request on it
    /// is answered
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_HTTP2_BUFFER", default_value = "4M")]
    #[arg(value_parser = some_size)]
    max_http2_buffer: Size,

    /// Whether to compress messages on WebSockets where clients offer it (permessage-deflate); with
    /// takeover, a message may refer to earlier ones where clients allow it: smaller, for memory and
    /// work per connection
    #[arg(long, value_name = "on|off|takeover", env = "SOCKEYE_DEFLATE", default_value = "on")]
    deflate: Compression,

    /// How much memory messages of clients that refer to earlier ones may take in all: 32 KiB for each
    /// client that compresses so. Beyond it clients are asked not to
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_DEFLATE_MEMORY", default_value = "64M")]
    max_deflate_memory: Size,

    /// How many commands (sockeye.v1) or messages (plain WebSockets) one connection, and how many POSTs one
    /// publisher may send in a second; twice as many at once, and those beyond wait [default: 100
    /// commands, others without limit]
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_COMMANDS")]
    #[arg(value_parser = number::<u32>)]
    max_commands: Option<u32>,

    /// Believe what a proxy in this range of addresses says of its clients in X-Forwarded-For, -Proto and
    /// -Host, or Forwarded; unix for one that connects to a Unix socket; may be given several times
    #[arg(long, value_name = "CIDR|unix", env = "SOCKEYE_TRUST_PROXY", value_delimiter = ',')]
    #[arg(value_parser = trimmed::<TrustedProxy>)]
    trust_proxy: Vec<TrustedProxy>,

    /// Connections of these proxies begin with a header of the PROXY protocol, version 1 or 2
    #[arg(long, env = "SOCKEYE_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    proxy_protocol: bool,
}

impl Limits {
    /// Whether some count by subject.
    pub(crate) fn count_subjects(&self) -> bool {
        self.max_connections_per_subject.is_some() || self.max_publications_per_subject.is_some()
    }

    pub(crate) fn apply(self, options: &mut ServerOptions) {
        options.channels.max_connections = Some(self.max_connections);
        options.channels.max_connections_per_address = self.max_connections_per_address;
        options.channels.max_connections_per_subject = self.max_connections_per_subject;
        options.channels.max_publications_per_subject = self.max_publications_per_subject;
        options.channels.max_requests_per_address = self.max_requests_per_address;
        options.channels.max_wire_forms = self.max_wire_forms.map(|size| size.0);

        options.channels.max_bad_tokens_per_address = Some(self.max_bad_tokens_per_address);
        options.max_handshakes = self.max_handshakes;
        options.channels.deflate = self.deflate.server(self.max_deflate_memory);
        options.max_http2_buffer = self.max_http2_buffer.in_memory();
        options.channels.max_commands = self.max_commands;
        options.channels.trust_proxy = self.trust_proxy;
        options.proxy_protocol = self.proxy_protocol;
    }
}
