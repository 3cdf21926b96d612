//! `sockeye serve`: the channel server.

#[cfg(not(all(feature = "cluster", feature = "fjall", feature = "otlp")))]
mod absent;
mod authorize;
mod channel_rules;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(not(feature = "cluster"))]
#[path = "no_cluster.rs"]
mod cluster;
mod deadlines;
mod events;
mod greeting;
mod jwks;
mod limits;
mod reload;
mod service_manager;
#[cfg(feature = "otlp")]
mod traces;
#[cfg(not(feature = "otlp"))]
#[path = "no_traces.rs"]
mod traces;
mod webhook;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::{
    Args,
    builder::{
        BoolishValueParser, NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser,
    },
};
use sockeye_server::{
    AuthKey, BindError, ChannelOptions, ChannelRule, Io, Listen, OptionNames, OriginPattern,
    PolicyRule, Server, ServerOptions,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::spawn_blocking,
};

#[cfg(not(feature = "fjall"))]
use self::absent::built_without;
use self::authorize::AuthorizeFlags;
use self::channel_rules::rule;
use self::cluster::ClusterFlags;
use self::deadlines::Deadlines;
use self::events::EventFlags;
use self::greeting::{Hints, greeting, make_token, serving};
use self::jwks::{Issuer, JwksFlags};
use self::limits::Limits;
use self::reload::{ReadAgain, Reload};
use self::service_manager::GivenSocket;
use self::traces::TraceFlags;
use crate::{
    config::{Config, Shown, Values},
    flags::certificate::Certificate,
    flags::units::{Size, Time, listen_address, number, some_size, some_time, trimmed},
    log::{Log, SetFilter},
    system::fingerprints::{self, Fingerprints},
    system::processors,
    system::signals::ServerSignals,
    system::stop::Stop,
    terminal::output::announce,
};

/// Serve channels: publish with curl, listen in a browser
///
/// Needs no configuration: it listens on loopback, where every program on this machine may read and write,
/// and browsers only from its own pages. Every option can also be set in the environment,
/// SOCKEYE_MAX_MESSAGE=1M for --max-message 1M, or in a file, max_message = "1M": flags win, then the
/// environment, then the file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye serve
  curl -d 'hello' http://127.0.0.1:8080/c/chat
  sockeye serve --data ./channels
  sockeye serve --cluster nats://10.0.0.1:4222,nats://10.0.0.2:4222
  sockeye serve --listen 0.0.0.0:8080 --auth-key secret    # tokens: see sockeye token --help
  sockeye serve --jwks https://issuer.example.org/jwks.json --auth-audience live
  sockeye serve --authorize-url https://app.example.org/sockeye    # your own program decides
  sockeye serve --events-url https://app.example.org/events    # and is told who comes and goes
  sockeye serve --listen 127.0.0.1:9000 --history-count 100 --history-age 1h
  sockeye serve --channel 'device:* presence=false history_count=1' --channel 'log:* publish=false'")]
pub(crate) struct Serve {
    /// Where to listen: an address, of a name all that it has, :PORT for every address of this machine, or
    /// unix:PATH; may be given several times
    #[arg(long, value_name = "ADDR", env = "SOCKEYE_LISTEN", value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:8080", value_parser = listen)]
    listen: Vec<Listen>,

    /// Where operators find /healthz, /readyz, /metrics, /connections, /channels, /tap and /cluster; or off. If the
    /// default port is in use, another is chosen and printed
    #[arg(long, value_name = "ADDR", env = "SOCKEYE_ADMIN", default_value = "127.0.0.1:8081")]
    #[arg(value_parser = admin)]
    admin: Admin,

    /// Let pages of this origin use the server, beside its own: https://app.example.org,
    /// https://*.example.org, tauri://localhost, …; may be given several times
    #[arg(long, value_name = "ORIGIN", env = "SOCKEYE_ALLOW_ORIGIN", value_delimiter = ',')]
    #[arg(value_parser = trimmed::<OriginPattern>)]
    allow_origin: Vec<OriginPattern>,

