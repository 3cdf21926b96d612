//! The options of channels, with any listener, and their defaults.

#[cfg(feature = "fjall")]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "prometheus")]
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sockeye::internals::defaults;
use sockeye::{DeflateConfig, OriginPattern};
use sockeye_hub::PolicyRule;
use sockeye_hub::backplane::Backplane;

use crate::auth::{AnyAuthorizer, AuthKey, Authorizer};
use crate::channel_rule::ChannelRule;
use crate::events::{AnyEventSink, EventSink};
use crate::net::io::Io;
use crate::net::trusted_proxy::TrustedProxy;
use crate::option_names::OptionNames;
#[cfg(feature = "traces")]
use crate::trace::PublicationTracer;

/// How [`Channels`](crate::Channels) behave, in a program of one's own or in a [`Server`](crate::Server). The
/// default keeps channels in memory, answers to loopback names only, and lets the pages that come from
/// there, and no others, use them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelOptions {
    /// Origins whose pages may use the server, beside its own: such as `https://app.example.org`,
    /// `https://*.example.org`, `tauri://localhost`. Default: none.
    pub allow_origin: Vec<OriginPattern>,
    /// The key that verifies tokens. Without one there are no tokens, and anyone who can reach the
    /// server may read and write every channel. With one a server may listen on any address and
    /// answers to any `Host`. Default: none.
    pub auth_key: Option<AuthKey>,
    /// What decides in the place of tokens: see [`Authorizer`]. With one, channels may be reached from any address
    /// and answer to any `Host`. Default: none.
    pub authorizer: Option<AnyAuthorizer>,
    /// What is told who comes to channels and goes: see [`EventSink`]. Default: none.
    pub events: Option<AnyEventSink>,
    /// Whether anyone who can reach the server may use it, under any `Host`. Default: no; then it
    /// listens on loopback addresses only and answers to loopback names only.
    ///
    /// Danger: without an `auth_key` this publishes every channel to the whole network.
    pub open: bool,
    /// The directory to store channels in: a server that starts with it continues them. Default: none,
    /// channels are in memory. A directory belongs to one server at a time.
    #[cfg(feature = "fjall")]
    pub data: Option<PathBuf>,
    /// The engine that keeps the channels, the same for all servers that are given it, in the place of
    /// memory or `data`. Default: none.
    pub backplane: Option<Arc<dyn Backplane>>,
    /// What makes spans of publications, for OpenTelemetry. Default: none.
    #[cfg(feature = "traces")]
    pub tracer: Option<PublicationTracer>,
    /// Messages kept per channel. Default: 1000.
    pub history_count: usize,
    /// Bytes kept per channel. Default: 16 MiB.
    pub history_bytes: u64,
    /// How long a message is kept. Default: 24 hours.
    pub history_age: Duration,
    /// What happens to readers whose position the history no longer reaches, by channel; the first rule
    /// that matches applies. Default: none, so all [catch up](sockeye_hub::Policy::Catchup).
    pub policy: Vec<PolicyRule>,
    /// Limit of channels that hold or have held messages. Default: 100,000. Past it channels of the
    /// publisher that has most are evicted for publishers that have fewer: see
    /// [`Options::max_channels`](sockeye_hub::Options::max_channels).
    pub max_channels: u64,
    /// Limit of bytes kept for all channels together. Default: 1 GiB. Past it messages of the publisher
    /// that has most are evicted for publishers that have less; otherwise a channel that has messages
    /// drops its oldest, and a publication to one that has none is refused.
    pub max_bytes: u64,
    /// Limit of bytes of cached encoded messages, so that a message is encoded once for many readers.
    /// Default: `None`, an eighth of `max_bytes`. Past it messages are encoded for each reader, and
    /// nothing is refused.
    pub max_wire_forms: Option<u64>,
    /// Connections in all, WebSockets among them. One more takes the place of the oldest that has not
    /// sent a complete request yet; where there is none it is answered 503. Default: for a
    /// [`Server`](crate::Server) as many as there may be open files (`RLIMIT_NOFILE`, the soft limit)
    /// less a quarter, or 256; for [`Channels`](crate::Channels) in another program no limit.
    pub max_connections: Option<usize>,
    /// Connections from one address, or from one /64 of IPv6. Default: no limit. One more gets 429.
    /// Behind a trusted proxy requests in progress count, and what they have opened.
    pub max_connections_per_address: Option<usize>,
    /// WebSockets, streams and long polls of one subject (the `sub` of its tokens, or the name that an authoriser
    /// has for it), from all addresses. Default: no limit. One more gets 429. Callers without a subject do not count.
    pub max_connections_per_subject: Option<usize>,
    /// Requests per second from one address, handshakes included, with bursts of twice as many. Default:
    /// no limit. One more gets 429.
    pub max_requests_per_address: Option<u32>,
    /// Invalid tokens and tickets per second from one address, with bursts of twice as many. Default:
    /// 100. One more gets 429 instead of 401. Valid ones are never refused by this limit.
    ///
    /// Danger: with `None` tokens can be guessed as fast as the server answers.
    pub max_bad_tokens_per_address: Option<u32>,
    /// How messages on WebSockets are compressed (permessage-deflate), where clients offer it. Default:
    /// that of [`DeflateConfig`]: a message of a channel is compressed once for all readers, and clients
    /// keep their context within a budget of 64 MiB per process. `None`: no compression.
    pub deflate: Option<DeflateConfig>,
    /// Commands of `sockeye.v1` and messages on a plain WebSocket per second from one connection, and
    /// publications by `POST` per second of one publisher (its `sub`, else its address), with bursts of
    /// twice as many. Further ones are read later, none is refused. Default: 100 commands of
    /// `sockeye.v1`, and no limit for the others.
    pub max_commands: Option<u32>,
    /// Publications per second of one subject, on all its connections and by `POST`, with bursts of twice as many.
    /// Further ones are taken later, none is refused. Default: no limit.
    pub max_publications_per_subject: Option<u32>,
    /// Proxies whose headers are trusted for the client's address (`X-Forwarded-For`, else `Forwarded`,
    /// RFC 7239) and for the scheme and host of the request (`X-Forwarded-Proto` and `-Host`, or
    /// `Forwarded`): pages of that origin are the server's own. Default: none.
    ///
    /// Danger: anything that connects from such an address can claim any other. The address must be the
    /// proxy's alone, and the proxy must write `X-Forwarded-For` itself, or remove it where it writes
    /// `Forwarded`.
    pub trust_proxy: Vec<TrustedProxy>,
    /// The largest message, in bytes, on every transport. Default: 64 KiB.
    pub max_message: usize,
    /// What holds for some channels only, by pattern; the first rule that matches a channel counts. Default:
    /// none.
    pub channel: Vec<ChannelRule>,
    /// How long a connection on `/connect` may take to send a token, where one is needed and the
    /// handshake had none. Default: 10 seconds.
    pub auth_timeout: Duration,
    /// How long the body of a request may take to arrive. Default: 30 seconds.
    pub body_timeout: Duration,
    /// How long a write may make no progress before the connection is closed. Default: 2 minutes: a
    /// client that has stopped reading costs little, and may resume. A client that reads slowly stays,
    /// however slowly.
    pub write_timeout: Duration,
    /// How long a WebSocket may be silent before the server sends a ping. Default: 25 seconds. `None`: no
    /// pings.
    pub ping_interval: Option<Duration>,
    /// How long a client may take to answer a ping. It first reads what was sent before it, which may be
    /// megabytes in its own buffers, and slow readers are served. A client that is gone is detected much
    /// earlier, by what it does not acknowledge (`write_timeout`). Default: 5 minutes.
    pub pong_timeout: Duration,
    /// How often a stream sends a keep-alive comment (Server-Sent Events) or an empty line (NDJSON), so
    /// that no proxy closes it as idle. Default: 15 seconds.
    pub heartbeat: Duration,
    /// How messages for many plain WebSockets on TCP are handed to the system. Default: `Auto`, which is epoll.
    pub io: Io,
    /// Log lines that could not be written, counted by the program's logger and exported in the metrics: of
    /// the feature `prometheus`.
    /// Default: a new counter, at 0.
    #[cfg(feature = "prometheus")]
    pub log_lines_lost: Arc<AtomicU64>,
    /// How problems and log lines name an option that is to be changed. Default: as the field here,
    /// `` `max_message` ``. A program that has a flag for each says so.
    pub option_names: OptionNames,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            allow_origin: Vec::new(),
            auth_key: None,
            authorizer: None,
            events: None,
            open: false,
            #[cfg(feature = "fjall")]
            data: None,
            backplane: None,
            #[cfg(feature = "traces")]
            tracer: None,
            history_count: 1000,
            history_bytes: 16 << 20,
            history_age: Duration::from_hours(24),
            policy: Vec::new(),
            max_channels: 100_000,
            max_bytes: 1 << 30,
            max_wire_forms: None,
            max_connections: None,
            max_connections_per_address: None,
            max_connections_per_subject: None,
            max_requests_per_address: None,
            max_bad_tokens_per_address: Some(100),
            deflate: Some(DeflateConfig::default()),
            max_commands: None,
            max_publications_per_subject: None,
            trust_proxy: Vec::new(),
            max_message: 64 << 10,
            channel: Vec::new(),
            auth_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: defaults::WRITE_TIMEOUT,
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_mins(5),
            heartbeat: Duration::from_secs(15),
            io: Io::default(),
            #[cfg(feature = "prometheus")]
            log_lines_lost: Arc::default(),
            option_names: OptionNames::default(),
        }
    }
}

