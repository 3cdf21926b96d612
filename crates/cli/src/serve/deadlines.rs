//! How long the server waits for its clients: `--head-timeout` and what belongs to it.

use clap::Args;
use sockeye_server::{ChannelOptions, ServerOptions};

use crate::flags::units::{Switch, Time, at_most_a_day, deadline, deadline_or_off};

#[derive(Debug, Args)]
#[command(next_help_heading = "Deadlines")]
pub(crate) struct Deadlines {
    /// How long clients may take to leave when the server stops; 0s cuts them off at once
    #[arg(long, value_name = "TIME", env = "SOCKEYE_DRAIN", value_parser = at_most_a_day)]
    #[arg(default_value_t = Time(ServerOptions::default().drain))]
    drain: Time,

    /// How long the head of a request or a TLS handshake may take, and a connection of HTTP/2 may idle
    #[arg(long, value_name = "TIME", env = "SOCKEYE_HEAD_TIMEOUT", value_parser = deadline)]
    #[arg(default_value_t = Time(ServerOptions::default().head_timeout))]
    head_timeout: Time,

    /// How long a connection of HTTP/1.1 may idle between requests
    #[arg(long, value_name = "TIME", env = "SOCKEYE_KEEP_ALIVE", value_parser = deadline)]
    #[arg(default_value_t = Time(ServerOptions::default().keep_alive))]
    keep_alive: Time,

    /// How long the body of a request may take
    #[arg(long, value_name = "TIME", env = "SOCKEYE_BODY_TIMEOUT", value_parser = deadline)]
    #[arg(default_value_t = Time(ChannelOptions::default().body_timeout))]
    body_timeout: Time,

    /// How long a connection on /connect may take to show a token
    #[arg(long, value_name = "TIME", env = "SOCKEYE_AUTH_TIMEOUT", value_parser = deadline)]
    #[arg(default_value_t = Time(ChannelOptions::default().auth_timeout))]
    auth_timeout: Time,

    /// How long a client may take nothing of what is there for it before it is cut off
    #[arg(long, value_name = "TIME", env = "SOCKEYE_WRITE_TIMEOUT", value_parser = deadline)]
    #[arg(default_value_t = Time(ChannelOptions::default().write_timeout))]
    write_timeout: Time,

    /// After how much silence of a client a WebSocket pings it; or off
    #[arg(long, value_name = "TIME", env = "SOCKEYE_PING_INTERVAL", value_parser = deadline_or_off)]
    #[arg(default_value_t = Switch(ChannelOptions::default().ping_interval))]
    ping_interval: Switch,

    /// How long a client may take to come to a ping: it reads what was sent before it first
    #[arg(long, value_name = "TIME", env = "SOCKEYE_PONG_TIMEOUT", value_parser = deadline)]
    #[arg(default_value_t = Time(ChannelOptions::default().pong_timeout))]
    pong_timeout: Time,

    /// How often a stream (Server-Sent Events, JSON lines) sends a keep-alive comment or an empty
    /// line, so that proxies keep it open
    #[arg(long, value_name = "TIME", env = "SOCKEYE_HEARTBEAT", value_parser = deadline)]
    #[arg(default_value_t = Time(ChannelOptions::default().heartbeat))]
    heartbeat: Time,
}

impl Deadlines {
    pub(crate) fn apply(self, options: &mut ServerOptions) {
        options.drain = self.drain.0;
        options.head_timeout = self.head_timeout.0;
        options.keep_alive = self.keep_alive.0;
        options.channels.body_timeout = self.body_timeout.0;
        options.channels.auth_timeout = self.auth_timeout.0;
        options.channels.write_timeout = self.write_timeout.0;
        options.channels.ping_interval = self.ping_interval.0;
        options.channels.pong_timeout = self.pong_timeout.0;
        options.channels.heartbeat = self.heartbeat.0;
    }
}