    /// Listen on addresses that other machines reach, though all of them may then read and write
    #[arg(long, env = "SOCKEYE_OPEN", value_parser = BoolishValueParser::new())]
    open: bool,

    /// Ask for tokens, and check them with this key: a secret of 32 bytes or more (HS256), or a public
    /// key in PEM (RSA: RS256, P-256: ES256, Ed25519: EdDSA)
    #[arg(long, value_name = "FILE", env = "SOCKEYE_AUTH_KEY", group = "verifier")]
    auth_key: Option<PathBuf>,

    #[command(flatten)]
    jwks: JwksFlags,

    /// Take only tokens that name this audience in `aud`; may be given several times, and one of them is enough
    #[arg(long, value_name = "NAME", env = "SOCKEYE_AUTH_AUDIENCE", requires = "verifier")]
    #[arg(value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    auth_audience: Vec<String>,

    /// Take only tokens of this issuer by their `iss`; may be given several times, and one of them is enough
    #[arg(long, value_name = "NAME", env = "SOCKEYE_AUTH_ISSUER", requires = "verifier")]
    #[arg(value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    auth_issuer: Vec<String>,

    #[command(flatten)]
    authorize: AuthorizeFlags,

    #[command(flatten)]
    events: EventFlags,

    #[command(flatten)]
    certificate: Certificate,

    /// Keep channels in this directory: what was acknowledged survives a crash and a restart. Without
    /// it they live in memory
    #[cfg(feature = "fjall")]
    #[arg(long, value_name = "DIR", env = "SOCKEYE_DATA", help_heading = "History")]
    data: Option<PathBuf>,

    #[cfg(not(feature = "fjall"))]
    #[arg(long, value_name = "DIR", env = "SOCKEYE_DATA", hide = true)]
    #[arg(value_parser = built_without::<PathBuf>("fjall", "keeps channels on disk"))]
    data: Option<PathBuf>,

    /// How many messages of a channel are kept
    #[arg(long, value_name = "N", env = "SOCKEYE_HISTORY_COUNT", help_heading = "History")]
    #[arg(default_value_t = ChannelOptions::default().history_count)]
    #[arg(value_parser = number::<usize>)]
    history_count: usize,

    /// How many bytes of a channel are kept; a message that takes more is refused
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_HISTORY_BYTES", help_heading = "History")]
    #[arg(default_value_t = Size(ChannelOptions::default().history_bytes), value_parser = some_size)]
    history_bytes: Size,

    /// How long messages are kept
    #[arg(long, value_name = "TIME", env = "SOCKEYE_HISTORY_AGE", help_heading = "History")]
    #[arg(default_value_t = Time(ChannelOptions::default().history_age), value_parser = some_time)]
    history_age: Time,

    /// How many channels there may be. When they are all taken, the publisher that has most of them
    /// makes room for those that have fewer
    #[arg(long, value_name = "N", env = "SOCKEYE_MAX_CHANNELS", help_heading = "History")]
    #[arg(default_value_t = ChannelOptions::default().max_channels)]
    #[arg(value_parser = number::<u64>)]
    max_channels: u64,

    /// How many bytes of all channels are kept in memory. When that is used up, the publisher that
    /// has most of them makes room for those that have less
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_BYTES", help_heading = "History")]
    #[arg(default_value_t = Size(ChannelOptions::default().max_bytes), value_parser = some_size)]
    max_bytes: Size,

    /// What becomes of readers that are too slow for the history: PATTERN=catchup (they go on with
    /// the oldest message kept), =latest (with the newest) or =close (they are cut off); may be
    /// given several times, the first whose pattern matches the channel counts
    #[arg(long, value_name = "PATTERN=POLICY", env = "SOCKEYE_POLICY", value_delimiter = ',')]
    #[arg(help_heading = "History", value_parser = trimmed::<PolicyRule>)]
    policy: Vec<PolicyRule>,