impl ChannelOptions {
    /// Sets [`allow_origin`](Self::allow_origin).
    pub fn allow_origin(mut self, origins: impl IntoIterator<Item = OriginPattern>) -> Self {
        self.allow_origin = origins.into_iter().collect();
        self
    }

    /// Sets [`auth_key`](Self::auth_key).
    pub fn auth_key(mut self, key: impl Into<Option<AuthKey>>) -> Self {
        self.auth_key = key.into();
        self
    }

    /// Sets [`authorizer`](Self::authorizer).
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Some(AnyAuthorizer::new(authorizer));
        self
    }

    /// Sets [`events`](Self::events).
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Some(AnyEventSink::new(sink));
        self
    }

    /// Sets [`open`](Self::open).
    pub fn open(mut self, open: bool) -> Self {
        self.open = open;
        self
    }

    /// Sets [`data`](Self::data).
    #[cfg(feature = "fjall")]
    pub fn data(mut self, directory: impl Into<Option<PathBuf>>) -> Self {
        self.data = directory.into();
        self
    }

    /// Sets [`backplane`](Self::backplane).
    pub fn backplane(mut self, backplane: Arc<dyn Backplane>) -> Self {
        self.backplane = Some(backplane);
        self
    }

    /// Sets [`tracer`](Self::tracer).
    #[cfg(feature = "traces")]
    pub fn tracer(mut self, tracer: impl Into<Option<PublicationTracer>>) -> Self {
        self.tracer = tracer.into();
        self
    }

    /// Sets [`history_count`](Self::history_count).
    pub fn history_count(mut self, count: usize) -> Self {
        self.history_count = count;
        self
    }

    /// Sets [`history_bytes`](Self::history_bytes).
    pub fn history_bytes(mut self, bytes: u64) -> Self {
        self.history_bytes = bytes;
        self
    }

    /// Sets [`history_age`](Self::history_age).
    pub fn history_age(mut self, time: Duration) -> Self {
        self.history_age = time;
        self
    }

    /// Sets [`policy`](Self::policy).
    pub fn policy(mut self, rules: impl IntoIterator<Item = PolicyRule>) -> Self {
        self.policy = rules.into_iter().collect();
        self
    }

    /// Sets [`max_channels`](Self::max_channels).
    pub fn max_channels(mut self, channels: u64) -> Self {
        self.max_channels = channels;
        self
    }

    /// Sets [`max_bytes`](Self::max_bytes).
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`max_wire_forms`](Self::max_wire_forms), in bytes.
    pub fn max_wire_forms(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_wire_forms = bytes.into();
        self
    }

    /// Sets [`max_connections`](Self::max_connections).
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.max_connections = connections.into();
        self
    }

    /// Sets [`max_connections_per_address`](Self::max_connections_per_address).
    pub fn max_connections_per_address(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.max_connections_per_address = connections.into();
        self
    }

    /// Sets [`max_connections_per_subject`](Self::max_connections_per_subject).
    pub fn max_connections_per_subject(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.max_connections_per_subject = connections.into();
        self
    }

    /// Sets [`max_requests_per_address`](Self::max_requests_per_address).
    pub fn max_requests_per_address(mut self, requests: impl Into<Option<u32>>) -> Self {
        self.max_requests_per_address = requests.into();
        self
    }

    /// Sets [`max_bad_tokens_per_address`](Self::max_bad_tokens_per_address).
    pub fn max_bad_tokens_per_address(mut self, tokens: impl Into<Option<u32>>) -> Self {
        self.max_bad_tokens_per_address = tokens.into();
        self
    }

    /// Sets [`deflate`](Self::deflate).
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// Sets [`max_commands`](Self::max_commands).
    pub fn max_commands(mut self, commands: impl Into<Option<u32>>) -> Self {
        self.max_commands = commands.into();
        self
    }

    /// Sets [`max_publications_per_subject`](Self::max_publications_per_subject).
    pub fn max_publications_per_subject(mut self, publications: impl Into<Option<u32>>) -> Self {
        self.max_publications_per_subject = publications.into();
        self
    }

    /// Sets [`trust_proxy`](Self::trust_proxy).
    pub fn trust_proxy(mut self, proxies: impl IntoIterator<Item = TrustedProxy>) -> Self {
        self.trust_proxy = proxies.into_iter().collect();
        self
    }

    /// Sets [`max_message`](Self::max_message), in bytes.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets [`channel`](Self::channel).
    pub fn channel(mut self, rules: impl IntoIterator<Item = ChannelRule>) -> Self {
        self.channel = rules.into_iter().collect();
        self
    }

    /// Sets [`auth_timeout`](Self::auth_timeout).
    pub fn auth_timeout(mut self, time: Duration) -> Self {
        self.auth_timeout = time;
        self
    }

    /// Sets [`body_timeout`](Self::body_timeout).
    pub fn body_timeout(mut self, time: Duration) -> Self {
        self.body_timeout = time;
        self
    }

    /// Sets [`write_timeout`](Self::write_timeout).
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.write_timeout = time;
        self
    }

    /// Sets [`ping_interval`](Self::ping_interval).
    pub fn ping_interval(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = time.into();
        self
    }

    /// Sets [`pong_timeout`](Self::pong_timeout).
    pub fn pong_timeout(mut self, time: Duration) -> Self {
        self.pong_timeout = time;
        self
    }

    /// Sets [`heartbeat`](Self::heartbeat).
    pub fn heartbeat(mut self, time: Duration) -> Self {
        self.heartbeat = time;
        self
    }

    /// Sets [`io`](Self::io).
    pub fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }

    /// Sets [`log_lines_lost`](Self::log_lines_lost).
    #[cfg(feature = "prometheus")]
    pub fn log_lines_lost(mut self, counter: Arc<AtomicU64>) -> Self {
        self.log_lines_lost = counter;
        self
    }

    /// Sets [`option_names`](Self::option_names).
    pub fn option_names(mut self, names: OptionNames) -> Self {
        self.option_names = names;
        self
    }

    /// The option that counts by subject, where nothing says what the subject of a caller is.
    pub(crate) fn without_subjects(&self) -> Option<&'static str> {
        let is_known = self.auth_key.is_some() || self.authorizer.is_some();
        let connections = self.max_connections_per_subject.map(|_| "max_connections_per_subject");
        let publications =
            self.max_publications_per_subject.map(|_| "max_publications_per_subject");
        connections.or(publications).filter(|_| !is_known)
    }

    /// Whether the channels are meant to be reached from other machines.
    pub(crate) fn is_exposed(&self) -> bool {
        self.open || self.auth_key.is_some() || self.authorizer.is_some()
    }
}
