//! `sockeye serve`: the channel server.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, builder::RangedU64ValueParser};
use sockeye_server::{
    AuthKey, Listen, LocalAddress, OriginPattern, PolicyRule, Server, ServerOptions,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    certificate::Certificate,
    config::Config,
    deadlines::Deadlines,
    limits::Limits,
    log::{Log, SetFilter},
    output::announce,
    processors,
    reload::{Reload, Values},
    signals::Signals,
    stop::Stop,
    units::{Size, Time, listen_address, some_size},
};

/// Serve channels: publish with curl, listen in a browser
///
/// Needs no configuration: it listens on loopback, where anybody on this machine may read and write,
/// and browsers only from its own pages. Every option can also be set in the environment,
/// SOCKEYE_MAX_MESSAGE=1M for --max-message 1M, or in a file, max_message = "1M": flags win, then the
/// environment, then the file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye serve
  curl -d 'hello' http://127.0.0.1:8080/c/chat
  sockeye serve --data ./channels
  sockeye serve --listen 0.0.0.0:8080 --auth-key secret    tokens: see sockeye token --help
  sockeye serve --listen 127.0.0.1:9000 --history-count 100 --history-age 1h")]
pub(crate) struct Serve {
    /// Where to listen: an address, or unix:PATH; may be given several times
    #[arg(long, value_name = "ADDR", env = "SOCKEYE_LISTEN", value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:8080", value_parser = listen)]
    listen: Vec<Listen>,

    /// Where operators find /healthz, /readyz, /metrics and /connections; or off
    #[arg(long, value_name = "ADDR", env = "SOCKEYE_ADMIN", default_value = "127.0.0.1:8081")]
    #[arg(value_parser = admin)]
    admin: Admin,

    /// Let pages of this origin use the server, beside its own: https://app.example.org,
    /// https://*.example.org, tauri://localhost, …; may be given several times
    #[arg(long, value_name = "ORIGIN", env = "SOCKEYE_ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<OriginPattern>,

    /// Listen on addresses that other machines reach, though anybody may then read and write
    #[arg(long, env = "SOCKEYE_OPEN")]
    open: bool,

    /// Ask for tokens, and check them with this key: a secret of 32 bytes or more (HS256), or a public
    /// key in PEM (RSA: RS256, P-256: ES256, Ed25519: EdDSA)
    #[arg(long, value_name = "FILE", env = "SOCKEYE_AUTH_KEY")]
    auth_key: Option<PathBuf>,

    /// Take only tokens that name this audience in `aud`
    #[arg(long, value_name = "NAME", env = "SOCKEYE_AUTH_AUDIENCE", requires = "auth_key")]
    auth_audience: Option<String>,

    #[command(flatten)]
    certificate: Certificate,

    /// Keep channels in this directory: what was acknowledged survives a crash and a restart. Without
    /// it they live in memory
    #[arg(long, value_name = "DIR", env = "SOCKEYE_DATA", help_heading = "History")]
    data: Option<PathBuf>,

    /// How many messages of a channel are kept
    #[arg(long, value_name = "N", env = "SOCKEYE_HISTORY_COUNT", help_heading = "History")]
    #[arg(default_value_t = ServerOptions::default().history_count)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    history_count: usize,

    /// How many bytes of a channel are kept
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_HISTORY_BYTES", help_heading = "History")]
    #[arg(default_value_t = Size(ServerOptions::default().history_bytes), value_parser = some_size)]
    history_bytes: Size,

    /// How long messages are kept
    #[arg(long, value_name = "TIME", env = "SOCKEYE_HISTORY_AGE", help_heading = "History")]
    #[arg(default_value_t = Time(ServerOptions::default().history_age))]
    history_age: Time,

    /// How many channels there may be. When they are all taken, the publisher that has most of them
    /// makes room for those that have fewer
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_CHANNELS", help_heading = "History")]
    #[arg(default_value_t = ServerOptions::default().max_channels)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    max_channels: u64,

    /// How many bytes of all channels are kept in memory. When that is used up, the publisher that
    /// has most of them makes room for those that have less
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_BYTES", help_heading = "History")]
    #[arg(default_value_t = Size(ServerOptions::default().max_bytes), value_parser = some_size)]
    max_bytes: Size,

    /// What becomes of readers that are too slow for the history: PATTERN=catchup (they go on with
    /// the oldest message kept), =latest (with the newest) or =close (they are cut off); may be
    /// given several times, the first whose pattern matches the channel counts
    #[arg(long, value_name = "PATTERN=POLICY", env = "SOCKEYE_POLICY", value_delimiter = ',')]
    #[arg(help_heading = "History")]
    policy: Vec<PolicyRule>,

    /// The largest message
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_MESSAGE", help_heading = "Limits")]
    #[arg(default_value_t = Size(ServerOptions::default().max_message as u64), value_parser = some_size)]
    max_message: Size,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    deadlines: Deadlines,