    /// The largest message
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_MAX_MESSAGE", help_heading = "Limits")]
    #[arg(default_value_t = Size(ChannelOptions::default().max_message as u64), value_parser = some_size)]
    max_message: Size,

    /// What holds for some channels only: a pattern, and behind it max_message=SIZE, policy=POLICY,
    /// publish=false (no client publishes), publisher=NAME (this sub alone publishes), presence=false, events=false,
    /// anonymous_read=true (all may read, without a token), history_count=N, history_bytes=SIZE,
    /// history_age=TIME; may be given several times, the first whose
    /// pattern matches the channel counts. In the file: [[channel]], with match = "PATTERN"
    #[arg(long, value_name = "PATTERN KEY=VALUE", env = "SOCKEYE_CHANNEL", value_delimiter = ',')]
    #[arg(help_heading = "Limits", value_parser = rule)]
    channel: Vec<ChannelRule>,

    /// How messages for many plain WebSockets are handed to the system: epoll (connection by connection), uring (many
    /// by one call, through io_uring of Linux) or auto (by epoll)
    #[arg(long, value_name = "WAY", env = "SOCKEYE_IO", default_value_t = ChannelOptions::default().io)]
    #[arg(value_parser = io())]
    io: Io,

    #[command(flatten)]
    cluster: ClusterFlags,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    deadlines: Deadlines,

    #[command(flatten)]
    traces: TraceFlags,

    #[command(flatten)]
    log: Log,

    #[command(flatten)]
    config: Config,
}

