//! What a server can be told, and what it does when it is told nothing.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sockeye::tls::ServerTls;
use sockeye::{DeflateConfig, OriginPattern};
use sockeye_hub::PolicyRule;

use crate::auth::AuthKey;
use crate::proxy::TrustedProxy;

/// How a [`Server`](crate::Server) behaves. The default is a server on loopback that keeps its
/// channels in memory and lets the pages it serves itself, and no others, use it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where to listen. Default: `127.0.0.1:8080` alone.
    pub listen: Vec<Listen>,
    /// Where operators ask for `/healthz`, `/readyz`, `/metrics` and `/connections`: HTTP without
    /// tokens, and without TLS. Default: nowhere.
    ///
    /// Danger: who reaches the address sees who is connected from where.
    pub admin: Option<Listen>,
    /// Pages of these origins may use the server, beside its own: such as `https://app.example.org`,
    /// `https://*.example.org`, `tauri://localhost`. Default: none.
    pub allow_origin: Vec<OriginPattern>,
    /// What tokens are checked with; without one there are no tokens, and everybody who reaches the
    /// server may read and write every channel. With one a server may listen on any address and
    /// has any name. Default: none.
    pub auth_key: Option<AuthKey>,
    /// Whether anybody who reaches the server may use it, under whatever name. Default: no; then
    /// it listens on loopback addresses only and answers to loopback names only.
    ///
    /// Danger: without an `auth_key` this publishes every channel to the whole network.
    pub open: bool,
    /// The certificate to serve TLS with on every address that is not a Unix socket. Default: none.
    pub tls: Option<ServerTls>,
    /// The directory to keep channels in, so that a server that starts there goes on with them.
    /// Default: none, they live in memory. One server at a time uses a directory.
    pub data: Option<PathBuf>,
    /// Messages kept of a channel. Default: 1000.
    pub history_count: usize,
    /// Bytes kept of a channel. Default: 16 MiB.
    pub history_bytes: u64,
    /// How long a message is kept. Default: 24 hours.
    pub history_age: Duration,
    /// What becomes of readers that a history no longer reaches back to, by channel; the first rule
    /// that matches counts. Default: none, so all [catch up](sockeye_hub::Policy::Catchup).
    pub policy: Vec<PolicyRule>,
    /// Channels that hold or have held messages. Default: 100,000. Past it the publisher that has
    /// most of them makes room for those that have fewer: see
    /// [`Options::max_channels`](sockeye_hub::Options::max_channels).
    pub max_channels: u64,
    /// Bytes kept of all channels together. Default: 1 GiB. Past it the publisher that has most of
    /// them makes room for those that have less; else a channel that has messages lets go of its
    /// oldest, and one that has none is refused.
    pub max_bytes: u64,
    /// Bytes kept of messages as they are sent, so that what many readers take at the same time is
    /// made once. Default: `None`, an eighth of `max_bytes`. Past it what a reader takes is made for
    /// it alone, and nothing is refused.
    pub max_wire_forms: Option<u64>,
    /// Connections in all, WebSockets among them. One more takes the place of the oldest that has not
    /// sent a complete request yet; where there is none it is answered 503. Default: for a
    /// [`Server`](crate::Server) as many as there may be open files (`RLIMIT_NOFILE`, the soft limit)
    /// less a quarter, or 256; for [`Channels`](crate::Channels) no limit.
    pub max_connections: Option<usize>,
    /// Connections from one address, or from one /64 of IPv6. Default: no limit. One more is answered
    /// 429. Behind a trusted proxy requests that are under way count, and what they have opened.
    pub max_connections_per_address: Option<usize>,
    /// Requests, handshakes among them, from one address in a second; twice as many at once. Default:
    /// no limit. One more is answered 429.
    pub max_requests_per_address: Option<u32>,
    /// Tokens and tickets that are not good, from one address in a second; twice as many at once.
    /// Default: 100. One more is answered 429 instead of 401. Good ones are not concerned.
    ///
    /// Danger: with `None` tokens can be guessed as fast as the server answers.
    pub max_bad_tokens_per_address: Option<u32>,
    /// How messages on WebSockets are compressed (permessage-deflate), where clients offer it. Default:
    /// as [`DeflateConfig`] has it, so that a message of a channel is compressed once for all, and
    /// clients keep their context while 64 MiB for all of the process last. `None`: not at all.
    pub deflate: Option<DeflateConfig>,
    /// Bytes that the answers on one connection of HTTP/2 hold together before the next request on it is
    /// answered; one answer may pass it. Default: 4 MiB.
    pub max_http2_buffer: usize,
    /// Commands of `sockeye.v1` and messages on a plain WebSocket from one connection, and publications by
    /// `POST` of one publisher (its `sub`, else its address), in a second; twice as many at once. Those
    /// beyond are read later, none is refused. Default: 100 commands of `sockeye.v1`, and no limit for
    /// the others.
    pub max_commands: Option<u32>,
    /// TLS handshakes under way, from the client's first message on. Default: 1024. Further ones wait;
    /// while one does, a handshake that has taken a second may be cut off for it.
    pub max_handshakes: usize,
    /// Proxies that are believed what they say of who asks, in `X-Forwarded-For` or else in `Forwarded`
    /// (RFC 7239), and of how and for what host, in `X-Forwarded-Proto` and `-Host` or in `Forwarded`:
    /// pages of that origin are the server's own. Default: none.
    ///
    /// Danger: whoever connects from such an address can give himself any other. It must be the
    /// proxy's alone, and the proxy must write `X-Forwarded-For` itself, or remove it where it writes
    /// `Forwarded`.
    pub trust_proxy: Vec<TrustedProxy>,
    /// Whether each connection of a proxy in `trust_proxy` begins with a header of the PROXY protocol
    /// (version 1 or 2); one that does not is closed. Connections of others begin without, and so do
    /// those to the address for operators. Default: no.
    pub proxy_protocol: bool,
    /// The largest message, in bytes, on every transport. Default: 64 KiB.
    pub max_message: usize,
    /// How long the server waits for its clients to leave when it stops. Default: 30 seconds.
    pub drain: Duration,
    /// How long the head of a request may take to arrive, the first one and the handshake of TLS from
    /// the connection's beginning on; and how long a connection of HTTP/2 may idle. Default: 10 seconds.
    pub head_timeout: Duration,
    /// How long a connection of HTTP/1.1 may idle between requests. Longer than proxies in front keep
    /// theirs open: they would send a request on one that is being closed. Default: 75 seconds.
    pub keep_alive: Duration,
    /// How long a connection on `/connect` may take to show a token, where one is needed and the
    /// handshake had none. Default: 10 seconds.
    pub auth_timeout: Duration,
    /// How long the body of a request may take to arrive. Default: 30 seconds.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is there for it before it is cut off. Default: 2
    /// minutes: one that has stopped to read costs little, and may go on. One that reads slowly
    /// stays, however slowly.
    pub write_timeout: Duration,
    /// After how much silence of its client a WebSocket sends a ping. Default: 25 seconds. `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long a client may take to come to a ping. What was sent before it, which may be megabytes in
    /// the client's own buffers, it reads first, and slow readers are served. A client that is gone is
    /// found out much earlier, by what it does not acknowledge (`write_timeout`). Default: 5 minutes.
    pub pong_timeout: Duration,
    /// How often a stream (Server-Sent Events, JSON lines) sends something that means nothing, so
    /// that no proxy thinks it dead. Default: 15 seconds.
    pub heartbeat: Duration,
    /// Lines of the program's log that could not be written, counted by what writes the log; the
    /// metrics show it. Default: a counter of its own, at 0.
    pub log_lines_lost: Arc<AtomicU64>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp("127.0.0.1:8080".to_owned())],
            admin: None,
            allow_origin: Vec::new(),
            auth_key: None,
            open: false,
            tls: None,
            data: None,
            history_count: 1000,
            history_bytes: 16 << 20,
            history_age: Duration::from_hours(24),
            policy: Vec::new(),
            max_channels: 100_000,
            max_bytes: 1 << 30,
            max_wire_forms: None,
            max_connections: None,
            max_connections_per_address: None,
            max_requests_per_address: None,
            max_bad_tokens_per_address: Some(100),
            deflate: Some(DeflateConfig::default()),
            max_http2_buffer: 4 << 20,
            max_commands: None,
            max_handshakes: 1024,
            trust_proxy: Vec::new(),
            proxy_protocol: false,
            max_message: 64 << 10,
            drain: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            auth_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_mins(2),
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_mins(5),
            heartbeat: Duration::from_secs(15),
            log_lines_lost: Arc::default(),
        }
    }
}

impl ServerOptions {
    /// Whether others than this machine's own users are meant to reach the server.
    pub(crate) fn is_exposed(&self) -> bool {
        self.open || self.auth_key.is_some()
    }
}

/// An address to listen on, as a user writes it: `HOST:PORT`, or `unix:PATH`.
///
/// Port 0 takes any free port; [`Server::local_addrs`](crate::Server::local_addrs) says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A host and a port. The host is looked up when the server binds.
    Tcp(String),
    /// A Unix domain socket at this path.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = Infallible;

    /// Any text is an address; whether it exists turns out when the server binds.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.to_owned()),
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