    #[command(flatten)]
    log: Log,

    #[command(flatten)]
    config: Config,
}

impl Serve {
    /// What to log, and how.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Serves until it is asked to stop. At SIGHUP it takes over what has changed from these `values`.
    pub(crate) fn run(self, set_filter: SetFilter, values: Values) -> anyhow::Result<()> {
        let runtime = self.runtime()?;
        let result = runtime.block_on(async {
            let signals = Signals::new()?;
            let options = self.options()?;
            let tls = options.tls.clone();
            let server = Server::bind(options).await?;
            let channels = server.channels().clone();
            let reload = Reload { channels, tls, set_filter, values };
            tokio::spawn(signals.heed(reload.on_request()));
            let (mut stop, mut now) = (Stop::new()?, Stop::new()?);
            announce(greeting(&server));
            let second_request = async {
                now.requested().await;
                now.requested().await;
            };
            tokio::select! {
                result = server.run(stop.requested()) => Ok(result?),
                () = second_request => Ok(()),
            }
        });
        // Whoever is still connected has had his time.
        runtime.shutdown_background();
        result
    }

    /// On one processor there is nobody to share work with, and a scheduler that shares none takes a
    /// few per cent less for each delivery. With a disk there is one: who does not wait for it goes on.
    fn runtime(&self) -> std::io::Result<Runtime> {
        match processors::count() == 1 && self.data.is_none() {
            true => Builder::new_current_thread().enable_all().build(),
            false => Builder::new_multi_thread().enable_all().build(),
        }
    }

    /// What the flags say, with the keys and certificates that they name.
    pub(crate) fn options(self) -> anyhow::Result<ServerOptions> {
        let mut options = ServerOptions::default();
        options.listen = self.listen;
        options.admin = self.admin.0;
        options.allow_origin = self.allow_origin;
        options.open = self.open;
        options.auth_key = match &self.auth_key {
            Some(file) => Some(auth_key(file, self.auth_audience)?),
            None => None,
        };
        options.data = self.data;
        options.history_count = self.history_count;
        options.history_bytes = self.history_bytes.0;
        options.history_age = self.history_age.0;
        options.max_channels = self.max_channels;
        options.max_bytes = self.max_bytes.0;
        options.policy = self.policy;
        options.max_message = self.max_message.in_memory();
        self.limits.apply(&mut options);
        self.deadlines.apply(&mut options);
        options.tls = self.certificate.read()?;
        options.log_lines_lost = self.log.lost();
        Ok(options)
    }
}

/// The key that tokens are checked with.
fn auth_key(file: &Path, audience: Option<String>) -> anyhow::Result<AuthKey> {
    let key = AuthKey::from_file(file).with_context(|| format!("--auth-key {}", file.display()))?;
    Ok(match audience {
        Some(audience) => key.for_audience(audience),
        None => key,
    })
}

/// Where the server listens, and what to do with it, ready to paste.
fn greeting(server: &Server) -> String {
    let listening = server.local_addrs().iter().map(|address| format!("listening on {address}"));
    let admin = server.admin_addr().map(|address| format!("admin on {address}"));
    let hints = server.local_addrs().first().map(hints);
    listening.chain(admin).chain(hints).collect::<Vec<_>>().join("\n")
}

fn hints(address: &LocalAddress) -> String {
    let over_tcp = |address: &SocketAddr, s: &str| {
        format!(
            "
  chat       http{s}://{address}/ in two windows of a browser
  publish    curl -d 'hello' http{s}://{address}/c/chat
  read       curl http{s}://{address}/c/chat
  listen     sockeye subscribe http{s}://{address}/c/chat
  in a page  new WebSocket(\"ws{s}://{address}/c/chat\")
"
        )
    };
    match address {
        LocalAddress::Tcp(address) => over_tcp(address, ""),
        LocalAddress::Tls(address) => over_tcp(address, "s"),
        LocalAddress::Unix(path) => format!(
            "
  publish    curl --unix-socket {path} -d 'hello' http://localhost/c/chat
  read       curl --unix-socket {path} http://localhost/c/chat
",
            path = path.display()
        ),
    }
}

/// An address that can be switched off.
#[derive(Clone, Debug)]
struct Admin(Option<Listen>);

fn admin(text: &str) -> Result<Admin, &'static str> {
    match text {
        "off" => Ok(Admin(None)),
        address => listen(address).map(|address| Admin(Some(address))),
    }
}

/// An address to listen on, or `unix:PATH`.
fn listen(text: &str) -> Result<Listen, &'static str> {
    let listen = match text.starts_with("unix:") {
        true => text.parse(),
        false => listen_address(text)?.parse(),
    };
    Ok(listen.unwrap_or_else(|never: std::convert::Infallible| match never {}))
}

#[cfg(test)]
mod tests;