impl Serve {
    /// What of the configuration is to be shown, if anything.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.config.shown()
    }

    /// What to log, and how.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Serves until it is asked to stop. At SIGHUP it takes over what has changed from these `values`.
    pub(crate) fn run(
        self,
        set_filter: SetFilter,
        values: Values,
        is_default_admin: bool,
        signals: ServerSignals,
        read_again: ReadAgain,
    ) -> anyhow::Result<()> {
        let given = GivenSocket::all().context("a socket of the service manager")?;
        let runtime = self.runtime()?;
        let result = runtime.block_on(async {
            let ServerSignals { mut stop, again, others } = signals;
            let files = Fingerprints::of(self.files());
            let rights = self.rights();
            let (cluster, jwks, data) =
                (self.cluster.clone(), self.jwks.clone(), self.data.clone());
            let traces = self.traces.clone();
            // It may wait for a disk, and no client is served yet.
            let starting = async {
                let mut options = spawn_blocking(move || self.options()).await??;
                let issuer = jwks.start(data.as_deref()).await?;
                let traces = traces.begin(&mut options)?;
                let mut membership = cluster.join(&mut options).await?;
                let hints = rights.hints(options.channels.auth_key.as_ref());
                let tls = options.tls.clone();
                let server = bind(options, &given, is_default_admin)
                    .await
                    .map_err(|error| in_flags(&error))?;
                membership.follow().await?;
                anyhow::Ok((tls, hints, server, membership, issuer, traces))
            };
            let (tls, hints, server, membership, issuer, traces) = tokio::select! {
                () = stop.requested() => return Ok(()),
                started = starting => started?,
            };
            let channels = server.channels().clone();
            let issuer = issuer.map(Issuer::begin_to_follow);
            let reload = Reload { channels, tls, set_filter, read_again, values, files, issuer };
            tokio::spawn(others.heed(reload.on_request()));
            announce(greeting(&server, &hints));
            service_manager::ready(&serving(&server));
            tokio::spawn(service_manager::feed_watchdog());
            tokio::select! {
                result = server.run_until(stopping(stop)) => result?,
                // Nor does it wait for a collector then.
                () = second_request(again) => return Ok(()),
                why = membership.refused() => return Err(why),
            }
            traces.finish().await;
            Ok(())
        });
        // The connections that are left have had their time.
        runtime.shutdown_background();
        result
    }

    /// On one processor there is no other to share work with, and a scheduler that shares none takes a
    /// few per cent less for each delivery. With a disk there is work to share: the tasks that do not wait for it
    /// go on.
    fn runtime(&self) -> std::io::Result<Runtime> {
        match processors::count() == 1 && self.data.is_none() {
            true => Builder::new_current_thread().enable_all().build(),
            false => Builder::new_multi_thread().enable_all().build(),
        }
    }

    /// The files of keys and certificates, each with its option.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let [certificate, key] = self.certificate.files();
        fingerprints::named([("auth_key", self.auth_key.as_ref()), certificate, key])
    }

    /// What decides who may do what, to be told.
    fn rights(&self) -> Rights {
        let (key, audience) = (self.auth_key.clone(), self.auth_audience.first().cloned());
        let issuer = self.auth_issuer.first().cloned();
        Rights { key, keys: self.jwks.name(), audience, issuer, application: self.authorize.name() }
    }

    /// Says what is wrong with options that are good one by one.
    fn check(&self) -> anyhow::Result<()> {
        let (largest, default) = (self.max_message.0, ChannelOptions::default().max_message as u64);
        for (kept, flag) in [(self.history_bytes, "history-bytes"), (self.max_bytes, "max-bytes")] {
            ensure!(
                largest <= kept.0 || largest == default,
                "--max-message {} is more than --{flag} {kept}, which such a message has to fit into: \
                 lower the one or raise the other",
                self.max_message
            );
        }
        ensure!(
            !self.jwks.is_given() || !self.authorize.is_given(),
            "--jwks and --authorize-url contradict each other: give the one for tokens, or the other to have an \
             application decide"
        );
        ensure!(
            self.auth_key.is_none() || !self.authorize.is_given(),
            "--auth-key and --authorize-url contradict each other: give the one for tokens, or the other to \
             have an application decide"
        );
        ensure!(
            !self.limits.count_subjects() || self.has_tokens() || self.authorize.is_given(),
            "--max-connections-per-subject and --max-publications-per-subject change nothing without --auth-key, \
             --jwks or --authorize-url: callers have no subject then; leave them out, or give one of these"
        );
        self.check_channel_rules()
    }

    /// Whether there are tokens.
    fn has_tokens(&self) -> bool {
        self.auth_key.is_some() || self.jwks.is_given()
    }

    /// What tokens are checked with.
    fn verifier(&self) -> anyhow::Result<Option<AuthKey>> {
        let key = match (&self.auth_key, self.jwks.keys()?) {
            (Some(file), _) => AuthKey::from_file(file)
                .with_context(|| format!("--auth-key {}", file.display()))?,
            (None, Some(keys)) => AuthKey::from_set(keys),
            (None, None) => return Ok(None),
        };
        let key = self.auth_audience.iter().fold(key, AuthKey::for_audience);
        Ok(Some(self.auth_issuer.iter().fold(key, AuthKey::from_issuer)))
    }

    /// What the flags say, with the keys and certificates that they name.
    pub(crate) fn options(self) -> anyhow::Result<ServerOptions> {
        self.check()?;
        let mut options = ServerOptions::default();
        options.channels.auth_key = self.verifier()?;
        options.channels.option_names = OptionNames::by(flag);
        options.listen = self.listen;
        options.admin = self.admin.0;
        options.channels.allow_origin = self.allow_origin;
        options.channels.open = self.open;
        options.channels.authorizer = self.authorize.authorizer()?;
        options.channels.events = self.events.sink()?;
        #[cfg(feature = "fjall")]
        (options.channels.data = self.data);
        options.channels.history_count = self.history_count;
        options.channels.history_bytes = self.history_bytes.0;
        options.channels.history_age = self.history_age.0;
        options.channels.max_channels = self.max_channels;
        options.channels.max_bytes = self.max_bytes.0;
        options.channels.policy = self.policy;
        options.channels.max_message = self.max_message.in_memory();
        options.channels.channel = self.channel;
        options.channels.io = self.io;
        self.limits.apply(&mut options);
        self.deadlines.apply(&mut options);
        options.tls = self.certificate.read()?;
        #[cfg(feature = "prometheus")]
        (options.channels.log_lines_lost = self.log.lost());
        Ok(options)
    }
}

/// Waits until the program is asked to stop, and says that it does.
async fn stopping(mut stop: Stop) {
    stop.requested().await;
    service_manager::stopping();
}

/// Waits until it is asked once more.
async fn second_request(mut again: Stop) {
    again.requested().await;
    again.requested().await;
}

/// What decides who may do what.
struct Rights {
    key: Option<PathBuf>,
    /// Where the keys of an issuer are.
    keys: Option<String>,
    audience: Option<String>,
    issuer: Option<String>,
    application: Option<String>,
}

impl Rights {
    /// What to tell of it, with the key that was read.
    fn hints(self, key: Option<&AuthKey>) -> Hints {
        let Some((file, key)) = self.key.zip(key) else {
            return match (self.keys, self.application) {
                (Some(keys), _) => Hints::Issuer(keys),
                (None, Some(application)) => Hints::Application(application),
                (None, None) => Hints::Open,
            };
        };
        let (audience, issuer) = (self.audience.as_deref(), self.issuer.as_deref());
        Hints::Token(make_token(key, &file, audience, issuer))
    }
}

/// Listens, or takes the sockets that a service manager has given. Where the default address for operators is
/// taken, because another server runs on this machine, any free port is good.
async fn bind(
    mut options: ServerOptions,
    given: &[GivenSocket],
    is_default_admin: bool,
) -> Result<Server, BindError> {
    match bind_once(options.clone(), given).await {
        Err(BindError::Admin { address, source })
            if is_default_admin && source.kind() == ErrorKind::AddrInUse =>
        {
            tracing::warn!(
                "{address}, the default of --admin, is taken: operators find this server at another \
                 port, which is printed; --admin sets one"
            );
            options.admin = Some(Listen::Tcp("127.0.0.1:0".to_owned()));
            bind_once(options, given).await
        }
        bound => bound,
    }
}

async fn bind_once(options: ServerOptions, given: &[GivenSocket]) -> Result<Server, BindError> {
    if given.is_empty() {
        return Server::bind(options).await;
    }
    tracing::info!(
        sockets = given.len(),
        "listening on the service manager's sockets, not on --listen"
    );
    let listeners = given.iter().map(GivenSocket::listener).collect::<Result<_, _>>();
    Server::with_listeners(listeners.map_err(BindError::Socket)?, options).await
}

/// The flag of an option of the library.
fn flag(field: &str) -> String {
    format!("--{}", field.replace('_', "-"))
}

/// The error with flags in the place of the options that it names: `` `listen` `` is `--listen`.
fn in_flags(error: &BindError) -> anyhow::Error {
    let mut text = error.to_string();
    for field in [
        "admin",
        "auth_key",
        "channel",
        "data",
        "io",
        "listen",
        "open",
        "proxy_protocol",
        "trust_proxy",
    ] {
        text = text.replace(&format!("`{field}`"), &flag(field));
    }
    anyhow::Error::msg(text)
}

/// An address that can be switched off.
#[derive(Clone, Debug)]
struct Admin(Option<Listen>);

fn admin(text: &str) -> Result<Admin, &'static str> {
    match text.trim() {
        "off" => Ok(Admin(None)),
        address => listen(address).map(|address| Admin(Some(address))),
    }
}

/// The words for the ways.
fn io() -> impl TypedValueParser<Value = Io> {
    PossibleValuesParser::new(Io::ALL.map(Io::name)).try_map(|word| word.parse())
}

/// An address to listen on, or `unix:PATH`.
fn listen(text: &str) -> Result<Listen, &'static str> {
    let text = text.trim();
    let listen = match text.starts_with("unix:") {
        true => text.parse(),
        false => listen_address(text)?.parse(),
    };
    Ok(listen.unwrap_or_else(|never: std::convert::Infallible| match never {}))
}

#[cfg(test)]
mod tests;
